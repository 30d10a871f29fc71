import Foundation

/// Whether conjugate gradients are worth going on with, where a direct solver could take over: from
/// what the iterates so far have brought.
///
/// The excess of gamma over its bound falls faster than a power of the number of iterations and slower
/// than an exponential, on the spectra of F. Both are fitted to the second half of the iterates; the
/// geometric mean of what they predict was within a factor of two on every stage of the digits.
struct ReferenceOutlook: Equatable {
  /// The excess over the bound that ends the solve: `gamma / gamma_bound - 1`.
  let target: Double
  /// Operations of an iteration without the earlier vectors, and what each earlier one adds.
  let iteration: Double
  let growth: Double
  /// Operations of the direct solver.
  let alternative: Double

  /// Before so many iterations there is no rate to speak of.
  static let fewest = 24
  /// A prediction may be wrong by this factor.
  static let doubt = 2.0

  /// Iterations that are still needed, given the excess after each; `nil` without a prediction.
  static func remaining(_ excesses: [Double], target: Double) -> Double? {
    let count = excesses.count
    guard count >= 4, let last = excesses.last else { return nil }
    let gained = log(excesses[count / 2 - 1] / last)
    let needed = log(last / target)
    guard gained.isFinite, needed.isFinite else { return nil }
    if needed <= 0 { return 0 }
    if gained <= 0 { return .infinity }
    let exponential = needed / gained * Double(count - count / 2)
    let power = Double(count) * (exp2(needed / gained) - 1)
    return (exponential * power).squareRoot()
  }

  /// Whether the direct solver is predicted to need more, also if the prediction is wrong.
  func isWorthwhile(_ excesses: [Double]) -> Bool {
    guard let remaining = Self.remaining(excesses, target: target) else { return true }
    let before = Double(excesses.count)
    let after = before + remaining
    let cost = iteration * remaining + growth * (after * after - before * before) / 2
    return cost <= Self.doubt * alternative
  }
}
