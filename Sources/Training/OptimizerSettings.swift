import Updates

/// How the learning rate goes over a run of `T` steps.
public enum LearningRateSchedule: String, Sendable, CaseIterable {
  /// The same at every step.
  case constant
  /// From the full rate at the first step in equal steps to zero after the last one.
  case linear

  /// - Parameter step: From 0 to `steps - 1`.
  package func rate(_ initial: Double, step: Int, of steps: Int) -> Double {
    switch self {
    case .constant: initial
    case .linear: initial * Double(steps - step) / Double(steps)
    }
  }
}

/// The loss of a mini-batch that EF, iEF and SF are formed from: the losses of scored positions added
/// up, or their mean.
public enum LossReduction: String, Sendable, CaseIterable {
  /// Added up.
  case sum
  /// Over the number of scored positions.
  case mean
}

/// An optimiser with everything that decides its steps. A new value has the defaults of
/// `torch.optim` and Transformers for the baselines, and for EF, iEF and SF the schedules of the
/// paper (H.2).
///
/// The baselines see the gradient of the MEAN loss over scored positions, so that learning rates
/// mean what they mean in PyTorch. EF, iEF and SF are formed from gradients that are summed, as
/// the paper's equations have them, unless `reduction` says otherwise: the first-order effect of an
/// iEF step is `l_n -= learningRate * |u_n|^2`, whatever the batch size.
public struct OptimizerSettings: Sendable {
  /// Which optimiser it is.
  public let kind: OptimizerKind
  /// At the first step.
  public var learningRate: Double
  /// How the rate goes on.
  public var schedule: LearningRateSchedule
  /// The direction is divided by its norm first, so that without momentum and weight decay a step
  /// has the length of the learning rate.
  public var isNormalized: Bool
  /// L2 for `sgd` and `adam`; decoupled for `adamw` and both kinds of Adafactor. Nothing else has
  /// one.
  public var weightDecay: Double
  /// Of `sgd`.
  public var momentum = 0.0
  /// Of `sgd`, with a momentum.
  public var isNesterov = false
  /// Of `adam` and `adamw`.
  public var betas = (0.9, 0.999)
  /// Of `adam` and `adamw`, and what `transformers-adafactor` adds to every square.
  public var epsilon: Double
  /// Of `transformers-adafactor`: means of squares move by `t^decayRate` in step t; at most 0.
  public var decayRate = -0.8
  /// Of `transformers-adafactor`: the root mean square of a parameter's step, over the learning rate,
  /// at most.
  public var clipThreshold = 1.0
  /// Of `ef`, `ief` and `sf`. The experiments of the paper count learning rates and dampings in terms
  /// of the mean, for which lambda is divided by the square of the number of scored positions.
  public var reduction = LossReduction.sum
  /// lambda of `ef`, `ief` and `sf`. **choice**: the evaluation's default, "near-zero" in the
  /// paper, which has 1e-7 and 1e-12 for its tasks.
  public var damping = Damping("rel:1e-7")!
  /// Of `sf`: labels drawn per sample.
  public var monteCarloSamples = 1
  /// Of `ef`, `ief` and `sf`: as in an evaluation. **choice**: off; the authors' program leaves
  /// out the smaller of two gradients whose cosine is above 0.99.
  public var dropDuplicates: Double?

  /// The defaults of this optimiser.
  public init(_ kind: OptimizerKind) {
    self.kind = kind
    learningRate = kind.defaults.learningRate
    schedule = kind.defaults.isBounded ? .linear : .constant
    isNormalized = kind.defaults.isBounded
    weightDecay = kind.defaults.weightDecay
    epsilon = kind.defaults.epsilon
  }
}
