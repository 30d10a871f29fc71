import Checkpoints
import Curvature
import GraphModule
import TensorModule
import Updates

/// Weights removed from a model at once, without training in between, by the statistic of WoodFisher (Singh
/// and Alistarh 2020) with the empirical Fisher matrix or iEF's (Wu et al. 2024, D.2.3), or by their size.
///
/// ```swift
/// let pruning = try Pruning(
///   checkpoint: "checkpoint.bin", options: PruningOptions(sparsities: [0.5, 0.9]))
/// print(try pruning.run().rows.map { ($0.method, $0.sparsity, $0.measure.loss) })
/// ```
///
/// Equal options give the same bits for every number of threads.
public struct Pruning {
  /// As given, with the number of samples.
  public let options: PruningOptions
  /// What the checkpoint holds.
  public let description: CheckpointDescription
  /// Samples that the Fisher matrices are made of.
  public var samples: Int { source.size }
  /// Samples that loss and accuracy are measured on: all that have something to score.
  public var measuredSamples: Int { measured.count }
  /// How many weights may be removed.
  public var weightCount: Int { weights.count }
  /// What has been opened.
  public let files: InputFiles

  private let checkpoint: LoadedCheckpoint
  private let weights: PrunableWeights
  private let source: BatchSource
  private let measured: [Int]
  private let budget: MemoryBudget

  /// Opens a checkpoint and its data and checks both.
  ///
  /// - Throws: Everything that headers, labels and indices tell, and what memory there is.
  public init(
    checkpoint path: String, options: PruningOptions, files: InputFiles? = nil
  ) throws(EvaluationError) {
    self = try evaluating { try Pruning(path, options, files) }
  }

  private init(_ path: String, _ given: PruningOptions, _ files: InputFiles?) throws {
    precondition(
      given.blockSize > 0 && given.sparsities.allSatisfy((0..<1).contains),
      "Pruning: blocks of \(given.blockSize), sparsities \(given.sparsities)")
    let files = files ?? InputFiles(memory: given.evaluation.memory)
    let checkpoint = try LoadedCheckpoint(path: path, options: given.loading, files: files)
    let weights = try PrunableWeights(
      checkpoint, patterns: given.weights, blockSize: given.blockSize)
    guard let reader = try checkpoint.reader() else {
      throw EvaluationError.missingBatch(checkpoint: path)
    }
    var options = given
    if given.evaluation.batchSize == nil {
      options.evaluation.batchSize =
        MemoryPlanner(
          checkpoint, samples: reader.data.count, options: given.loading, .prune(given, weights)
        ).fittingSamples
    }
    options.evaluation.batches = 1
    source = try BatchSource(reader: reader, options: options.loading)
    try reader.checkRanges(Array(0..<reader.data.count))
    measured = try reader.scoredSamples()
    budget = try MemoryPlanner(
      checkpoint, samples: source.size, options: options.loading, .prune(options, weights)
    ).budget()
    description = checkpoint.description
    (self.options, self.checkpoint, self.weights, self.files) = (
      options, checkpoint, weights, files
    )
  }

  /// Names of the files that `run(into:)` writes.
  public var outputs: [String] {
    let removals = options.methods.flatMap { method in
      dampings(of: method).flatMap { damping in
        options.sparsities.map { fileName(method, damping, $0) }
      }
    }
    return [PruningResult.tableName, PruningResult.recordName] + removals
  }

  /// Removes weights by every method, damping and sparsity, each from the model as it is.
  ///
  /// - Parameters:
  ///   - folder: Where the models that are left, the table and the record go; `nil`: nowhere.
  ///   - observe: Called with every row, first that of the whole model.
  /// - Throws: Also where a source has changed since it was opened.
  @discardableResult
  public func run(
    into folder: String? = nil, observing observe: (PruningRow) -> Void = { _ in }
  ) throws(EvaluationError) -> PruningResult {
    try run(into: folder, pool: WorkerPool(threads: options.evaluation.threads), observing: observe)
  }

  /// The same with threads of the caller's.
  @discardableResult
  package func run(
    into folder: String? = nil, pool: WorkerPool, observing observe: (PruningRow) -> Void = { _ in }
  ) throws(EvaluationError) -> PruningResult {
    try evaluating {
      switch options.precision {
      case .float32: try run(folder, pool, observe, Float.self)
      case .float64: try run(folder, pool, observe, Double.self)
      }
    }
  }

  private func run<S: EngineScalar>(
    _ folder: String?, _ pool: WorkerPool, _ observe: (PruningRow) -> Void, _: S.Type
  ) throws -> PruningResult {
    MemoryMeter.restart()
    let parameters = try checkpoint.parameters(
      S.self, areRead: true, releasesPages: budget.releasesPages, pool: pool)
    let model = try PrunedModel(checkpoint, weights, parameters, source.reader, options)
    let counts = options.sparsities.map { PruningSelection.count($0, of: weights.count) }
    var rows: [PruningRow] = []
    func append(
      _ method: String, _ damping: (text: String, lambda: Double)?, sparsity: Double, removed: Int,
      _ values: Vector<Double>, to name: String?
    ) throws {
      if name != nil { model.set(values) }
      let measure = try model.measure(measured, pool, isWhole: name == nil)
      try files.requireUnchanged()
      if let folder, let name {
        try OutputFiles.makeFolder(folder)
        try model.write(to: "\(folder)/\(name)")
      }
      rows.append(
        PruningRow(
          method: method, damping: damping?.text, lambda: damping?.lambda, sparsity: sparsity,
          removed: removed, measure: measure, file: folder == nil ? nil : name))
      observe(rows.last!)
    }
    let values = weights.values(parameters)
    try append(PruningRow.whole, nil, sparsity: 0, removed: 0, values, to: nil)
    let statistics = try statistics(parameters, values, pool)
    for method in options.methods {
      for damping in dampings(of: method) {
        let (removal, lambda) = try removals(method, damping, counts, values, statistics)
        for (place, sparsity) in options.sparsities.enumerated() {
          try append(
            method.name, damping.map { ($0.text, lambda) }, sparsity: sparsity,
            removed: counts[place], removal[place], to: fileName(method, damping, sparsity))
        }
      }
    }
    return PruningResult(
      rows: rows, weights: weights.count, samples: samples, plannedMemory: budget.plan.total,
      allocatedMemory: MemoryMeter.peak)
  }

  /// Nothing where no method asks for them.
  private func statistics<S: EngineScalar>(
    _ parameters: ParameterStore<S>, _ values: Vector<Double>, _ pool: WorkerPool
  ) throws -> PruningStatistics<S>? {
    guard options.methods.contains(where: { $0.rows != nil }) else { return nil }
    let problem = try BatchProblem(
      checkpoint, parameters: parameters, batch: source.reader.read(source.samples(0), S.self),
      pool: pool, budget: budget.forward)
    return PruningStatistics(problem, weights, values: values)
  }

  /// The weights for every number of them that goes.
  private func removals<S: EngineScalar>(
    _ method: PruningMethod, _ damping: Damping?, _ counts: [Int], _ values: Vector<Double>,
    _ statistics: PruningStatistics<S>?
  ) throws -> (weights: [Vector<Double>], lambda: Double) {
    guard let rows = method.rows, let damping, let statistics else {
      let squares = values.copy()
      Kernels.multiply(values.pointer, values.pointer, squares.pointer, count: values.count)
      let selection = PruningSelection(squares, counts: counts)
      return (selection.removed.map { masked(values, $0) }, 0)
    }
    guard let matrix = statistics.matrix(rows, damping) else {
      throw EvaluationError.noFisherMatrix(
        method: method.name, damping: damping.text, checkpoint: checkpoint.path)
    }
    let selection = PruningSelection(try statistics.statistic(matrix), counts: counts)
    return (try statistics.pruned(matrix, selection.removed, options.update), matrix.lambda)
  }

  /// `nil` for one that has none.
  private func dampings(of method: PruningMethod) -> [Damping?] {
    method.rows == nil ? [nil] : options.dampings
  }

  /// `ief-0.9.bin`, and with several dampings `ief-rel0.1-0.9.bin`.
  private func fileName(
    _ method: PruningMethod, _ damping: Damping?, _ sparsity: Double
  ) -> String {
    let choice =
      options.dampings.count > 1
      ? damping.map { "-" + $0.text.filter { $0 != ":" } } : nil
    return "\(method.name)\(choice ?? "")-\(sparsity).bin"
  }
}
