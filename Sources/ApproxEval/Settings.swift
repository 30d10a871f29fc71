import Checkpoints

// What may be chosen, by the names that messages and records have for it.
extension Setting {
  /// ``/ApproxEval/EvaluationOptions/adapter``.
  public static let adapter = Setting("adapter")
  /// ``/ApproxEval/EvaluationOptions/batchSize``.
  public static let batchSize = Setting("batch size")
  /// ``/ApproxEval/EvaluationOptions/batches``.
  public static let batches = Setting("batches")
  /// ``/ApproxEval/EvaluationOptions/cgDamping``.
  public static let cgDamping = Setting("cg damping")
  /// ``/ApproxEval/EvaluationOptions/cgGap``.
  public static let cgGap = Setting("cg gap")
  /// ``/ApproxEval/EvaluationOptions/classAxis``.
  public static let classAxis = Setting("class axis")
  /// ``/ApproxEval/EvaluationOptions/cgIterations``.
  public static let cgIterations = Setting("cg iterations")
  /// ``/ApproxEval/EvaluationOptions/cgPreconditioner``.
  public static let cgPreconditioner = Setting("cg preconditioner")
  /// ``/ApproxEval/EvaluationOptions/cgTolerance``.
  public static let cgTolerance = Setting("cg tolerance")
  /// ``/ApproxEval/EvaluationOptions/dampings``.
  public static let damping = Setting("damping")
  /// ``/ApproxEval/EvaluationOptions/dataFile``.
  public static let data = Setting("data")
  /// ``/ApproxEval/EvaluationOptions/dropDuplicates``.
  public static let dropDuplicates = Setting("drop duplicates")
  /// ``/ApproxEval/EvaluationOptions/firstBatch``.
  public static let firstBatch = Setting("first batch")
  /// Whether what is there may be overwritten.
  public static let force = Setting("force")
  /// ``/ApproxEval/TrainingOptions/validation`` by a share of the data.
  public static let holdOut = Setting("hold out")
  /// The learning rate of `train`.
  public static let learningRate = Setting("learning rate")
  /// ``/ApproxEval/EvaluationOptions/loss``.
  public static let loss = Setting("loss")
  /// ``/ApproxEval/EvaluationOptions/monteCarloSamples``.
  public static let mcSamples = Setting("mc samples")
  /// ``/ApproxEval/EvaluationOptions/memory``.
  public static let memory = Setting("memory")
  /// ``/ApproxEval/EvaluationOptions/methods``.
  public static let methods = Setting("methods")
  /// ``/ApproxEval/EvaluationOptions/model``.
  public static let model = Setting("model")
  /// Whether steps of `train` have the length of the learning rate.
  public static let normalize = Setting("normalize")
  /// ``/ApproxEval/EvaluationOptions/optimizerState``.
  public static let optimizerState = Setting("optimizer state")
  /// Where results go.
  public static let output = Setting("output")
  /// ``/ApproxEval/EvaluationOptions/parameterOrder``.
  public static let parameterOrder = Setting("parameter order")
  /// ``/ApproxEval/EvaluationOptions/perLayer``.
  public static let perLayer = Setting("per layer")
  /// ``/ApproxEval/EvaluationOptions/precision``.
  public static let precision = Setting("precision")
  /// ``/ApproxEval/EvaluationOptions/reference``.
  public static let reference = Setting("reference")
  /// Whether a run goes on from its journal.
  public static let resume = Setting("resume")
  /// ``/ApproxEval/EvaluationOptions/run``.
  public static let run = Setting("run")
  /// ``/ApproxEval/EvaluationOptions/sample``.
  public static let sample = Setting("sample")
  /// ``/ApproxEval/EvaluationOptions/seed``.
  public static let seed = Setting("seed")
  /// Which part of a run is scored.
  public static let shard = Setting("shard")
  /// ``/ApproxEval/EvaluationOptions/task``.
  public static let task = Setting("task")
  /// ``/ApproxEval/EvaluationOptions/threads``.
  public static let threads = Setting("threads")
  /// ``/ApproxEval/EvaluationOptions/trainable``.
  public static let trainable = Setting("trainable")
  /// ``/ApproxEval/EvaluationOptions/updateFiles``.
  public static let updates = Setting("updates")
  /// ``/ApproxEval/TrainingOptions/validation`` by a file.
  public static let validation = Setting("validation")
  /// Whether a run tells where its time goes.
  public static let verbose = Setting("verbose")
  /// Which tensors may lose weights.
  public static let weights = Setting("weights")

  /// All of them: a program that shows messages has to know how it spells each.
  public static let all: [Setting] = [
    .adapter, .batchSize, .batches, .cgDamping, .cgGap, .cgIterations, .cgPreconditioner,
    .cgTolerance, .classAxis, .damping, .data, .dropDuplicates, .firstBatch, .force, .holdOut,
    .learningRate, .loss, .mcSamples, .memory, .methods, .model, .normalize, .optimizerState,
    .output, .parameterOrder, .perLayer, .precision, .reference, .resume, .run, .sample, .seed,
    .shard, .task, .threads, .trainable, .updates, .validation, .verbose, .weights,
  ]
}

extension Setting {
  /// What follows from `methods`, and only records tell: no message names it, as nobody sets it.
  static let storedUpdates = Setting("stored updates")
}
