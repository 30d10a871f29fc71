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
  /// K-FAC with sampled labels (Appendix D.2.2).
  case kfac
  /// K-FAC with the true labels.
  case ekfac
  /// K-FAC with the true labels, every sample's part divided by `|u_n|`.
  case iekfac
  /// EF, iEF and SF with one Gram matrix per parameter tensor.
  case blockEF
  case blockIEF
  case blockSF
  /// The gradient divided by the summed squares of the per-sample gradients plus lambda.
  case diagonalEF
  /// The same, every sample's square divided by `|u_n|^2`.
  case diagonalIEF
  /// The gradient divided by the square root of the summed squares, plus lambda.
  case adam
  /// So many iterations of Algorithm 5: Hessian-free without patience.
  case truncated(iterations: Int)
  /// A direction read from a file.
  case update(String)

  /// All that have a name of their own.
  public static let named: [(name: String, method: Method)] = [
    ("sgd", .sgd), ("ef", .ef), ("ief", .ief), ("sf", .sf), ("ng", .ng), ("gn", .gn),
    ("kfac", .kfac), ("ekfac", .ekfac), ("iekfac", .iekfac), ("block-ef", .blockEF),
    ("block-ief", .blockIEF), ("block-sf", .blockSF), ("diag-ef", .diagonalEF),
    ("diag-ief", .diagonalIEF), ("adam", .adam),
  ]

  /// How names with a part of one's own are built.
  public static let patterns = ["ng@<iterations>", "update:<name>"]

  private static let truncatedPrefix = "ng@"
  /// Of a solver: more than any run can take, and few enough to reckon with.
  public static let mostIterations = 1_000_000_000
  private static let updatePrefix = "update:"

  /// - Returns: `nil` for names that are neither in `named` nor of one of the `patterns`.
  public init?(name: String) {
    if let known = Method.named.first(where: { $0.name == name }) {
      self = known.method
    } else if name.hasPrefix(Method.updatePrefix), name.count > Method.updatePrefix.count {
      self = .update(String(name.dropFirst(Method.updatePrefix.count)))
    } else if name.hasPrefix(Method.truncatedPrefix) {
      let digits = name.dropFirst(Method.truncatedPrefix.count)
      guard digits.allSatisfy({ ("0"..."9").contains($0) }), digits.first != "0",
        let iterations = Int(digits), iterations <= Method.mostIterations
      else { return nil }
      self = .truncated(iterations: iterations)
    } else {
      return nil
    }
  }

  public var name: String {
    switch self {
    case .update(let name): return Method.updatePrefix + name
    case .truncated(let iterations): return Method.truncatedPrefix + String(iterations)
    default: return Method.named.first { $0.method == self }!.name
    }
  }

  /// Whether the direction depends on a damping.
  public var isDamped: Bool {
    switch self {
    case .sgd, .update: false
    default: true
    }
  }

  /// Whether the direction depends on Monte-Carlo labels.
  public var isSampled: Bool {
    switch self {
    case .sf, .blockSF, .kfac: true
    default: false
    }
  }

  /// The method that this one is where every drawn label is the true one; `nil` if it draws none.
  public var withTrueLabels: Method? {
    switch self {
    case .sf: .ef
    case .blockSF: .blockEF
    case .kfac: .ekfac
    default: nil
    }
  }

  /// Whether `--drop-duplicates` leaves samples out of it; of the K-FAC family, out of exact blocks
  /// alone.
  public var leavesOutDuplicates: Bool {
    switch self {
    case .ef, .ief, .sf, .blockEF, .blockIEF, .blockSF: true
    default: false
    }
  }

  /// Whether the direction solves with the Gram matrix of all parameters.
  public var needsGramMatrix: Bool {
    switch self {
    case .ef, .ief, .sf: true
    default: false
    }
  }

  /// Whether it is an early iterate of the natural gradient's solver.
  public var isTruncated: Bool {
    if case .truncated = self { true } else { false }
  }

  /// Whether linear layers have Kronecker factors.
  public var isKronecker: Bool {
    switch self {
    case .kfac, .ekfac, .iekfac: true
    default: false
    }
  }
}
