/// The update methods by the names that reports use; there is no second spelling.
public enum Method: Sendable, Hashable {
  /// The gradient itself.
  case sgd
  /// Empirical Fisher (Eqn 5).
  case ef
  /// Improved empirical Fisher (Eqn 8).
  case ief
  /// Sampled Fisher with Monte-Carlo labels (Eqn 47-49).
  case sf
  /// The natural gradient, `F + lambda I` (Algorithm 5).
  case ng
  /// Gauss-Newton with the identity for H (Eqn 9).
  case gn
  /// A direction read from a file.
  case update(String)

  public static let named: [(name: String, method: Method)] = [
    ("sgd", .sgd), ("ef", .ef), ("ief", .ief), ("sf", .sf), ("ng", .ng), ("gn", .gn),
  ]

  /// - Returns: `nil` for names that are not in `named` and do not begin with `update:`.
  public init?(name: String) {
    if let known = Method.named.first(where: { $0.name == name }) {
      self = known.method
    } else if name.hasPrefix("update:"), name.count > 7 {
      self = .update(String(name.dropFirst(7)))
    } else {
      return nil
    }
  }

  public var name: String {
    if case .update(let name) = self { return "update:" + name }
    return Method.named.first { $0.method == self }!.name
  }

  /// Whether the direction depends on a damping.
  public var isDamped: Bool {
    switch self {
    case .sgd, .update: false
    case .ef, .ief, .sf, .ng, .gn: true
    }
  }
}
