import Foundation

extension Axis {
  // Tables may hold any number that a double can be. Axes end where their arithmetic, and that of
  // the program that draws, has room left; points beyond are not seen.
  private static let reach = 1e300
  private static let decadesOfReach = 300.0

  /// A linear axis that holds the values with a margin on both sides.
  static func linear(_ label: String, holding values: [Double]) -> Axis {
    let finite = values.filter(\.isFinite).map { min(max($0, -reach), reach) }
    let (low, high) = (finite.min() ?? 0, finite.max() ?? 1)
    let size = max(abs(low), abs(high))
    // What differs by rounding only has no length to be divided.
    let isLong = high - low > max(size * 1e-9, 1 / reach)
    let margin = isLong ? (high - low) * 0.05 : max(size * 0.1, 1)
    return Axis(
      label: label, isLogarithmic: false, low: rounded(low - margin, within: margin),
      high: rounded(high + margin, within: margin))
  }

  /// A linear axis from zero to beyond the largest value.
  static func fromZero(_ label: String, to largest: Double) -> Axis {
    let high = largest.isNaN ? 0 : min(largest, reach) * 1.25
    return Axis(label: label, isLogarithmic: false, low: 0, high: max(high, 1e-3))
  }

  /// A logarithmic axis that holds the values with a margin on both sides; those that are not
  /// positive have no place on it.
  static func logarithmic(_ label: String, holding values: [Double]) -> Axis {
    let positive = values.filter { $0 > 0 && $0.isFinite }.map {
      min(max(log10($0), -decadesOfReach), decadesOfReach)
    }
    var (low, high) = (positive.min() ?? 0, positive.max() ?? 0)
    // Room for the markers; at least about a factor of 2 in all, so that noise looks like noise.
    let margin = max((high - low) * 0.06, (0.3 - (high - low)) / 2)
    (low, high) = (max(low - margin, -307), min(high + margin, 307))
    return Axis(
      label: label, isLogarithmic: true, low: rounded(pow(10, low)), high: rounded(pow(10, high)),
      ticks: decades(low, high))
  }

  /// Marks between two powers of ten: 1, 2, 5 of every decade over a short range, decades over a
  /// long one, with short marks between them where there is room.
  static func decades(_ low: Double, _ high: Double) -> [Tick] {
    let span = high - low
    let step = max(1, Int((span / 7).rounded(.up)))
    let labelled: Set<Int> =
      span < 0.7 ? Set(1...9) : span < 1.7 ? [1, 2, 5] : span < 2.5 ? [1, 3] : [1]
    var ticks: [Tick] = []
    for decade in Int(low.rounded(.down))...Int(high.rounded(.up)) {
      for digit in 1...9 {
        let place = Double(decade) + log10(Double(digit))
        if place < low - 1e-9 || place > high + 1e-9 { continue }
        let isLabelled = labelled.contains(digit) && decade % step == 0
        if !isLabelled && (span > 6 || (step > 1 && digit > 1)) { continue }
        // The number that is read from this text, so that label and position agree.
        let value = decimal("\(digit)e\(decade)")
        ticks.append(Tick(position: value, label: isLabelled ? short(value) : ""))
      }
    }
    return ticks.count { !$0.label.isEmpty } > 1 ? ticks : even(pow(10, low), pow(10, high))
  }

  /// Even steps, for a range so short that it holds hardly a round number.
  private static func even(_ low: Double, _ high: Double) -> [Tick] {
    let rough = (high - low) / 4
    let decade = Int(log10(rough).rounded(.down))
    let digit = [1, 2, 5].last { decimal("\($0)e\(decade)") <= rough } ?? 1
    let step = decimal("\(digit)e\(decade)")
    return (Int((low / step).rounded(.up))...Int((high / step).rounded(.down))).map {
      // Again the number that its label says.
      let label = short(Double($0) * step)
      return Tick(position: decimal(label), label: label)
    }
  }

  /// To three digits, which are enough for the end of an axis and easier to edit.
  private static func rounded(_ value: Double) -> Double {
    decimal(String(format: "%.3g", value))
  }

  /// To more digits where three would use up half of the margin or more.
  private static func rounded(_ value: Double, within margin: Double) -> Double {
    (3...17).lazy.map { decimal(String(format: "%.\($0)g", value)) }
      .first { abs($0 - value) < margin / 2 } ?? value
  }

  /// The number that a text of our own says.
  private static func decimal(_ text: String) -> Double { Double(text) ?? .nan }

  /// `0.001`, `20`, `1e-7`: as dampings are written on the command line.
  static func short(_ value: Double) -> String {
    if value == 0 { return "0" }
    if !value.isFinite { return value.description }
    let exponent = Int((log10(abs(value)) + 1e-9).rounded(.down))
    if (-3...3).contains(exponent) { return String(format: "%.12g", value) }
    // The power of ten of a denormal number would be zero.
    let digits =
      exponent < -300
      ? value * 1e300 / pow(10, Double(exponent + 300)) : value / pow(10, Double(exponent))
    return String(format: "%.3g", digits) + "e\(exponent)"
  }

  /// One place per name, the first at the top.
  static func names(_ names: [String], label: String = "") -> Axis {
    Axis(
      label: label, isLogarithmic: false, low: -0.6, high: Double(names.count) - 0.4,
      ticks: names.enumerated().map {
        Tick(position: Double(names.count - 1 - $0), label: $1)
      })
  }
}
