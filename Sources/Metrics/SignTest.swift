import Foundation

/// The exact two-sided sign test: how likely at least so uneven a count is where both sides are equally
/// likely in every pair.
///
/// `p = min(1, 2 sum_{i <= min(k, n - k)} C(n, i) / 2^n)` for k of n pairs, those without a difference left
/// out. It asks nothing of the numbers but which of two is the smaller, so that a batch in which one of them
/// is far off counts like every other.
///
/// Source: Conover, Practical Nonparametric Statistics, 3rd edition, section 3.4.
package struct SignTest: Equatable, Sendable {
  /// Pairs in which the first is ahead.
  package var wins: Int
  /// Pairs in which the second is.
  package var losses: Int

  package init(wins: Int, losses: Int) {
    precondition(wins >= 0 && losses >= 0, "SignTest: \(wins) and \(losses)")
    (self.wins, self.losses) = (wins, losses)
  }

  /// 1 for no pairs.
  package var p: Double {
    let (n, fewer) = (wins + losses, min(wins, losses))
    // C(n, fewer) / 2^n by its logarithm, since either factor alone may overflow; all smaller terms relative to
    // it: C(n, i - 1) = C(n, i) i / (n - i + 1).
    var logarithm = -Double(n) * log(2)
    for i in stride(from: 1, through: fewer, by: 1) {
      logarithm += log(Double(n - fewer + i) / Double(i))
    }
    var (sum, term) = (1.0, 1.0)
    for i in stride(from: fewer, to: 0, by: -1) where term > 0 {
      term *= Double(i) / Double(n - i + 1)
      sum += term
    }
    return min(1, 2 * exp(logarithm) * sum)
  }

  /// The least that n pairs can give, all on one side: `2^(1 - n)`, and 1 for none.
  package static func least(pairs n: Int) -> Double { min(1, exp2(1 - Double(n))) }
}

/// Holm's correction for several tests: p values such that with those below a level the chance of any
/// wrong one is at most that level, however the tests depend on each other.
///
/// In ascending order the i-th (from 0) is multiplied by `m - i`, and is no less than the one before.
///
/// Source: Holm 1979, A simple sequentially rejective multiple test procedure.
///
/// - Parameter m: How many tests there are. Those whose p values are not given count as if they had p = 1:
///   what may have been chosen among them is then covered as well.
/// - Returns: In the order of `values`, at most 1.
package func holmAdjusted(_ values: [Double], of m: Int) -> [Double] {
  precondition(m >= values.count, "holmAdjusted: \(values.count) of \(m)")
  var adjusted = values
  var largest = 0.0
  for (rank, index) in values.indices.sorted(by: { values[$0] < values[$1] }).enumerated() {
    largest = max(largest, min(1, values[index] * Double(m - rank)))
    adjusted[index] = largest
  }
  return adjusted
}
