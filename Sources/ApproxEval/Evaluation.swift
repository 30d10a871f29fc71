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
  public let options: EvaluationOptions
  /// What has been opened.
  public let files: InputFiles
  private let pool: WorkerPool

  public init(
    _ options: EvaluationOptions = EvaluationOptions(), files: InputFiles? = nil
  ) {
    self.init(options, files: files, pool: WorkerPool(threads: options.threads))
  }

  /// With threads of the caller's, as many as the options say.
  package init(_ options: EvaluationOptions, files: InputFiles? = nil, pool: WorkerPool) {
    precondition(pool.threads == options.threads, "Evaluation: a pool of other threads")
    self.options = options
    self.files = files ?? InputFiles(memory: options.memory)
    self.pool = pool
  }

  /// How many batches a checkpoint will be scored on, without reading numbers.
  ///
  /// - Throws: Everything that headers tell: also of updates, batch sizes, Monte-Carlo labels and the
  ///   memory that all of it takes.
  public func batchCount(checkpoint path: String) throws(EvaluationError) -> Int {
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      let updates = try options.updates(of: checkpoint)
      for update in updates { try update.check(checkpoint) }
      let source = try source(checkpoint)
      _ = try budget(checkpoint, source, .score(updates: updates))
      return source.count
    }
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
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      defer { checkpoint.files.release() }
      return switch options.precision {
      case .float32: try score(checkpoint, batches, Float.self, observe)
      case .float64: try score(checkpoint, batches, Double.self, observe)
      }
    }
  }

  private func score<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _ batches: Range<Int>?, _: S.Type,
    _ observe: (BatchResult) throws(EvaluationError) -> Void
  ) throws -> [BatchResult] {
    let source = try source(checkpoint)
    let wanted = try options.updates(of: checkpoint)
    let budget = try budget(checkpoint, source, .score(updates: wanted))
    // Before any work, if it was another's turn until now.
    try checkpoint.files.requireUnchanged()
    let parameters = try checkpoint.parameters(S.self, areRead: true, pool: pool)
    var updates: [String: PreparedUpdate<S>] = [:]
    for update in wanted {
      updates[update.name] = try update.prepared(checkpoint, S.self, pool: pool)
    }
    var options = options
    if options.askedUpdates.isEmpty { options.methods += wanted.map { .update($0.name) } }
    var results: [BatchResult] = []
    for batch in batches ?? options.firstBatch..<options.firstBatch + source.count {
      let samples = source.samples(batch)
      let read = try source.reader.read(samples, S.self)
      var phases = PhaseClock()
      let problem = try phases.measure(.forward) {
        try BatchProblem(
          checkpoint, parameters: parameters, batch: read, pool: pool, budget: budget.forward)
      }
      let evaluation = BatchEvaluation(
        options: options, budget: budget, checkpoint: checkpoint, problem: problem, batch: batch,
        doubleProblem: {
          if let same = problem as? BatchProblem<Double> { return same }
          return try BatchProblem(
            checkpoint,
            parameters: checkpoint.parameters(Double.self, areRead: true, pool: pool),
            batch: source.reader.read(samples, Double.self), pool: pool, budget: budget.forward)
        }, updates: updates, phases: phases)
      let result = try inBatch(batch, of: checkpoint.path, options) { try evaluation.run() }
      // What has been read until here is what was opened, or the batch does not count.
      try checkpoint.files.requireUnchanged()
      try observe(result)
      results.append(result)
    }
    return results
  }

  /// How the memory is shared out that a task needs on every batch.
  func budget(
    _ checkpoint: LoadedCheckpoint, _ source: BatchSource, _ task: MemoryTask
  ) throws(EvaluationError) -> MemoryBudget {
    try MemoryPlanner(checkpoint, samples: source.size, options: options, task).budget()
  }

  /// One batch in one precision, for commands that look closer.
  func problem<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, batch: Int, _ budget: MemoryBudget, _: S.Type
  ) throws -> BatchProblem<S> {
    try problem(
      checkpoint, batch: batch, budget,
      parameters: checkpoint.parameters(S.self, areRead: true, pool: pool))
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
    if options.methods.contains(where: \.isSampled), reader.storedDraws > 0,
      let wanted = options.monteCarloSamples.max(), wanted > reader.storedDraws
    {
      throw .notEnoughDraws(
        requested: wanted, stored: reader.storedDraws, file: reader.data.path)
    }
    self.reader = reader
    size = options.batchSize ?? (fromData ? min(160, available) : available)
    count = options.batches ?? (fromData ? 10 : 1)
    seed = options.seed
  }

  /// Without replacement inside a batch; a checkpoint's own batch as it is.
  func samples(_ batch: Int) -> [Int] {
    drawsBatches
      ? sampleWithoutReplacement(count: size, from: reader.data.count, seed: seed, batch: batch)
      : Array(0..<size)
  }
}
