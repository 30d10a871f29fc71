import Synchronization

/// Memory that the vectors of this process take: what a plan of memory can be held against.
///
/// Of a large block all is counted, though the system gives memory only to what is written; vectors over
/// mapped files are not counted, nor arrays of Swift's own.
public enum MemoryMeter {
  private static let current = Atomic<Int>(0)
  private static let largest = Atomic<Int>(0)

  /// Bytes now.
  public static var bytes: Int { current.load(ordering: .relaxed) }

  /// The most that there have been at once since `restart`.
  public static var peak: Int { largest.load(ordering: .relaxed) }

  /// Begins to look for the peak anew.
  public static func restart() { largest.store(bytes, ordering: .relaxed) }

  static func add(_ bytes: Int) {
    let now = current.add(bytes, ordering: .relaxed).newValue
    var known = peak
    while known < now {
      let (exchanged, original) = largest.weakCompareExchange(
        expected: known, desired: now, ordering: .relaxed)
      if exchanged { return }
      known = original
    }
  }

  static func subtract(_ bytes: Int) { current.subtract(bytes, ordering: .relaxed) }
}
