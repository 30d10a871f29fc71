#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Zeroed memory of one vector, 64-byte aligned.
///
/// Large blocks come from the system as they are, zeroed already, and on Linux in huge pages where
/// it has them: a page fault for every 4 KiB and a second zeroing took a fifth of the time of a
/// small batch. Where the system has none left, `MemoryExhaustion` is told.
final class ZeroedMemory {
  let pointer: UnsafeMutableRawPointer
  /// The mapping that holds a large block.
  private let mapping: UnsafeMutableRawBufferPointer?
  private let bytes: Int

  /// From here on blocks come from the system as they are.
  private static let large = 1 << 20
  private static let hugePage = 1 << 21

  init(bytes: Int) {
    self.bytes = Self.taken(by: ByteCount(bytes)).value
    MemoryMeter.add(self.bytes)
    if bytes >= Self.large {
      guard let mapping = Self.map(bytes) else { MemoryExhaustion.end(bytes) }
      self.mapping = mapping
      pointer = mapping.baseAddress!.alignedUp(toMultipleOf: Self.hugePage)
      #if os(Linux)
        // Advice only: without huge pages everything is as it was. More than half of one is cheaper
        // than the small pages that it takes the place of.
        _ = madvise(pointer, max(bytes, Self.hugePage), MADV_HUGEPAGE)
      #endif
      return
    }
    mapping = nil
    var block: UnsafeMutableRawPointer?
    guard posix_memalign(&block, 64, bytes) == 0, let block else { MemoryExhaustion.end(bytes) }
    pointer = block
    pointer.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
  }

  /// What the system gives for a block that is written from end to end.
  static func taken(by bytes: ByteCount) -> ByteCount {
    #if os(Linux)
      if bytes.value >= large { return max(bytes, ByteCount(hugePage)) }
    #endif
    return bytes
  }

  private static func map(_ bytes: Int) -> UnsafeMutableRawBufferPointer? {
    // Room to begin at a huge page; what is never touched takes no memory.
    let (length, overflow) = max(bytes, hugePage).addingReportingOverflow(hugePage)
    if overflow { return nil }
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let address = mmap(nil, length, PROT_READ | PROT_WRITE, flags, -1, 0),
      address != MAP_FAILED
    else { return nil }
    return UnsafeMutableRawBufferPointer(start: address, count: length)
  }

  deinit {
    MemoryMeter.subtract(bytes)
    if let mapping {
      munmap(mapping.baseAddress!, mapping.count)
    } else {
      free(pointer)
    }
  }
}
