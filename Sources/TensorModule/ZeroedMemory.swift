#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Memory of a vector, zero at first.
///
/// Large blocks come as pages from the system, which are zero already and take no room before they
/// are written. (Huge pages were tried: they save page faults, and cost more than that where a
/// virtual machine has given its free memory back to the host.)
struct ZeroedMemory {
  let start: UnsafeMutableRawPointer
  /// What to give back to the system; `nil` for a block from the allocator.
  private let pages: UnsafeMutableRawBufferPointer?

  /// A cache line, and the longest vector register.
  private static let alignment = 64
  /// Bytes from which on a block is made of pages of its own.
  private static let threshold = 1 << 21

  init(byteCount: Int) {
    if byteCount >= Self.threshold, let pages = Self.map(byteCount) {
      self.pages = pages
      start = pages.baseAddress!
      return
    }
    pages = nil
    let count = max(byteCount, 1)
    start = .allocate(byteCount: count, alignment: Self.alignment)
    start.initializeMemory(as: UInt8.self, repeating: 0, count: count)
  }

  func deallocate() {
    if let pages {
      munmap(pages.baseAddress!, pages.count)
    } else {
      start.deallocate()
    }
  }

  private static func map(_ count: Int) -> UnsafeMutableRawBufferPointer? {
    let start = mmap(nil, count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    guard let start, start != MAP_FAILED else { return nil }
    return UnsafeMutableRawBufferPointer(start: start, count: count)
  }
}
