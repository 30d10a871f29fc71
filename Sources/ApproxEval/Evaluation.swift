import Checkpoints
import Curvature
import GraphModule
import TensorModule
import Updates

/// Algorithm 4 over checkpoints and batches.
///
/// ```swift
/// var options = EvaluationOptions()
/// options.precision = .float64
/// let evaluation = Evaluation(options)
/// let results = try evaluation.score(checkpoint: "checkpoint.bin")
/// print(results[0].scores.map { ($0.method, $0.gamma) })
/// ```
///
/// What is random (which samples, Monte-Carlo labels) depends on seed, batch and sample alone, and
/// results have the same bits for every number of threads.
///
/// A file is opened once in the life of an evaluation. One that changes meanwhile is an error when
/// its results are due; for its new content make a new evaluation.
public struct Evaluation: Sendable {
  /// What is computed, with lists in the order of the work.
  public let options: EvaluationOptions
  /// That of the lists as they were given.
  private(set) var rowOrder: RowOrder
  /// What has been opened.
  public let files: InputFiles
  let pool: WorkerPool

  /// - Parameter files: What has been opened already; `nil`: nothing.
  public init(
    _ options: EvaluationOptions = EvaluationOptions(), files: InputFiles? = nil
  ) {
    self.init(options, files: files, pool: WorkerPool(threads: options.threads))
  }

  /// With threads of the caller's, as many as the options say.
  package init(_ options: EvaluationOptions, files: InputFiles? = nil, pool: WorkerPool) {
    precondition(pool.threads == options.threads, "Evaluation: a pool of other threads")
    self.options = options.inOrderOfWork
    rowOrder = RowOrder(RecordedSettings(options))
    self.files = files ?? InputFiles(memory: options.memory)
    self.pool = pool
  }

  /// That of one checkpoint, with the same files and threads.
  public func of(_ input: CheckpointInput) -> Evaluation {
    var own = Evaluation(options.of(input), files: files, pool: pool)
    own.rowOrder = rowOrder
    return own
  }

  /// How many batches a checkpoint will be scored on, without reading numbers.
  ///
  /// - Throws: Everything that headers tell: also of updates, batch sizes, Monte-Carlo labels and the
  ///   memory that all of it takes.
  public func batchCount(checkpoint path: String) throws(EvaluationError) -> Int {
    try planned(CheckpointInput(path: path)).batches.count
  }

  /// What a checkpoint holds, without reading numbers.
  public func describe(checkpoint path: String) throws(EvaluationError) -> CheckpointDescription {
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      var description = checkpoint.description
      for update in try options.updates(of: checkpoint) {
        description.notes += try update.notes(checkpoint)
      }
      return description
    }
  }

  /// Scores batches of one checkpoint.
  ///
  /// - Parameters:
  ///   - batches: Their numbers; `nil`: those that the options ask for.
  ///   - observe: Called after each batch, in order; what it throws ends the evaluation.
  /// - Throws: `EvaluationError`; nothing is printed or written here.
  @discardableResult
  public func score(
    checkpoint path: String, batches: Range<Int>? = nil,
    observing observe: (BatchResult) throws(EvaluationError) -> Void = { _ in }
  ) throws(EvaluationError) -> [BatchResult] {
    var results: [BatchResult] = []
    let first = options.firstBatch
    try score(checkpoint: path) {
      batches ?? first..<first + $0
    } observing: {
      (result) throws(EvaluationError) in
      try observe(result)
      results.append(result)
    }
    return results
  }

  /// The same for any numbers, which are asked for one by one.
  ///
  /// - Parameter batches: The numbers where the options ask for so many.
  func score<Numbers: Sequence<Int>>(
    checkpoint path: String, batches: (Int) -> Numbers,
    observing observe: (BatchResult) throws(EvaluationError) -> Void
  ) throws(EvaluationError) {
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      defer { checkpoint.files.release() }
      let scoring = try BatchScoring(self, checkpoint, source(checkpoint))
      // Before any work, if it was another's turn until now.
      try checkpoint.files.requireUnchanged()
      for batch in batches(scoring.source.count) {
        let result = try scoring.score(batch)
        // What has been read until here is what was opened, or the batch does not count.
        try checkpoint.files.requireUnchanged()
        try observe(result)
      }
    }
  }

  /// How the memory is shared out that a task needs on every batch in one precision.
  func budget<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _ source: BatchSource, _ task: MemoryTask, _: S.Type
  ) throws(EvaluationError) -> MemoryBudget {
    try MemoryPlanner(
      checkpoint, samples: source.size, options: options.inPrecision(S.self), task
    ).budget()
  }

  /// The arithmetic of a task on the first batch alone.
  func arithmetic(_ checkpoint: LoadedCheckpoint, _ task: MemoryTask) throws -> Arithmetic {
    options.arithmetic(checkpoint, samples: try source(checkpoint).size, task)
  }

  /// One batch in one precision, for commands that look closer.
  func problem<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, batch: Int, _ budget: MemoryBudget, _: S.Type
  ) throws -> BatchProblem<S> {
    try problem(
      checkpoint, batch: batch, budget,
      parameters: checkpoint.parameters(
        S.self, areRead: true, releasesPages: budget.releasesPages, pool: pool))
  }

  /// The same at other parameters than the checkpoint's.
  func problem<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, batch: Int, _ budget: MemoryBudget,
    parameters: ParameterStore<S>
  ) throws -> BatchProblem<S> {
    let source = try source(checkpoint)
    return try BatchProblem(
      checkpoint, parameters: parameters,
      batch: source.reader.read(source.samples(batch), S.self), pool: pool,
      budget: budget.forward)
  }

  func source(_ checkpoint: LoadedCheckpoint) throws -> BatchSource {
    guard let reader = try checkpoint.reader() else {
      throw EvaluationError.missingBatch(checkpoint: checkpoint.path)
    }
    return try BatchSource(reader: reader, options: options)
  }
}

/// Which samples each batch has.
struct BatchSource {
  let reader: BatchReader
  /// Number of batches.
  let count: Int
  /// Samples of each.
  let size: Int
  private let drawsBatches: Bool
  private let seed: UInt64

  init(reader: BatchReader, options: EvaluationOptions) throws(EvaluationError) {
    let available = reader.data.count
    let fromData = options.dataFile != nil
    drawsBatches = fromData || options.batchSize != nil || options.batches != nil
    if let requested = options.batchSize, requested > available {
      throw .batchTooLarge(
        requested: requested, available: available, file: reader.data.path)
    }
    if options.methods.contains(where: \.needs.isSampled), reader.storedDraws > 0,
      let wanted = options.monteCarloSamples.max(), wanted > reader.storedDraws
    {
      throw .notEnoughDraws(
        requested: wanted, stored: reader.storedDraws, file: reader.data.path)
    }
    self.reader = reader
    size = options.batchSize(of: available)
    // Batches of all samples are one batch.
    count = options.batches ?? (fromData && size < available ? 10 : 1)
    seed = options.seed
  }

  /// Without replacement inside a batch; one of all samples has them in the order of the file, so that
  /// such batches are the same to the bit.
  func samples(_ batch: Int) -> [Int] {
    drawsBatches && size < reader.data.count
      ? sampleWithoutReplacement(count: size, from: reader.data.count, seed: seed, batch: batch)
      : Array(0..<size)
  }
}
