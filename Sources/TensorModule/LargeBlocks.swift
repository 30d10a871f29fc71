import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Large blocks of memory, as the system gives them: zeroed, and on Linux in huge pages where it has them.
///
/// A block that is given back is kept for the next one of its size, since batches take the same sizes one
/// after the other: fresh pages, and telling all threads that the old ones are gone, took a third of the
/// time of a small batch. What is kept and what is in use are never together more than what was in use at
/// once before, so that the peak of these blocks is what it would be without; beside other memory up to
/// `mostKept` may be kept that no plan counts.
enum LargeBlocks {
  /// Memory that nobody else has.
  struct Block: @unchecked Sendable {
    let start: UnsafeMutableRawPointer
    let count: Int
  }

  /// What is kept at the most, in bytes: where more is needed, arithmetic takes longer than pages do.
  static let mostKept = 1 << 27
  private static let hugePage = 1 << 21

  private struct State {
    /// The one given back last comes last.
    var kept: [Block] = []
    var used = 0
    /// What is being asked of the system.
    var pending = 0
    var mostUsed = 0

    var keptBytes: Int { kept.reduce(0) { $0 + $1.count } }

    mutating func use(_ length: Int) {
      used += length
      mostUsed = max(mostUsed, used)
    }
  }
  private static let state = Mutex(State())

  /// Bytes in blocks that are kept.
  static var keptBytes: Int { state.withLock { $0.keptBytes } }

  /// A block of at least so many bytes that begins at a huge page, and whether it is known to be zero;
  /// `nil` where the system has none left.
  static func take(_ bytes: Int) -> (block: Block, isZero: Bool)? {
    let (above, overflow) = bytes.addingReportingOverflow(hugePage - 1)
    if overflow { return nil }
    let length = max(above / hugePage, 1) * hugePage
    let kept: Block? = state.withLock { state in
      if let place = state.kept.lastIndex(where: { $0.count == length }) {
        state.use(length)
        return state.kept.remove(at: place)
      }
      release(&state, downTo: max(state.mostUsed - state.used - state.pending - length, 0))
      state.pending += length
      return nil
    }
    if let kept { return (kept, false) }
    let fresh =
      map(length)
      ?? {
        releaseKept()
        return map(length)
      }()
    state.withLock { state in
      state.pending -= length
      if fresh != nil { state.use(length) }
    }
    guard let fresh else { return nil }
    #if os(Linux)
      // Advice only: without huge pages everything is as it was. More than half of one is cheaper
      // than the small pages that it takes the place of.
      _ = madvise(fresh.start, max(bytes, hugePage), MADV_HUGEPAGE)
    #endif
    return (fresh, true)
  }

  /// Gives all that is kept to the system, for whoever finds no memory elsewhere.
  static func releaseKept() {
    state.withLock { release(&$0, downTo: 0) }
  }

  /// Takes a block back.
  static func giveBack(_ block: Block) {
    state.withLock { state in
      state.used -= block.count
      if block.count > mostKept {
        munmap(block.start, block.count)
        return
      }
      state.kept.append(block)
      release(&state, downTo: mostKept)
    }
  }

  /// Gives blocks to the system, those that have been kept longest first.
  private static func release(_ state: inout State, downTo bytes: Int) {
    var total = state.keptBytes
    while total > bytes, !state.kept.isEmpty {
      let block = state.kept.removeFirst()
      total -= block.count
      munmap(block.start, block.count)
    }
  }

  private static func map(_ length: Int) -> Block? {
    // Room to begin at a huge page; what is before and behind it goes back at once.
    let (whole, overflow) = length.addingReportingOverflow(hugePage)
    if overflow { return nil }
    let flags = MAP_PRIVATE | MAP_ANONYMOUS
    guard let address = mmap(nil, whole, PROT_READ | PROT_WRITE, flags, -1, 0),
      address != MAP_FAILED
    else { return nil }
    let start = address.alignedUp(toMultipleOf: hugePage)
    let before = start - address
    if before > 0 { munmap(address, before) }
    if before < hugePage { munmap(start + length, hugePage - before) }
    return Block(start: start, count: length)
  }
}
