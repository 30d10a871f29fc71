import Checkpoints
import Curvature
import GraphModule
import TensorModule
import Training

/// A training run on a data file: exact EF, iEF and SF (Algorithms 1-3) and the baselines.
///
/// ```swift
/// let options = TrainingOptions(OptimizerSettings(.adam), dataFile: "train.npz")
/// let run = try TrainingRun(checkpoint: "checkpoint.bin", options: options)
/// let result = try run.run(into: "run")
/// print(result.epochs.map(\.training.loss))
/// ```
///
/// The model runs as it does in an evaluation (stored statistics, no dropout), which is how the
/// authors train. Equal options give the same bits in every run, for every number of threads.
public struct TrainingRun {
  /// What is done.
  public let options: TrainingOptions
  /// What is trained.
  public let description: CheckpointDescription
  /// `nil` where files do not tell: a network by torch.export is what it computes.
  public let modelKind: ModelKind?
  /// Samples of an epoch.
  public let trainingSamples: Int
  /// 0 without validation.
  public let validationSamples: Int
  /// Samples per step.
  public let batchSize: Int
  /// In one epoch.
  public let stepsPerEpoch: Int
  /// Of the start, by which the checkpoint counts on: its own; 0 where it has none.
  public let firstEpoch: Int
  /// As the epoch.
  public let firstStep: Int

  /// What has been opened.
  public let files: InputFiles

  private let checkpoint: LoadedCheckpoint
  /// Bytes of forward values in a step.
  private let budget: MemoryBudget
  private let samples: TrainingSamples
  private let validation: Watched?

  /// Samples that are only watched, with the graph for their lengths.
  struct Watched {
    let checkpoint: LoadedCheckpoint
    let reader: BatchReader
    let samples: [Int]
  }

  /// What `run` tells while it goes.
  public enum Event: Sendable {
    /// After every step.
    case step(TrainingStep)
    /// After every epoch, and at the start.
    case epoch(TrainingEpoch)
  }

  /// A run that starts from the parameters of a checkpoint, or of a Hugging Face folder.
  ///
  /// - Throws: Everything that headers, labels and indices tell.
  public init(
    checkpoint path: String, options: TrainingOptions, files: InputFiles? = nil
  ) throws(EvaluationError) {
    let files = files ?? InputFiles(memory: options.memory)
    self = try evaluating {
      try TrainingRun(
        CheckpointSource(path: path, adapter: options.adapter, files: files), options, files)
    }
  }

  /// A run that starts from random weights.
  public init(network: RandomNetwork, options: TrainingOptions) throws(EvaluationError) {
    self = try evaluating { try TrainingRun(network.source, options, network.files) }
  }

  private init(
    _ source: CheckpointSource, _ options: TrainingOptions, _ files: InputFiles
  ) throws {
    self.options = options
    self.files = files
    let evaluation = options.evaluation(dataFile: options.dataFile)
    checkpoint = try LoadedCheckpoint(source: source, options: evaluation, files: files)
    description = checkpoint.description
    modelKind = ModelKind(checkpoint.model)
    firstEpoch = try Self.count("epoch", source.epoch, source)
    firstStep = try Self.count("step", source.step, source)
    var share: Double?
    if case .share(let held) = options.validation { share = held }
    samples = try TrainingSamples(checkpoint, share: share, seed: options.seed)
    switch options.validation {
    case .none: validation = nil
    case .share:
      validation = Watched(
        checkpoint: checkpoint, reader: samples.reader, samples: samples.heldOut)
    case .file(let path):
      let watched = try LoadedCheckpoint(
        source: source, options: options.evaluation(dataFile: path), files: files)
      let all = try TrainingSamples(watched, share: nil, seed: options.seed)
      validation = Watched(checkpoint: watched, reader: all.reader, samples: all.training)
    }
    trainingSamples = samples.training.count
    validationSamples = validation?.samples.count ?? 0
    if let requested = options.batchSize, requested > trainingSamples {
      throw EvaluationError.batchTooLarge(
        requested: requested, available: trainingSamples, file: options.dataFile)
    }
    batchSize = options.batchSize ?? min(options.recipe?.batchSize ?? 32, trainingSamples)
    stepsPerEpoch = samples.steps(batchSize: batchSize)
    var planned = evaluation
    planned.batchSize = options.batchSize
    budget = try MemoryPlanner(
      checkpoint, samples: batchSize, options: planned, .train(options.optimizer)
    ).budget()
  }

  /// Far more than any run has, and little enough to count on from.
  private static let largestCount = 1_000_000_000_000

  private static func count(
    _ name: String, _ found: Int?, _ source: CheckpointSource
  ) throws(CheckpointError) -> Int {
    let value = found ?? 0
    if (0...largestCount).contains(value) { return value }
    throw CheckpointError(
      .unexpectedValue(
        "the \(name)", found: "\(value)", expected: "one that a run can count on from"),
      at: .init(file: source.name))
  }

  private var lastEpoch: Int { firstEpoch + options.epochs }

  /// Steps of this run.
  public var steps: Int { stepsPerEpoch * options.epochs }

  /// Files that the run would replace, and does not: checkpoints in the folder.
  public static func checkpoints(in folder: String) -> [String] {
    let names = (try? POSIXFileSystem().names(in: folder)) ?? []
    return names.filter { $0.hasPrefix("epoch-") && $0.hasSuffix(".bin") }.sorted()
  }

  /// Trains, writing a checkpoint, steps.csv and epochs.csv after each epoch.
  ///
  /// - Parameters:
  ///   - isCancelled: Asked before each step. A cancelled run keeps what is written, and the
  ///     tables gain the steps of the unfinished epoch.
  /// - Throws: `diverged` where the loss, a direction or a parameter is no finite number; what was
  ///   written before is kept, and steps.csv has the steps up to there.
  @discardableResult
  public func run(
    into folder: String, observing observe: (Event) -> Void = { _ in },
    isCancelled: () -> Bool = { false }
  ) throws(EvaluationError) -> TrainingResult {
    try run(
      into: folder, pool: WorkerPool(threads: options.threads), observing: observe,
      isCancelled: isCancelled)
  }

  /// The same with threads of the caller's.
  @discardableResult
  package func run(
    into folder: String, pool: WorkerPool, observing observe: (Event) -> Void = { _ in },
    isCancelled: () -> Bool = { false }
  ) throws(EvaluationError) -> TrainingResult {
    try evaluating {
      switch options.precision {
      case .float32: try run(folder, pool, observe, isCancelled, Float.self)
      case .float64: try run(folder, pool, observe, isCancelled, Double.self)
      }
    }
  }

  private func run<S: EngineScalar>(
    _ folder: String, _ pool: WorkerPool, _ observe: (Event) -> Void, _ isCancelled: () -> Bool,
    _: S.Type
  ) throws -> TrainingResult {
    let carried = min(options.carriedSamples, trainingSamples)
    let writer = TrainedCheckpoint<S>(
      checkpoint: checkpoint, reader: samples.reader,
      // The first batch that an evaluation would draw.
      carried: sampleWithoutReplacement(
        count: carried, from: trainingSamples, seed: options.seed, batch: 0
      ).map { samples.training[$0] },
      options: options.evaluation(dataFile: options.dataFile))
    let trainer = Trainer<S>(
      options, checkpoint, samples, validation, budget: budget.forward,
      parameters: try checkpoint.parameters(S.self, releasesPages: budget.releasesPages),
      pool: pool)
    var result = TrainingResult()
    func finishEpoch(_ epoch: Int, seconds: Double) throws {
      // First, so that a state that overflows is not saved, and data that cannot be read are found
      // before anything is written.
      let (training, watched) = try trainer.measure()
      try files.requireUnchanged()
      var file: String?
      let step = firstStep + result.steps.count
      if epoch % options.saveEvery == 0 || epoch == firstEpoch || epoch == lastEpoch {
        try OutputFiles.makeFolder(folder)
        file = name(epoch)
        try writer.write(
          trainer.parameters, epoch: epoch, step: step,
          to: "\(folder)/\(file!)")
      }
      result.epochs.append(
        TrainingEpoch(
          epoch: epoch, step: step, training: training, validation: watched,
          checkpoint: file, seconds: seconds))
      try write(result, folder)
      observe(.epoch(result.epochs.last!))
    }
    /// A step whose direction cannot be found for its numbers.
    func step(_ batch: [Int], _ epoch: Int) throws -> TrainingStep {
      do {
        return try trainer.step(
          batch, place: result.steps.count, of: steps, epoch: epoch, after: firstStep)
      } catch let error as LinearAlgebraError
        where BatchFailure.kind(of: .linearAlgebra(error)) == .numbers
      {
        throw NonFinite(reason: error.description, isStep: true)
      }
    }
    do {
      try finishEpoch(firstEpoch, seconds: 0)
      for epoch in firstEpoch + 1...lastEpoch {
        let start = ContinuousClock.now
        for batch in samples.batches(
          epoch: epoch, size: batchSize, seed: options.seed)
        {
          if isCancelled() {
            result.isInterrupted = true
            try write(result, folder)
            return result
          }
          result.steps.append(try step(batch, epoch))
          observe(.step(result.steps.last!))
        }
        try finishEpoch(epoch, seconds: (ContinuousClock.now - start).seconds)
      }
    } catch let failure as NonFinite {
      if result.epochs.isEmpty {
        throw EvaluationError.startOverflows(
          reason: failure.reason, checkpoint: description.path)
      }
      try write(result, folder)
      throw EvaluationError.diverged(
        step: firstStep + result.steps.count + (failure.isStep ? 1 : 0), reason: failure.reason,
        lastEpoch: result.epochs.last!.epoch, folder: folder)
    }
    return result
  }

  private func name(_ epoch: Int) -> String {
    let digits = max(2, String(lastEpoch).count)
    let number = String(epoch)
    return "epoch-" + String(repeating: "0", count: digits - number.count) + number + ".bin"
  }

  private func write(_ result: TrainingResult, _ folder: String) throws(CheckpointError) {
    var files = OutputFiles()
    for table in [ReportTable.steps(result.steps), .epochs(result.epochs)] {
      files.add("\(folder)/\(table.name).csv", table.csv)
    }
    try files.write()
  }
}

/// What a run has done.
public struct TrainingResult: Sendable {
  /// In their order.
  public var steps: [TrainingStep] = []
  /// In their order, the start first.
  public var epochs: [TrainingEpoch] = []
  /// Whether it was cancelled.
  public var isInterrupted = false
}

/// Where a number that is not finite came up in training.
struct NonFinite: Error {
  let reason: String
  /// In a step, and not after one.
  let isStep: Bool
}
