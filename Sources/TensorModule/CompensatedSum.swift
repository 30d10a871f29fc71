/// A sum in double that keeps what rounding has taken from it: as exact as if it were taken in twice
/// the precision and rounded once (Knuth's TwoSum; Ogita, Rump and Oishi 2005, Sum2).
///
/// Two numbers a term; where terms cancel, what is left has all of its digits.
public struct CompensatedSum: Sendable {
  private var rounded = 0.0
  private var rest = 0.0

  /// Zero.
  public init() {}

  /// Adds a term.
  public static func += (sum: inout CompensatedSum, term: Double) {
    let next = sum.rounded + term
    let own = next - sum.rounded
    sum.rest += (sum.rounded - (next - own)) + (term - own)
    sum.rounded = next
  }

  /// Adds another sum with what its rounding has taken.
  public static func += (sum: inout CompensatedSum, other: CompensatedSum) {
    sum += other.rounded
    sum.rest += other.rest
  }

  /// Infinite or NaN as the plain sum is.
  public var value: Double {
    let whole = rounded + rest
    return rounded.isFinite && whole.isFinite ? whole : rounded
  }
}
