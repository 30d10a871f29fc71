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
    let (start, end) = (
      rounded(low - margin, within: margin), rounded(high + margin, within: margin)
    )
    return Axis(
      label: label, isLogarithmic: false, low: start, high: end, ticks: even(start, end))
  }

  /// A linear axis from zero to beyond the largest value.
  static func fromZero(_ label: String, to largest: Double) -> Axis {
    let high = largest.isNaN ? 0 : min(largest, reach) * 1.25
    let end = max(high, 1e-3)
    return Axis(label: label, isLogarithmic: false, low: 0, high: end, ticks: even(0, end))
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
        ticks.append(
          Tick(position: decimal("\(digit)e\(decade)"), label: isLabelled ? "labelled" : ""))
      }
    }
    let long = ticks.indices.filter { !ticks[$0].label.isEmpty }
    if long.count < 2 { return even(pow(10, low), pow(10, high)) }
    let texts = labels(long.map { ticks[$0].position })
    for (index, text) in zip(long, texts) { ticks[index].label = text }
    return ticks
  }

  /// Even steps between the ends of a linear axis, or of a logarithmic one so short that it holds
  /// hardly a round number.
  private static func even(_ low: Double, _ high: Double) -> [Tick] {
    // Half of each, as the difference of the largest numbers is none.
    let rough = (high / 4 - low / 4)
    let decade = Int(log10(rough).rounded(.down))
    let digit = [1, 2, 5].last { decimal("\($0)e\(decade)") <= rough } ?? 1
    let step = decimal("\(digit)e\(decade)")
    let (first, last) = ((low / step).rounded(.up), (high / step).rounded(.down))
    // Numbers that differ in their last digits only have no round ones between them.
    guard step > 0, abs(first) < 1e15, abs(last) < 1e15, first <= last else { return [] }
    // Again the numbers that labels say.
    let values = (Int(first)...Int(last)).map { decimal("\($0 * digit)e\(decade)") }
    return zip(values, labels(values)).map { Tick(position: $0, label: $1) }
  }

  /// All in one format: plain where no number is longer than five digits, else with powers of ten.
  static func labels(_ values: [Double]) -> [String] {
    let plain = values.map { String(format: "%.12g", $0) }
    if plain.allSatisfy({ $0.drop { $0 == "-" }.count <= 6 && !$0.contains("e") }) { return plain }
    return values.map { value in
      if value == 0 || !value.isFinite { return short(value) }
      let exponent = Int((log10(abs(value)) + 1e-9).rounded(.down))
      return mantissa(value, exponent) + "e\(exponent)"
    }
  }

  private static func mantissa(_ value: Double, _ exponent: Int) -> String {
    // The power of ten of a denormal number would be zero.
    String(
      format: "%.3g",
      exponent < -300
        ? value * 1e300 / pow(10, Double(exponent + 300)) : value / pow(10, Double(exponent)))
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
    return mantissa(value, exponent) + "e\(exponent)"
  }

  /// Longer at both ends by a line of text for each of so many curves that leave it.
  func with(roomFor lines: Int) -> Axis {
    let (bottom, top) = (log10(low), log10(high))
    let room = (top - bottom) * min(0.07 * Double(lines), 0.35)
    let (start, end) = (max(bottom - room, -307), min(top + room, 307))
    return Axis(
      label: label, isLogarithmic: true, low: Self.rounded(pow(10, start)),
      high: Self.rounded(pow(10, end)), ticks: Self.decades(start, end))
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
