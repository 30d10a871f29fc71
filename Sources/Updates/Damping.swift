/// A damping as a user gives it: `1e-3` is lambda itself, `rel:1e-7` that fraction of the largest
/// squared per-sample gradient norm.
public struct Damping: Sendable, Hashable {
  /// As given; what reports repeat.
  public let text: String
  /// Lambda, or the factor x of `rel:x`.
  public let value: Double
  /// Whether it is a factor of the largest squared gradient norm of a sample.
  public let isRelative: Bool

  /// - Returns: `nil` unless the text is a number, not negative, with or without `rel:`.
  public init?(_ text: String) {
    let isRelative = text.hasPrefix("rel:")
    let number = isRelative ? String(text.dropFirst(4)) : text
    guard let value = Double(number), value >= 0, value.isFinite else { return nil }
    self.init(text, value, isRelative: isRelative)
  }

  /// What it is for gradients that are `unit` times as large: lambda itself goes with their square,
  /// a fraction stays.
  package func inUnits(of unit: Double) -> Damping {
    if isRelative { return self }
    return Damping(text, min(value * unit * unit, .greatestFiniteMagnitude), isRelative: false)
  }

  private init(_ text: String, _ value: Double, isRelative: Bool) {
    self.text = text
    self.value = value
    self.isRelative = isRelative
  }

  /// lambda, in the units of the Gram matrix whose largest diagonal entry is given.
  public func lambda(largestDiagonal: Double) -> Double {
    isRelative ? value * largestDiagonal : value
  }
}
