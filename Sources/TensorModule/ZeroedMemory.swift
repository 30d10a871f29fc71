#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Zeroed memory of one vector, 64-byte aligned.
///
/// Large blocks come from the system as they are, zeroed already, and on Linux in huge pages where
/// it has them: a page fault for every 4 KiB and a second zeroing took a fifth of the time of a
/// small batch.
final class ZeroedMemory {
  let pointer: UnsafeMutableRawPointer
  /// The mapping that holds a large block.
  private let mapping: UnsafeMutableRawBufferPointer?

  private static let hugePage = 1 << 21

  init(bytes: Int) {
    if bytes >= 1 << 20, let mapping = ZeroedMemory.map(bytes) {
      self.mapping = mapping
      let address = mapping.baseAddress!
      let isHuge = bytes >= ZeroedMemory.hugePage
      pointer = isHuge ? address.alignedUp(toMultipleOf: ZeroedMemory.hugePage) : address
      #if os(Linux)
        // Advice only: without huge pages everything is as it was.
        if isHuge { _ = madvise(pointer, bytes, MADV_HUGEPAGE) }
      #endif
      return
    }
    mapping = nil
    pointer = .allocate(byteCount: bytes, alignment: 64)
    pointer.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
  }

  private static func map(_ bytes: Int) -> UnsafeMutableRawBufferPointer? {
    // Room to begin at a huge page; what is never touched takes no memory.
    let length = bytes >= hugePage ? bytes + hugePage : bytes
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let address = mmap(nil, length, PROT_READ | PROT_WRITE, flags, -1, 0),
      address != MAP_FAILED
    else { return nil }
    return UnsafeMutableRawBufferPointer(start: address, count: length)
  }

  deinit {
    if let mapping {
      munmap(mapping.baseAddress!, mapping.count)
    } else {
      pointer.deallocate()
    }
  }
}
