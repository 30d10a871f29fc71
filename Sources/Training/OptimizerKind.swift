import TensorModule
import Updates

/// An optimiser by the name that options and reports use, with all that is to be known of it. Two of
/// one name are the same; a new one is a value here and a line in `allCases`.
public struct OptimizerKind: RawRepresentable, CaseIterable, Hashable, Sendable {
  /// What there is to set beside the learning rate and its schedule.
  public enum Setting: Sendable {
    case normalization
    case damping
    case draws
    case dropDuplicates
    case weightDecay
    case momentum
    case moments
  }

  /// What a new run has.
  struct Defaults {
    var learningRate = 1e-3
    /// "A linearly decaying normalised update" keeps EF from diverging; SF was given the same.
    var isBounded = false
    var weightDecay = 0.0
  }

  typealias Maker =
    @Sendable (OptimizerSettings, ParameterLayout, VectorOperations<Double>, _ precision: Double)
    -> any Optimizer

  public let rawValue: String
  /// Whose direction it steps along, from sums over samples; `nil`: the gradient of the mean loss.
  package let method: UpdateMethod?
  public let settings: Set<Setting>
  let defaults: Defaults
  /// The optimiser at its first step.
  let make: Maker

  init(
    _ name: String, method: UpdateMethod? = nil, _ settings: Set<Setting>,
    _ defaults: Defaults = Defaults(), _ make: @escaping Maker
  ) {
    rawValue = name
    self.method = method
    self.settings = settings
    self.defaults = defaults
    self.make = make
  }

  public init?(rawValue: String) {
    guard let found = Self.allCases.first(where: { $0.rawValue == rawValue }) else { return nil }
    self = found
  }

  public static func == (a: OptimizerKind, b: OptimizerKind) -> Bool { a.rawValue == b.rawValue }

  public func hash(into hasher: inout Hasher) { hasher.combine(rawValue) }
}

extension OptimizerKind {
  public static let allCases: [OptimizerKind] = [sgd, adam, adamw, adafactor, ef, ief, sf]

  public static let sgd = OptimizerKind("sgd", [.normalization, .weightDecay, .momentum]) {
    settings, _, operations, _ in StochasticGradient(settings, operations)
  }

  public static let adam = OptimizerKind("adam", [.weightDecay, .moments]) {
    settings, _, operations, _ in Adam(settings, operations, isDecoupled: false)
  }

  public static let adamw = OptimizerKind(
    "adamw", [.weightDecay, .moments], Defaults(weightDecay: 1e-2)
  ) { settings, _, operations, _ in Adam(settings, operations, isDecoupled: true) }

  public static let adafactor = OptimizerKind(
    "adafactor", [.weightDecay], Defaults(learningRate: 1e-2)
  ) { Adafactor($0, $1, $2, precision: $3) }

  /// Exact empirical Fisher (Algorithm 2).
  public static let ef = natural(.ef, isBounded: true)
  /// Exact improved empirical Fisher (Algorithm 1).
  public static let ief = natural(.ief, isBounded: false)
  /// Exact sampled Fisher (Algorithm 3).
  public static let sf = natural(.sf, isBounded: true)

  /// Plain steps along the direction of a method.
  private static func natural(_ method: UpdateMethod, isBounded: Bool) -> OptimizerKind {
    OptimizerKind(
      method.name, method: method,
      Set([.normalization, .damping, .dropDuplicates] + (method.needs.isSampled ? [.draws] : [])),
      Defaults(learningRate: 1, isBounded: isBounded)
    ) { _, _, operations, _ in PlainStep(operations) }
  }
}
