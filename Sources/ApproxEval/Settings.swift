import Checkpoints

// What may be chosen, by the names that messages and records have for it.
extension Setting {
  public static let adapter = Setting("adapter")
  public static let batchSize = Setting("batch size")
  public static let batches = Setting("batches")
  public static let cgDamping = Setting("cg damping")
  public static let cgGap = Setting("cg gap")
  public static let classAxis = Setting("class axis")
  public static let cgIterations = Setting("cg iterations")
  public static let cgPreconditioner = Setting("cg preconditioner")
  public static let cgTolerance = Setting("cg tolerance")
  public static let damping = Setting("damping")
  public static let data = Setting("data")
  public static let dropDuplicates = Setting("drop duplicates")
  public static let firstBatch = Setting("first batch")
  public static let force = Setting("force")
  public static let holdOut = Setting("hold out")
  public static let learningRate = Setting("learning rate")
  public static let loss = Setting("loss")
  public static let mcSamples = Setting("mc samples")
  public static let memory = Setting("memory")
  public static let methods = Setting("methods")
  public static let model = Setting("model")
  public static let normalize = Setting("normalize")
  public static let optimizerState = Setting("optimizer state")
  public static let output = Setting("output")
  public static let parameterOrder = Setting("parameter order")
  public static let perLayer = Setting("per layer")
  public static let precision = Setting("precision")
  public static let reference = Setting("reference")
  public static let resume = Setting("resume")
  public static let run = Setting("run")
  public static let seed = Setting("seed")
  public static let shard = Setting("shard")
  public static let task = Setting("task")
  public static let threads = Setting("threads")
  public static let trainable = Setting("trainable")
  public static let updates = Setting("updates")
  public static let validation = Setting("validation")
  public static let verbose = Setting("verbose")
  public static let weights = Setting("weights")

  /// All of them: a program that shows messages has to know how it spells each.
  public static let all: [Setting] = [
    .adapter, .batchSize, .batches, .cgDamping, .cgGap, .cgIterations, .cgPreconditioner,
    .cgTolerance, .classAxis, .damping, .data, .dropDuplicates, .firstBatch, .force, .holdOut,
    .learningRate, .loss, .mcSamples, .memory, .methods, .model, .normalize, .optimizerState,
    .output, .parameterOrder, .perLayer, .precision, .reference, .resume, .run, .seed, .shard,
    .task, .threads, .trainable, .updates, .validation, .verbose, .weights,
  ]
}

extension Setting {
  /// What follows from `methods`, and only records tell: no message names it, as nobody sets it.
  static let storedUpdates = Setting("stored updates")
}
