import Foundation

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
