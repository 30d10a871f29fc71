import Checkpoints
import Metrics
import Updates

/// One method at one damping on one batch; the columns of scores.csv.
public struct Score: Sendable, Equatable, Codable {
  /// The method's name, as `EvaluationOptions.methods` has it.
  public var method: String
  /// What the method's name has in common with its kin's: `ng` of `ng@5`.
  public var family: String
  /// What the row is to the others.
  public var role: RowRole
  /// As given, `nil` where the method has none.
  public var damping: String?
  /// Lambda of that damping on this batch, in the units of what the method adds it to; `nil`
  /// without.
  public var lambda: Double?
  /// `sqrt(d^T F d) / |d^T g|` (Eqn 15), in nats^(-1/2); NaN where `defect` says why. Ratios to a
  /// gamma that is NaN are `nil`.
  public var gamma: Double
  /// Below 1 it beats plain gradient descent.
  public var gammaRelativeToSGD: Double?
  /// Not below 1 but for rounding.
  public var gammaRelativeToReference: Double?
  /// `(gamma(reference) / gamma)^2`
  public var efficiency: Double?
  /// `(gamma_bound / gamma)^2`: the efficiency is at least this, by the certificate. NaN without
  /// gamma.
  public var efficiencyLow: Double
  /// `d^T F d`
  public var fisherQuadratic: Double
  /// `d^T g`
  public var gradientDot: Double
  /// `|d|`
  public var updateNorm: Double
  /// `d^T g / (|d| |g|)`
  public var cosineGradient: Double
  /// `d^T x / (|d| |x|)` with the reference x.
  public var cosineReference: Double?
  /// Of its direction, with an equal share of the pass that scores all of them.
  public var seconds: Double
  /// An estimate of the relative error that arithmetic has left in gamma; `nil` without gamma.
  public var gammaError: Double?
  /// Why there is no gamma.
  public var defect: Indicator.Defect?
  /// Draws per sample that the direction is made of, `nil` where the method draws none.
  public var monteCarloSamples: Int?
  /// `d^T F d / |d|^2`, the curvature along d; `nil` without d.
  public var sharpness: Double?
  /// The share of `d^T F d` within layers, `sum_b d_b^T F_bb d_b` over the blocks of `LayerScore`: what is
  /// left to 1 lies across them, and may be negative. `nil` unless there are scores of layers.
  public var withinLayers: Double?
  /// How iterations for the blocks of its direction have ended, whose error is in `gammaError`; `nil`
  /// where none were needed.
  public var solves: BlockSolves?

  /// Whether gamma may be off by more than a thousandth.
  public var isMarked: Bool { gammaError.map { !($0 <= GammaErrorEstimate.limit) } ?? false }
}

/// One direction restricted to one parameter tensor, or to the tensors of one module; the columns
/// of layers.csv. All else of the direction is zero.
public struct LayerScore: Sendable, Equatable, Codable {
  /// What a direction is restricted to.
  public enum Kind: String, Sendable, Equatable, Codable {
    /// One parameter tensor.
    case tensor
    /// The tensors whose names differ in the last part only, as weight and bias of a layer.
    case block
  }

  /// The method's name.
  public var method: String
  /// As of `Score`.
  public var family: String
  /// As of `Score`.
  public var role: RowRole
  /// As of `Score`.
  public var damping: String?
  /// As of `Score`.
  public var monteCarloSamples: Int?
  /// The name of the tensor, or what its names begin with.
  public var layer: String
  /// Whether it is a tensor or a block.
  public var kind: Kind
  /// Trainable parameters in it.
  public var parameters: Int
  /// What the tensor is to the run.
  public var status: ParameterRole.Status
  /// As of `Score`; NaN where the restricted direction is zero or changes no output.
  public var gamma: Double
  /// Relative to the gamma of the gradient restricted in the same way.
  public var gammaRelativeToSGD: Double?
  /// `(gamma(reference) / gamma)^2`: the share of what the natural gradient of ALL parameters could
  /// gain that a step in this layer alone gains.
  public var efficiency: Double?
  /// `d_b^T F d_b`
  public var fisherQuadratic: Double
  /// Adds up to that of the whole direction over all tensors, and over all blocks.
  public var gradientDot: Double
  /// `|d_b|`
  public var updateNorm: Double
  /// As of `Score`, with the error of the whole direction; `nil` without gamma.
  public var gammaError: Double?
  /// As of `Score`, of the restricted direction.
  public var sharpness: Double?
  /// `d_b^T F d_b / d^T F d`: added up over the blocks it is the share within layers.
  public var fisherShare: Double?
}

/// What a parameter of the model is to a run.
public struct ParameterRole: Sendable, Equatable, Codable {
  /// What happens to a parameter.
  public enum Status: String, Sendable, Equatable, Codable {
    /// It trains.
    case trained
    /// Trained, and used in several places of the model.
    case tied
    /// Of a block: some of its tensors train.
    case partlyFrozen = "partly-frozen"
    /// Read, and no part of any direction.
    case frozen
    /// Stored statistics, never trained.
    case statistic
    /// Trained by PEFT, and read by no computation: its gradient is zero.
    case unused
  }

  /// As the model names it.
  public var name: String
  /// Its scalars.
  public var count: Int
  /// What happens to it.
  public var status: Status
  /// What the K-FAC family does with it: `kronecker`, or why its block is exact; `nil` if it does not
  /// train.
  public var kroneckerBlock: String?
}

/// What a reference is worth.
public enum ReferenceStatus: String, Sendable, CaseIterable, Codable {
  /// Within the tolerance, or as close to the least gamma as was asked for, which the certificate proves.
  case converged
  /// A direct solution, exact to rounding.
  case exact
  /// The gradient is zero: no direction is distinguished.
  case zeroGradient = "zero-gradient"
  /// Neither: gamma is an upper bound of the least one.
  case notConverged = "not-converged"
}

/// How the reference of a batch was reached.
public struct ReferenceRecord: Sendable, Equatable, Codable {
  /// The solver that has reached it.
  public var kind: ReferenceMethod
  /// Of the direction that was found.
  public var gamma: Double
  /// `nil` for the dense solvers.
  public var iterations: Int?
  /// `|g - F x| / |g|`, recomputed from the solution.
  public var residual: Double
  /// One word: why the solver stopped.
  public var stop: String
  /// A sentence: what that means.
  public var explanation: SettingText
  /// What it is worth.
  public var status: ReferenceStatus
  /// An estimate, no bound, of the least gamma that any direction has, from the steps of the solver
  /// (`LanczosSteps`) or the residual; `nil` where there is none.
  public var leastGammaEstimate: Double?
  /// No direction has a smaller gamma, by the singular values of B, of which those below 1e-12 of the largest
  /// count as zero (`ReferenceProof`); `nil` where they are not known.
  public var leastGamma: Double?
  /// No direction that is up to twice as long, for the same `d^T g`, has a smaller gamma, by the residual;
  /// `nil` where the certificate proves what was asked for, or the residual nothing.
  public var leastGammaOfShort: Double?
  /// By what `auto` has picked this solver: `predicted operations: ...`; `nil` where the options name it.
  public var choice: String?
  /// Of conjugate gradients, which had not converged when `auto` turned to this solver.
  public var iterationsBefore: Int?
  /// What would help on this problem where it did not converge, as far as anything would.
  public var advice: SettingText?
  /// The scored row whose direction is the reference, as its gamma is lower than what the solver has
  /// reached.
  public var replacement: String?

  /// Whether it is the natural gradient up to rounding or tolerance; also where that is zero.
  public var isConverged: Bool { status != .notConverged }
}

/// One iterate of the reference solve; the columns of cg.csv.
public struct TraceRow: Sendable, Equatable, Codable {
  /// From 1.
  public var iteration: Int
  /// `|r| / |g|`, from the recurrence.
  public var relativeResidual: Double
  /// Of the iterate.
  public var gamma: Double
  /// Since the start of the solve.
  public var seconds: Double
}

/// One batch of one checkpoint; the columns of batches.csv, with its scores.
public struct BatchResult: Sendable, Codable {
  /// Its path, or that of its adapter.
  public var checkpoint: String
  /// As the file or its name says; `nil` where neither does.
  public var epoch: Int?
  /// As the epoch.
  public var step: Int?
  /// The training run that the checkpoint is of.
  public var run: String?
  /// The batch's number, from 0 in a whole run.
  public var batch: Int
  /// `float32` or `float64`: the arithmetic that all numbers of the batch come from.
  public var precision: Arithmetic
  /// Whether the batch was done in single precision before, and again because a gamma would have been
  /// marked or missing.
  public var isRepeated = false
  /// Whether some direction is missing for want of range in single precision.
  public var overflowsInSingle = false
  /// N: scored positions where each of them is a sample.
  public var samples: Int
  /// Samples of the data that these positions are of; `nil` where the samples are those of the data.
  public var sequences: Int?
  /// Samples whose forward values did not fit into memory and were recomputed in every pass.
  public var recomputedSamples: Int
  /// L, summed over samples.
  public var loss: Double
  /// L over the number of scored positions, each times its weight.
  public var meanLoss: Double
  /// `|g|`
  public var gradientNorm: Double
  /// `max_n |g_n| / min_n |g_n|`
  public var gradientNormRatio: Double
  /// `max_n |u_n| / min_n |u_n|`
  public var logitGradientNormRatio: Double
  /// No direction has a smaller gamma.
  public var gammaBound: Double
  /// How far the drawn labels are the true ones; `nil` where none are drawn, or no label is a class.
  public var sampledLabels: SampledLabelCount?
  /// `nil` unless asked for.
  public var duplicates: DuplicateCount?
  /// Inputs that may want scaling; `nil` without.
  public var bytes: ByteInputs?
  /// `nil` without a reference.
  public var reference: ReferenceRecord?
  /// Iterates of the reference; empty for the direct solvers.
  public var trace: [TraceRow]
  /// In the order of methods, dampings and draws; the reference last.
  public var scores: [Score]
  /// Empty unless asked for.
  public var layers: [LayerScore] = []
  /// Where the time went.
  public var costs: [PhaseCost] = []
  /// Of the whole batch.
  public var seconds: Double

  /// Samples of the data that it has.
  var drawn: Int { sequences ?? samples }

  /// What counted as a sample.
  public var sample: SampleKind { sequences == nil ? .sequence : .token }

  /// Whether some gamma may be off by more than a thousandth.
  public var hasMark: Bool { scores.contains { $0.isMarked } }

  /// How far the reference can be from the natural gradient.
  public var referenceExcess: ReferenceExcess? {
    reference.map { ReferenceExcess($0, bound: gammaBound) }
  }
}

/// Monte-Carlo labels of a batch beside the true ones.
public struct SampledLabelCount: Sendable, Equatable, Codable {
  /// Labels that are another class than the true one.
  public var changed: Int
  /// Labels of all draws and scored positions (for the binary loss, outputs).
  public var all: Int
}

/// What leaving out duplicates has taken out of the solves of a batch.
public struct DuplicateCount: Sendable, Equatable, Codable {
  /// Of the samples.
  public var samples: Int
  /// Of the gradients of drawn labels.
  public var sampled: Int
  /// Gradients of drawn labels.
  public var draws: Int
}

/// What was scored: the line above the table.
public struct CheckpointDescription: Sendable, Equatable, Codable {
  /// A file or a folder.
  public var path: String
  /// What it is an adapter or a state_dict of, where that lies elsewhere.
  public var base: String?
  /// As of `BatchResult`.
  public var epoch: Int?
  /// As of `BatchResult`.
  public var step: Int?
  /// The training run that it is of: its folder, or the name that was given.
  public var run: String?
  /// The model's family: `sequential`, `vit`, `t5`.
  public var model: String
  /// `cross_entropy`, `mse` or `bce`.
  public var loss: String
  /// What else is done to it, in words: `label smoothing 0.1`.
  public var lossSettings: [String] = []
  /// P
  public var trainableParameters: Int
  /// With those that do not train.
  public var allParameters: Int
  /// O and C
  public var positions: Int
  /// C: logits of a position.
  public var classes: Int
  /// In the order of the model.
  public var parameters: [ParameterRole] = []
  /// What is to be known of the user's directions that are scored.
  public var notes: [SettingText] = []
  /// What may be one layer that is used several times.
  public var equalWeights: [EqualWeights] = []
  /// Whether labels are weighed, smoothed or soft: then drawn ones count otherwise than true ones.
  public var hasWeightedLoss = false
  /// What batches come from; `nil` without data.
  public var data: DataDescription?
}

/// The data that batches come from.
public struct DataDescription: Sendable, Equatable, Codable {
  /// Samples of the file.
  public var samples: Int
  /// Whether Monte-Carlo labels are in the file: then every batch has the same ones.
  public var carriesDraws: Bool
}
