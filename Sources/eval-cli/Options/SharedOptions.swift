import ApproxEval
import ArgumentParser
import Updates

extension Arithmetic: ExpressibleByArgument {}
extension LanguageTask: ExpressibleByArgument {}
extension Precision: ExpressibleByArgument {}
extension PreconditionerKind: ExpressibleByArgument {}
extension SampleKind: ExpressibleByArgument {}

extension ReferenceMethod: ExpressibleByArgument {
  /// The values of the option, for its help.
  public static var allValueStrings: [String] { all.map(\.name) }
  /// What each value means.
  public static var allValueDescriptions: [String: String] { descriptions(all) }
  /// What Tab offers; ArgumentParser completes values by itself for enumerations alone.
  public static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }

  fileprivate static func descriptions(_ methods: [ReferenceMethod]) -> [String: String] {
    Dictionary(uniqueKeysWithValues: methods.map { ($0.name, $0.help) })
  }
}

/// The same where a direction must be found.
struct DirectionMethod: ExpressibleByArgument {
  var method: ReferenceMethod
  private static let all = ReferenceMethod.all.filter { $0 != .none }

  init(_ method: ReferenceMethod) { self.method = method }

  init?(argument: String) {
    guard let method = Self.all.first(where: { $0.name == argument }) else { return nil }
    self.init(method)
  }

  var defaultValueDescription: String { method.name }
  static var allValueStrings: [String] { all.map(\.name) }
  static var allValueDescriptions: [String: String] { ReferenceMethod.descriptions(all) }
  static var defaultCompletionKind: CompletionKind { .list(allValueStrings) }
}

/// A PEFT adapter on the checkpoint.
struct AdapterOption: ParsableArguments {
  @Option(
    help: .init(
      "PEFT adapter (LoRA or prompt tuning) on a Hugging Face model folder.", valueName: "folder"),
    completion: .directory)
  var adapter: String?

  /// After the model has been set.
  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if adapter != nil { try Self.requireNoModel(options) }
    options.adapter = adapter
  }

  static func requireNoModel(_ options: EvaluationOptions) throws(UsageError) {
    if options.model == nil { return }
    throw UsageError(
      "an adapter is a checkpoint of --model itself", at: "--adapter, --model",
      "Give its folder as the checkpoint, and leave out --adapter.")
  }
}

/// PEFT adapters on one checkpoint.
struct AdapterOptions: ParsableArguments {
  @Option(
    help: .init(
      """
      PEFT adapter (LoRA or prompt tuning) on a Hugging Face model folder; repeatable, each is \
      scored.
      """, valueName: "folder"), completion: .directory)
  var adapter: [String] = []

  /// After the model has been set.
  func check(_ options: EvaluationOptions) throws(UsageError) {
    if !adapter.isEmpty { try AdapterOption.requireNoModel(options) }
  }
}

/// Which parameters count.
struct TrainableOption: ParsableArguments {
  @Option(
    help: .init(
      "Trainable parameters by name, * and ? allowed; repeatable. (default: as the source says)",
      valueName: "glob"))
  var trainable: [String] = []
}

/// What checkpoints are parameters of.
struct ModelOption: ParsableArguments {
  @Option(
    help: .init(
      """
      What the checkpoints are parameters of: a network by torch.export.save with its \
      state_dicts, or a Hugging Face folder with its adapters or weights. (default: a checkpoint \
      carries its model)
      """, valueName: "file or folder"), completion: .file())
  var model: String?
}

/// Where samples come from, and which parameters count.
struct DataOptions: ParsableArguments {
  @Option(
    name: .customLong("data"),
    help: .init(
      "Draw batches from this .npz or safetensors file instead of the checkpoint's own batch.",
      valueName: "file"), completion: .file())
  var file: String?

  @OptionGroup var base: ModelOption

  @Option(help: .init("Loss, where no file names one. (default: cross_entropy)"))
  var loss: LossName?

  @Option(
    parsing: .unconditional,
    help: .init(
      "Dimension of classes in the output of a .pt2, the samples being 0. (default: by the labels)",
      valueName: "n"))
  var classAxis: Int?

  @Option(
    help: .init(
      "Head of a language model, where config.json names none or another.", valueName: "task"))
  var task: LanguageTask?

  @OptionGroup var trainable: TrainableOption

  func apply(to options: inout EvaluationOptions) {
    options.dataFile = file
    options.model = base.model
    options.loss = loss?.rawValue
    options.classAxis = classAxis
    options.task = task
    options.trainable = trainable.trainable
  }
}

/// Size and choice of one batch.
struct BatchOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: .init(
      "Samples per batch. (default: the checkpoint's own batch, or 160 of --data)",
      valueName: "n"))
  var batchSize: Int?

  @Option(parsing: .unconditional, help: .init("Key of everything random.", valueName: "number"))
  var seed: UInt64 = EvaluationOptions().seed

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if let batchSize {
      options.batchSize = try OptionValues.positive(batchSize, "--batch-size")
    }
    options.seed = seed
  }
}

/// Conjugate gradients and LSQR.
struct SolverOptions: ParsableArguments {
  @Option(parsing: .unconditional, help: .init("Stop after so many iterations.", valueName: "n"))
  var cgIterations = EvaluationOptions().cgIterations

  @Option(
    parsing: .unconditional,
    help: .init("Stop at this residual relative to the gradient.", valueName: "x"))
  var cgTolerance = EvaluationOptions().cgTolerance

  @Option(
    parsing: .unconditional,
    help: .init(
      "Stop when gamma is within this fraction of the least possible; 0: never.", valueName: "x"))
  var cgGap = EvaluationOptions().cgGap

  @Option(
    parsing: .unconditional,
    help: .init("mu of F + mu I in the reference solve.", valueName: "mu"))
  var cgDamping = EvaluationOptions().cgDamping

  @Option(help: "What conjugate gradients are preconditioned with.")
  var cgPreconditioner = EvaluationOptions().cgPreconditioner

  /// After the reference has been set.
  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if cgPreconditioner != .none && !options.reference.canBePreconditioned {
      throw UsageError(
        "\(cgPreconditioner.rawValue) is for conjugate gradients, and the reference is "
          + "\(options.reference.name)", at: "--cg-preconditioner",
        "Use --reference cg or leave the preconditioner out.")
    }
    options.cgPreconditioner = cgPreconditioner
    options.cgIterations = try OptionValues.positive(cgIterations, "--cg-iterations")
    if cgIterations > UpdateMethod.mostIterations {
      throw UsageError(
        "\(cgIterations) is more than \(UpdateMethod.mostIterations)", at: "--cg-iterations")
    }
    options.cgTolerance = try OptionValues.notNegative(cgTolerance, "--cg-tolerance")
    options.cgGap = try OptionValues.notNegative(cgGap, "--cg-gap")
    options.cgDamping = try OptionValues.notNegative(cgDamping, "--cg-damping")
  }
}

/// How many threads there are.
struct ThreadOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: .init(
      "Threads to use; results have the same bits for every number. (default: all cores)",
      valueName: "n"))
  var threads: Int?

  func apply(to count: inout Int) throws(UsageError) {
    if let threads { count = try OptionValues.threads(threads) }
  }
}

/// How numbers are computed.
struct EngineOptions: ParsableArguments {
  @Option(
    help: .init(
      """
      Arithmetic of the engine; auto: single, and again in double where a gamma would be off by \
      more than 0.1 %.
      """))
  var precision = EvaluationOptions().precision

  @OptionGroup var threads: ThreadOptions

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    options.precision = precision
    try threads.apply(to: &options.threads)
  }
}

/// The same for training, which has one precision.
struct TrainingEngineOptions: ParsableArguments {
  @Option(help: "Arithmetic of the engine.")
  var precision = Arithmetic.float32

  @OptionGroup var threads: ThreadOptions

  func apply(to options: inout TrainingOptions) throws(UsageError) {
    options.precision = precision
    try threads.apply(to: &options.threads)
  }
}

/// What a command may allocate.
struct MemoryOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: .init(
      "Memory that may be used: 8GB, 512MB, 8GiB or bytes. (default: half of the machine's)",
      valueName: "amount"))
  var memory: String?

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if let memory { options.memory = try OptionValues.memory(memory) }
  }
}

/// What appears on standard error.
struct LogOptions: ParsableArguments {
  @Flag(help: "Nothing on standard error but errors.")
  var quiet = false

  @Flag(
    help: """
      A line on standard error for every batch that is scored, with where its time went, or every \
      step of training.
      """)
  var verbose = false

  func validate() throws {
    if quiet && verbose {
      throw ValidationError("--quiet and --verbose exclude each other.")
    }
  }
}

/// For commands that write one file.
struct ForceOption: ParsableArguments {
  @Flag(help: "Replace a file that is there.")
  var force = false
}
