import Foundation

extension PairedComparison {
  /// `9 of 10 batches, p = 0.021`: in how many the first is ahead, and no more than that says.
  var evidence: String {
    if pairs == 0 { return "0 of 0 batches" }
    if isOneBatch { return "\(wins > losses ? 1 : 0) of 1 batch, taken \(pairs) times" }
    let counts =
      "\(wins) of \(pairs) " + (isOverDraws ? "draws of labels" : pairs == 1 ? "batch" : "batches")
      + (ties > 0 ? " (\(ties) equal)" : "")
    if pairs == 1 || decided == 0 { return counts }
    return counts + (canBeSure ? ", " + Self.text(p: p) : ", too few for a test at 5 %")
  }

  /// `p < 0.001`, `p = 0.021`
  static func text(p: Double?) -> String {
    guard let p else { return "no test" }
    return p < 0.001 ? "p < 0.001" : "p = " + String(format: "%.2g", p)
  }
}

/// A ratio or a gamma for people: three decimals where they say something, as in the table that ends
/// scoring.
func ratioText(_ value: Double) -> String {
  if value.isNaN { return "none" }
  if value.isInfinite { return value > 0 ? "inf" : "-inf" }
  if value == 0 { return "0.000" }
  return (0.01..<1e4).contains(abs(value))
    ? String(format: "%.3f", value) : String(format: "%.2e", value)
}

/// A factor: two digits, which is what words can carry.
func factorText(_ factor: Double) -> String {
  if factor.isInfinite { return "any size (at one damping there is no descent)" }
  return factor < 10
    ? String(format: "%.2g", factor)
    : factor < 1e6 ? String(format: "%.0f", factor) : String(format: "%.0e", factor)
}
