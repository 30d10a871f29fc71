import Foundation
import Models
import TensorModule
import Updates

/// The arithmetic of the engine. Reductions, Gram matrices, inner products and small dense solves
/// are in double in either.
public enum Arithmetic: String, Sendable, CaseIterable, Codable {
  /// Single precision, unit roundoff 2^-24.
  case float32
  /// Double precision, unit roundoff 2^-53.
  case float64
}

/// The arithmetic that is asked for.
public enum Precision: String, Sendable, CaseIterable {
  /// Single, and a batch again in double where a gamma would be marked; small batches in double.
  case auto
  /// Single precision, whatever rounding does to a gamma; it is marked.
  case float32
  /// Double precision throughout.
  case float64

  /// The precision that asks for just this arithmetic.
  public init(_ precision: Arithmetic) {
    self = precision == .float32 ? .float32 : .float64
  }
}

/// What conjugate gradients are preconditioned with. On a singular F the limit is then another
/// solution, of the same gamma.
public enum PreconditionerKind: String, Sendable, CaseIterable {
  /// Plain conjugate gradients.
  case none
  /// The diagonal of F, exact for few classes, from sampled labels otherwise.
  case jacobi
  /// The Fisher matrix of sampled labels, inverted by the Woodbury identity.
  case sf
}

/// Heads of language models.
public typealias LanguageTask = Models.LanguageTask

/// What `Evaluation` computes, with the defaults of the command.
public struct EvaluationOptions: Sendable {
  /// Scored in this order, each at every damping.
  public var methods: [UpdateMethod] = [.sgd, .ef, .ief, .sf]
  /// Lambda of every method that has one; each method is scored at each.
  public var dampings: [Damping] = [Damping("rel:1e-7")!]
  /// Monte-Carlo labels per sample for methods that draw, each scored; empty: as many as the file
  /// carries, or 1. Fewer are the first of more.
  public var monteCarloSamples: [Int] = []
  /// How the natural gradient is found that efficiencies are relative to.
  public var reference = ReferenceMethod.auto
  /// The most iterations of conjugate gradients or LSQR; those of `auto` may be more, where a direct
  /// solver would take longer.
  public var cgIterations = 200
  /// Stop at this residual relative to the gradient.
  public var cgTolerance = 1e-6
  /// Stop when gamma is within this fraction of the certificate's bound; 0 = never.
  public var cgGap = 1e-3
  /// mu of `F + mu I` in the reference solve.
  public var cgDamping = 0.0
  /// Of `cg` alone.
  public var cgPreconditioner = PreconditionerKind.none
  /// Samples that a batch of a data file has where nothing else is asked for.
  package static let usualBatchSize = 160
  /// Samples per batch; `nil`: the checkpoint's own batch as a whole, or 160 of a data file.
  public var batchSize: Int?
  /// Number of batches; `nil`: 1 of the checkpoint's own, 10 of a data file.
  public var batches: Int?
  /// Number of the first batch. Samples and Monte-Carlo labels depend on a batch's number, so that
  /// any batch of a longer run can be repeated alone.
  public var firstBatch = 0
  /// Key of everything random: samples of a batch, Monte-Carlo labels.
  public var seed: UInt64 = 1337
  /// The arithmetic of the engine.
  public var precision = Precision.auto
  /// Worker threads; results have the same bits for every number of them.
  public var threads = EvaluationOptions.availableProcessors
  /// Bytes that the evaluation may use.
  public var memory = SystemMemory.available / 2
  /// Batches are drawn from this file instead of the checkpoint's own batch.
  public var dataFile: String?
  /// What checkpoints are parameters of, where they carry no model: an archive by torch.export.save
  /// with state_dicts, or a Hugging Face folder with adapters or weights.
  public var model: String?
  /// The name of the training run that checkpoints are of; `nil`: their folder.
  public var run: String?
  /// The name of the loss, where no file names one; `nil`: cross_entropy.
  public var loss: String?
  /// The output's dimension of classes as PyTorch counts it, for such a network; `nil`: the one that the
  /// labels leave over.
  public var classAxis: Int?
  /// What the head of a language model is for, where its configuration does not say it or says another.
  public var task: LanguageTask?
  /// Folder of a PEFT adapter on a Hugging Face model.
  public var adapter: String?
  /// Patterns over parameter names, in place of the checkpoint's own.
  public var trainable: [String] = []
  /// Files with directions to score.
  public var updateFiles: [String] = []
  /// Names for the directions of such files that hold one without a name; others have the name of
  /// their file. By path.
  public var directionNames: [String: String] = [:]
  /// Whether directions that a checkpoint carries are scored without being named in `methods`.
  public var scoresStoredUpdates = true
  /// The state of a PyTorch optimiser, scored as the step that it takes next on each batch.
  public var optimizerState: String?
  /// A list of the parameters' names in that optimiser's order, one a line.
  public var parameterOrder: String?
  /// What a sample is of which methods take gradients: the scores of a direction do not depend on it.
  public var sample = SampleKind.sequence
  /// Score every direction restricted to each parameter tensor and each module as well.
  public var perLayer = false
  /// Leave out of EF, iEF and SF, of each pair of samples whose gradients have a larger cosine
  /// than this, the one with the smaller gradient.
  public var dropDuplicates: Double?

  /// The defaults of the command.
  public init() {}

  /// Asked once: the system looks it up in files.
  private static let availableProcessors = ProcessInfo.processInfo.activeProcessorCount

  /// Samples of a batch where so many can be drawn; more than these only if they are asked for.
  func batchSize(of available: Int) -> Int {
    batchSize ?? (dataFile == nil ? available : min(Self.usualBatchSize, available))
  }

  /// Whether any of it takes products of per-sample gradients with each other.
  var needsGramMatrix: Bool {
    dropDuplicates != nil || methods.contains { $0.needs.gram == .whole }
  }
}
