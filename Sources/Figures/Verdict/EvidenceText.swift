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
