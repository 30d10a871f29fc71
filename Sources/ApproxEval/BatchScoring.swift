import Checkpoints
import Curvature
import GraphModule
import TensorModule
import Updates

/// Scores the batches of one checkpoint in the precision that the options ask for.
///
/// `auto` works in single precision, and does a batch again in double where a gamma would be marked, or
/// is missing for want of range, and the memory allows it. A batch whose work in double is next to
/// nothing is done in double at once. All this depends on the batch and the options; on the number of
/// threads only beyond four, where the memory is just enough.
final class BatchScoring {
  /// Operations of a batch that double precision does in a tenth of a second or less on one core: a
  /// small part of a second attempt would cost as much.
  static let smallBatch = 1e9

  /// One at a time: each has the memory to itself.
  private enum Scorer {
    case single(BatchScorer<Float>)
    case double(BatchScorer<Double>)
  }

  let source: BatchSource
  private let evaluation: Evaluation
  private let checkpoint: LoadedCheckpoint
  private let isSmall: Bool
  /// `nil` where no batch is done in this precision: it is not asked for, or does not fit.
  private let singleBudget: MemoryBudget?
  private let doubleBudget: MemoryBudget?
  private var scorer: Scorer?

  /// - Parameter smallBatch: Batches of fewer operations are done in double at once.
  /// - Throws: `EvaluationError.memory` where the batches do not fit in the precision that is asked for,
  ///   and what is wrong with updates.
  init(
    _ evaluation: Evaluation, _ checkpoint: LoadedCheckpoint, _ source: BatchSource,
    smallBatch: Double = BatchScoring.smallBatch
  ) throws {
    self.evaluation = evaluation
    self.checkpoint = checkpoint
    self.source = source
    let options = evaluation.options
    let task = MemoryTask.score(updates: try options.updates(of: checkpoint))
    isSmall = options.isSmall(checkpoint, samples: source.size, limit: smallBatch)
    switch options.precision {
    case .float64:
      singleBudget = nil
      doubleBudget = try evaluation.budget(checkpoint, source, task, Double.self)
    case .float32:
      singleBudget = try evaluation.budget(checkpoint, source, task, Float.self)
      doubleBudget =
        isSmall ? options.budgetInDouble(checkpoint, samples: source.size, task) : nil
    case .auto:
      doubleBudget = options.budgetInDouble(checkpoint, samples: source.size, task)
      singleBudget =
        isSmall && doubleBudget != nil
        ? nil : try evaluation.budget(checkpoint, source, task, Float.self)
    }
  }

  func score(_ batch: Int) throws -> BatchResult {
    guard let singleBudget else { return try inDouble(doubleBudget!).score(batch) }
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
    do {
      let first = try inSingle(budget).score(batch)
      if !first.hasMark && !first.overflowsInSingle { return first }
      seconds = first.seconds
    } catch  where isOverflow(error) {}
    var result = try inDouble(doubleBudget).score(batch)
    result.isRepeated = true
    result.seconds += seconds
    return result
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
    if case .single(let scorer)? = scorer { return scorer }
    scorer = nil
    let made = try BatchScorer<Float>(evaluation, checkpoint, source, budget)
    scorer = .single(made)
    return made
  }

  private func inDouble(_ budget: MemoryBudget) throws -> BatchScorer<Double> {
    if case .double(let scorer)? = scorer { return scorer }
    scorer = nil
    let made = try BatchScorer<Double>(evaluation, checkpoint, source, budget)
    scorer = .double(made)
    return made
  }
}

/// What the batches of one checkpoint share in one precision.
struct BatchScorer<S: EngineScalar> {
  private let options: EvaluationOptions
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
    parameters = try checkpoint.parameters(S.self, areRead: true, pool: pool)
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

  /// - Parameter isTrial: Whether gammas are all that is wanted: without a reference to compare them
  ///   with.
  func score(_ batch: Int, isTrial: Bool = false) throws -> BatchResult {
    var options = options
    if isTrial {
      options.reference = .none
      options.perLayer = false
    }
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
          checkpoint, parameters: checkpoint.parameters(Double.self, areRead: true, pool: pool),
          batch: source.reader.read(samples, Double.self), pool: pool, budget: budget.forward)
      }, updates: updates, workspace: workspace, phases: phases)
    return try inBatch(batch, of: checkpoint.path, options) { try evaluation.run() }
  }
}

extension EvaluationOptions {
  /// With the arithmetic of S.
  func inPrecision<S: EngineScalar>(_: S.Type) -> EvaluationOptions {
    var options = self
    options.precision = S.self == Double.self ? .float64 : .float32
    return options
  }

  /// Whether the whole work on a batch is next to nothing in double.
  func isSmall(
    _ checkpoint: LoadedCheckpoint, samples: Int, limit: Double = BatchScoring.smallBatch
  ) -> Bool {
    // A fixed number of threads: nothing may depend on the machine.
    var options = inPrecision(Double.self)
    options.threads = 4
    let estimate = ResourceEstimate(
      checkpoint, samples: samples, options: options, updates: [])
    // Every direction is a sum of gradients and a jvp, whatever else its method takes.
    let directions = Double(methods.count * max(dampings.count, 1))
    let forward = Double(estimate.forwardOperations) * Double(samples)
    return max(estimate.batchOperations, 5 * directions * forward) < limit
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
