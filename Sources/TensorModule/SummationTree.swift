/// The order in which numbered partial results are added: a binary tree over their numbers. A node over
/// `first ..< end` is split behind the largest power of two that is smaller than its count, so that
/// the parts `k 2^j ..< (k + 1) 2^j` are a node of every tree that has them. It says nothing of who
/// computed a part: the same parts give the same bits on any number of threads, and machines that
/// have such a run of parts each may send its sum in place of the parts.
public enum SummationTree {
  /// `sum_part part(number)`, 0 of none.
  public static func sum(
    _ parts: Range<Int>, _ part: (_ number: Int) -> CompensatedSum
  ) -> CompensatedSum {
    if parts.count < 2 { return parts.first.map(part) ?? CompensatedSum() }
    let middle = split(parts)
    var sum = sum(parts.lowerBound..<middle, part)
    sum += self.sum(middle..<parts.upperBound, part)
    return sum
  }

  /// The same of plain numbers.
  public static func sum(_ count: Int, _ part: (_ number: Int) -> Double) -> Double {
    sum(0..<count) { number in
      var sum = CompensatedSum()
      sum += part(number)
      return sum
    }.value
  }

  /// `target = sum_part part`, element by element, each addition rounded to the elements' precision.
  ///
  /// Elements are taken in pieces that stay in the first-level cache with what the tree keeps of them:
  /// every part is read once, the target written once, and nothing as long as a part is allocated.
  ///
  /// - Parameters:
  ///   - parts: One or more.
  ///   - target: May be the first part.
  public static func add<S: EngineScalar>(
    _ parts: [UnsafePointer<S>], count: Int, to target: UnsafeMutablePointer<S>
  ) {
    let piece = min(count, 2048)
    withUnsafeTemporaryAllocation(of: S.self, capacity: max(1, piece * depth(parts.count))) {
      for first in stride(from: 0, to: count, by: max(piece, 1)) {
        add(
          parts[...], from: first, count: min(piece, count - first), to: target + first,
          $0.baseAddress!)
      }
    }
  }

  /// - Parameter scratch: As many pieces as the tree is deep.
  private static func add<S: EngineScalar>(
    _ parts: ArraySlice<UnsafePointer<S>>, from first: Int, count: Int,
    to out: UnsafeMutablePointer<S>, _ scratch: UnsafeMutablePointer<S>
  ) {
    if parts.count == 1 {
      let part = parts.first! + first
      if part != UnsafePointer(out) { Kernels.copy(part, out, count: count) }
      return
    }
    let middle = split(parts.indices)
    add(parts[..<middle], from: first, count: count, to: out, scratch)
    if parts.endIndex - middle == 1 {
      Kernels.add(out, parts[middle] + first, out, count: count)
    } else {
      add(parts[middle...], from: first, count: count, to: scratch, scratch + count)
      Kernels.add(out, scratch, out, count: count)
    }
  }

  /// The largest power of two below the count, from the beginning.
  private static func split(_ parts: Range<Int>) -> Int {
    parts.lowerBound + 1 << (Int.bitWidth - 1 - (parts.count - 1).leadingZeroBitCount)
  }

  /// Nodes on the way from the root to a leaf.
  private static func depth(_ count: Int) -> Int {
    count < 2 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount
  }
}
