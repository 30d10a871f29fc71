import Updates

/// What a row of results is to the others.
public enum RowRole: String, Sendable, Equatable, Codable {
  /// A direction that is compared.
  case method
  /// The gradient, which ratios to SGD are relative to.
  case baseline
  /// The natural gradient, which efficiencies are relative to.
  case reference
}

/// Which direction a row of results is about.
public struct RowIdentity: Sendable, Hashable {
  /// The method's name.
  public var method: String
  /// What the row is to the others.
  public var role: RowRole
  /// As given, `nil` where the method has none.
  public var damping: String?
  /// Monte-Carlo labels per sample that the direction is made of, `nil` where the method draws none.
  public var monteCarloSamples: Int?

  /// In words.
  var label: String { method + (damping.map { " at damping \($0)" } ?? "") }
}

/// A row that tells which direction it is about.
protocol ResultRow {
  var method: String { get }
  var role: RowRole { get }
  var damping: String? { get }
  var monteCarloSamples: Int? { get }
}

extension ResultRow {
  var identity: RowIdentity {
    RowIdentity(
      method: method, role: role, damping: damping, monteCarloSamples: monteCarloSamples)
  }

  /// The method, with its draws where there are several.
  var methodLabel: String {
    method + (monteCarloSamples.map { $0 > 1 ? " (k = \($0))" : "" } ?? "")
  }

  /// What stands for the damping; empty for a method that has none.
  var dampingLabel: String { role == .reference ? "reference" : damping ?? "" }
}

extension Array where Element: ResultRow {
  /// In the order of the methods, dampings as they were, the reference last.
  func ordered(by methods: [UpdateMethod]) -> [Element] {
    methods.flatMap { method in
      filter { $0.role != .reference && $0.method == method.name }
    } + filter { $0.role == .reference }
  }
}

extension Score: ResultRow {}
extension LayerScore: ResultRow {}
extension MethodSummary: ResultRow {}
