import TensorModule
import Updates

/// An optimiser by the name that options and reports use, with all that is to be known of it. Two of
/// one name are the same; a new one is a value here and a line in `allCases`.
public struct OptimizerKind: RawRepresentable, CaseIterable, Hashable, Sendable {
  /// What there is to set beside the learning rate and its schedule.
  public enum Setting: Sendable {
    /// Whether a direction is divided by its norm.
    case normalization
    /// Whether what is stepped along is of the sum or of the mean of losses.
    case reduction
    /// lambda.
    case damping
    /// Labels drawn per sample.
    case draws
    /// The cosine above which a sample counts as another one's duplicate.
    case dropDuplicates
    /// L2 or decoupled.
    case weightDecay
    /// With or without Nesterov's step.
    case momentum
    /// Both betas.
    case moments
    /// What keeps second moments from zero.
    case epsilon
    /// How fast the second moment forgets, and how large a step may be beside it.
    case factoredMoment
  }

  /// What a new run has.
  struct Defaults {
    var learningRate = 1e-3
    /// "A linearly decaying normalised update" keeps EF from diverging; SF was given the same.
    var isBounded = false
    var weightDecay = 0.0
    var epsilon = 1e-8
  }

  typealias Maker =
    @Sendable (OptimizerSettings, ParameterLayout, VectorOperations<Double>, _ precision: Double)
    -> any Optimizer

  public let rawValue: String
  /// Whose direction it steps along, from sums over samples; `nil`: the gradient of the mean loss.
  package let method: UpdateMethod?
  /// A loss that is c times as large, with a lambda that is c^2 times as large, has c to this power
  /// times the direction.
  package let lossPower: Int
  /// Those that it has.
  public let settings: Set<Setting>
  let defaults: Defaults
  /// The optimiser at its first step.
  let make: Maker

  init(
    _ name: String, method: UpdateMethod? = nil, lossPower: Int = 1, _ settings: Set<Setting>,
    _ defaults: Defaults = Defaults(), _ make: @escaping Maker
  ) {
    rawValue = name
    self.method = method
    self.lossPower = lossPower
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
  public static let allCases: [OptimizerKind] = [
    sgd, adam, adamw, adafactor, transformersAdafactor, ef, ief, sf,
  ]

  /// `torch.optim.SGD`.
  public static let sgd = OptimizerKind("sgd", [.normalization, .weightDecay, .momentum]) {
    settings, _, operations, _ in StochasticGradient(settings, operations)
  }

  /// `torch.optim.Adam`.
  public static let adam = OptimizerKind("adam", [.weightDecay, .moments, .epsilon]) {
    settings, _, operations, _ in Adam(settings, operations, isDecoupled: false)
  }

  /// `torch.optim.AdamW`.
  public static let adamw = OptimizerKind(
    "adamw", [.weightDecay, .moments, .epsilon], Defaults(weightDecay: 1e-2)
  ) { settings, _, operations, _ in Adam(settings, operations, isDecoupled: true) }

  /// `torch.optim.Adafactor`.
  public static let adafactor = OptimizerKind(
    "adafactor", [.weightDecay], Defaults(learningRate: 1e-2)
  ) { Adafactor($0, $1, $2, precision: $3) }

  /// Transformers'. Epsilon and the learning rate of its documentation.
  public static let transformersAdafactor = OptimizerKind(
    "transformers-adafactor", [.weightDecay, .epsilon, .factoredMoment], Defaults(epsilon: 1e-30)
  ) { settings, layout, operations, _ in TransformersAdafactor(settings, layout, operations) }

  /// Exact empirical Fisher (Algorithm 2): the gradient over a matrix of squares of gradients.
  public static let ef = natural(.ef, lossPower: -1, isBounded: true)
  /// Exact improved empirical Fisher (Algorithm 1): these squares over those of the logits.
  public static let ief = natural(.ief, lossPower: 1, isBounded: false)
  /// Exact sampled Fisher (Algorithm 3): as EF.
  public static let sf = natural(.sf, lossPower: -1, isBounded: true)

  /// Plain steps along the direction of a method.
  private static func natural(
    _ method: UpdateMethod, lossPower: Int, isBounded: Bool
  ) -> OptimizerKind {
    OptimizerKind(
      method.name, method: method, lossPower: lossPower,
      Set(
        [.normalization, .reduction, .damping, .dropDuplicates]
          + (method.needs.isSampled ? [.draws] : [])),
      Defaults(learningRate: 1, isBounded: isBounded)
    ) { _, _, operations, _ in PlainStep(operations) }
  }
}
