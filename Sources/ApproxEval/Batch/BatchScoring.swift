import Checkpoints
import Curvature
import GraphModule
import TensorModule
import Updates

/// Scores the batches of one checkpoint in the precision that the options ask for.
///
/// `auto` works in single precision, and does a batch again in double where a gamma would be marked, or
/// is missing for want of range, and the memory allows it. A batch whose work in double, the reference
/// left out, is next to nothing is done in double at once. In both cases conjugate gradients of more than
/// a moment are in single precision: what they find is a direction like any other, whose gamma double
/// precision then compares with the bound. All this depends on the batch and the options; on the number
/// of threads only beyond four, where the memory is just enough.
final class BatchScoring {
  /// Operations that double precision does in a tenth of a second or less on one core: a small part of
  /// a second attempt would cost as much.
  static let smallBatch = 1e9
  /// Operations of a whole batch, its reference included, below which a forward pass in another
  /// precision would cost more than it spares.
  static let smallReference = 3e8

  let source: BatchSource
  private let evaluation: Evaluation
  private let checkpoint: LoadedCheckpoint
  private let isSmall: Bool
  /// Whether conjugate gradients run in single precision before the batch is done in double.
  private let startsInSingle: Bool
  /// `nil` where no batch is done in this precision: it is not asked for, or does not fit.
  private let singleBudget: MemoryBudget?
  private let doubleBudget: MemoryBudget?
  /// Both stay from one batch to the next where there is room for what they hold then, or else one at a
  /// time.
  private(set) var single: BatchScorer<Float>?
  private(set) var double: BatchScorer<Double>?
  private let keepsBoth: Bool

  /// - Parameters:
  ///   - smallBatch: Batches of fewer operations are done in double at once.
  ///   - smallReference: Below so many, reference included, it is solved for in double at once.
  /// - Throws: `EvaluationError.memory` where the batches do not fit in the precision that is asked for,
  ///   and what is wrong with updates.
  init(
    _ evaluation: Evaluation, _ checkpoint: LoadedCheckpoint, _ source: BatchSource,
    smallBatch: Double = BatchScoring.smallBatch,
    smallReference: Double = BatchScoring.smallReference
  ) throws {
    self.evaluation = evaluation
    self.checkpoint = checkpoint
    self.source = source
    let options = evaluation.options
    let task = MemoryTask.score(updates: try options.updates(of: checkpoint))
    isSmall = options.isSmall(checkpoint, samples: source.size, limit: smallBatch)
    let startsInSingle =
      isSmall && options.precision == .auto && options.certifiesReference
      && options.operations(checkpoint, samples: source.size) >= smallReference
    switch options.precision {
    case .float64:
      singleBudget = nil
      doubleBudget = try evaluation.budget(checkpoint, source, task, Double.self)
      self.startsInSingle = false
    case .float32:
      self.startsInSingle = false
      singleBudget = try evaluation.budget(checkpoint, source, task, Float.self)
      doubleBudget =
        isSmall ? options.budgetInDouble(checkpoint, samples: source.size, task) : nil
    case .auto:
      doubleBudget = options.budgetInDouble(checkpoint, samples: source.size, task)
      let isDouble = isSmall && doubleBudget != nil
      self.startsInSingle = isDouble && startsInSingle
      singleBudget =
        isDouble && !startsInSingle
        ? nil : try evaluation.budget(checkpoint, source, task, Float.self)
    }
    keepsBoth =
      if let singleBudget, let doubleBudget {
        singleBudget.leavesRoom(for: doubleBudget.plan.lasting)
          && doubleBudget.leavesRoom(for: singleBudget.plan.lasting)
      } else { false }
  }

  func score(_ batch: Int) throws -> BatchResult {
    guard let singleBudget else { return try inDouble(doubleBudget!).score(batch) }
    if startsInSingle {
      let clock = ContinuousClock()
      let start = clock.now
      let first = try solvedInSingle(batch, singleBudget)
      let seconds = (clock.now - start).seconds
      var result = try inDouble(doubleBudget!).score(batch, first: first)
      result.seconds += seconds
      return result
    }
    guard evaluation.options.precision == .auto else {
      let result = try inSingle(singleBudget).score(batch)
      guard let doubleBudget else { return result }
      return measured(result, against: try inDouble(doubleBudget).score(batch, isTrial: true))
    }
    return try inSingleOrDouble(batch, singleBudget)
  }

  private func inSingleOrDouble(_ batch: Int, _ budget: MemoryBudget) throws -> BatchResult {
    guard let doubleBudget else { return try inSingle(budget).score(batch) }
    var seconds = 0.0
    var reference: ReferenceSolution<Float>?
    do {
      let first = try inSingle(budget).outcome(batch)
      if !first.isMarkedByRounding && !first.result.overflowsInSingle { return first.result }
      seconds = first.result.seconds
      if evaluation.options.certifiesReference { reference = first.reference }
    } catch  where isOverflow(error) {}
    var result = try inDouble(doubleBudget).score(batch, first: reference)
    result.isRepeated = true
    result.seconds += seconds
    return result
  }

  /// What conjugate gradients find in single precision, where it holds the numbers.
  private func solvedInSingle(
    _ batch: Int, _ budget: MemoryBudget
  ) throws -> ReferenceSolution<Float>? {
    do { return try inSingle(budget).iterated(batch) } catch  where isOverflow(error) {
      return nil
    }
  }

  /// Whether numbers may have been beyond the range of single precision alone.
  private func isOverflow(_ error: any Error) -> Bool {
    switch error {
    case EvaluationError.nonFiniteLogits: true
    case EvaluationError.batch(let failure): BatchFailure.kind(of: failure.cause) == .numbers
    case let error as CheckpointError:
      if case .unexpectedValue = error.problem { true } else { false }
    default: false
    }
  }

  /// The result in single precision with the errors that double precision finds in place of estimates.
  private func measured(_ result: BatchResult, against exact: BatchResult) -> BatchResult {
    var result = result
    for i in result.scores.indices {
      let score = result.scores[i]
      guard
        let other = exact.scores.first(where: { $0.identity == score.identity }),
        let own = other.gammaError, score.gammaError != nil
      else { continue }
      let found = abs(score.gamma / other.gamma - 1)
      // Neither is the result in double exact.
      result.scores[i].gammaError = found.isNaN ? own : 1.01 * found + own
    }
    return result
  }

  private func inSingle(_ budget: MemoryBudget) throws -> BatchScorer<Float> {
    if let single { return single }
    if !keepsBoth { double = nil }
    let made = try BatchScorer<Float>(evaluation, checkpoint, source, budget)
    single = made
    return made
  }

  private func inDouble(_ budget: MemoryBudget) throws -> BatchScorer<Double> {
    if let double { return double }
    if !keepsBoth { single = nil }
    let made = try BatchScorer<Double>(evaluation, checkpoint, source, budget)
    double = made
    return made
  }
}

/// What the batches of one checkpoint share in one precision.
struct BatchScorer<S: EngineScalar> {
  private let options: EvaluationOptions
  private let rowOrder: RowOrder
  private let budget: MemoryBudget
  private let pool: WorkerPool
  private let checkpoint: LoadedCheckpoint
  private let source: BatchSource
  private let parameters: ParameterStore<S>
  private let updates: [String: PreparedUpdate<S>]
  let workspace = ReferenceWorkspace<S>()

  init(
    _ evaluation: Evaluation, _ checkpoint: LoadedCheckpoint, _ source: BatchSource,
    _ budget: MemoryBudget
  ) throws {
    self.checkpoint = checkpoint
    self.source = source
    self.budget = budget
    pool = evaluation.pool
    rowOrder = evaluation.rowOrder
    parameters = try checkpoint.parameters(
      S.self, areRead: true, releasesPages: budget.releasesPages, pool: pool)
    var options = evaluation.options
    let wanted = try options.updates(of: checkpoint)
    var updates: [String: PreparedUpdate<S>] = [:]
    for update in wanted {
      updates[update.name] = try update.prepared(checkpoint, S.self, pool: pool)
    }
    self.updates = updates
    if options.askedUpdates.isEmpty { options.methods += wanted.map { .update($0.name) } }
    self.options = options
  }

  /// - Parameters:
  ///   - isTrial: Whether gammas are all that is wanted: without a reference to compare them with.
  ///   - first: What conjugate gradients have found in single precision.
  func score(
    _ batch: Int, isTrial: Bool = false, first: ReferenceSolution<Float>? = nil
  ) throws -> BatchResult {
    var options = options
    if isTrial {
      options.reference = .none
      options.perLayer = false
    }
    return rowOrder.ordered(
      try evaluated(batch, options) { try $0.run(first: first).result })
  }

  /// With the direction of the reference as its solver has left it.
  func outcome(_ batch: Int) throws -> BatchEvaluation<S>.Outcome {
    var outcome = try evaluated(batch, options) { try $0.run() }
    outcome.result = rowOrder.ordered(outcome.result)
    return outcome
  }

  /// What conjugate gradients find, whether or not they converge; nothing else is done.
  func iterated(_ batch: Int) throws -> ReferenceSolution<S>? {
    var options = options
    options.methods = []
    return try evaluated(batch, options) { try $0.iterated() }
  }

  private func evaluated<R>(
    _ batch: Int, _ options: EvaluationOptions, _ body: (BatchEvaluation<S>) throws -> R
  ) throws -> R {
    let samples = source.samples(batch)
    let read = try source.reader.read(samples, S.self)
    var phases = PhaseClock(plan: budget.plan)
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
          parameters: checkpoint.parameters(
            Double.self, areRead: true, releasesPages: budget.releasesPages, pool: pool),
          batch: source.reader.read(samples, Double.self), pool: pool, budget: budget.forward)
      }, bytes: read.bytes, updates: updates, workspace: workspace, phases: phases)
    return try inBatch(batch, of: checkpoint.path, options) { try body(evaluation) }
  }
}

extension EvaluationOptions {
  /// With the arithmetic of S.
  func inPrecision<S: EngineScalar>(_: S.Type) -> EvaluationOptions {
    var options = self
    options.precision = S.self == Double.self ? .float64 : .float32
    return options
  }

  /// Whether the work on a batch in double is next to nothing, that on the reference left out.
  func isSmall(
    _ checkpoint: LoadedCheckpoint, samples: Int, limit: Double = BatchScoring.smallBatch
  ) -> Bool {
    var options = self
    options.reference = .none
    return options.operations(checkpoint, samples: samples) < limit
  }

  /// Whether a reference is known by the certificate alone, so that it does not matter how it was found,
  /// and no other solve rests on its solver.
  var certifiesReference: Bool {
    reference == .auto && cgDamping == 0 && cgGap > 0 && cgPreconditioner == .none
      && !methods.contains { $0.needs.solve == .solution }
  }

  /// Operations of a batch in double.
  func operations(_ checkpoint: LoadedCheckpoint, samples: Int) -> Double {
    // A fixed number of threads: nothing may depend on the machine.
    var options = inPrecision(Double.self)
    options.threads = 4
    let estimate = ResourceEstimate(
      checkpoint, samples: samples, options: options, updates: [])
    // Every direction is a sum of gradients and a jvp, whatever else its method takes.
    let directions = Double(methods.count * max(dampings.count, 1))
    let forward = Double(estimate.forwardOperations) * Double(samples)
    return max(estimate.batchOperations, 5 * directions * forward)
  }

  /// The memory of a batch in double where that is not what was asked for; `nil` where it does not fit.
  func budgetInDouble(
    _ checkpoint: LoadedCheckpoint, samples: Int, _ task: MemoryTask
  ) -> MemoryBudget? {
    var options = inPrecision(Double.self)
    // So that up to four make no difference.
    options.threads = max(options.threads, 4)
    return try? MemoryPlanner(checkpoint, samples: samples, options: options, task).budget()
  }

  /// The arithmetic of what looks at one batch once: where `auto` has a choice, double for small
  /// batches.
  func arithmetic(
    _ checkpoint: LoadedCheckpoint, samples: Int, _ task: MemoryTask
  ) -> Arithmetic {
    switch precision {
    case .float32: return .float32
    case .float64: return .float64
    case .auto:
      let isDouble =
        isSmall(checkpoint, samples: samples)
        && budgetInDouble(checkpoint, samples: samples, task) != nil
      return isDouble ? .float64 : .float32
    }
  }
}
