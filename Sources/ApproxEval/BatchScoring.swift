import Checkpoints
import Curvature
import GraphModule
import TensorModule
import Updates

/// Scores the batches of one checkpoint in the precision that the options ask for.
///
/// `auto` works in single precision, and does a batch again in double where a gamma would be marked
/// and the memory allows it. A batch whose work in double is next to nothing is done in double at
/// once. Both depend on the batch and the options alone, never on threads.
final class BatchScoring {
  /// Operations of a batch that double precision does in a tenth of a second or less on one core: a
  /// small part of a second attempt would cost as much.
  static let smallBatch = 1e9

  private let evaluation: Evaluation
  private let checkpoint: LoadedCheckpoint
  private let source: BatchSource
  private let isSmall: Bool
  private let fitsInDouble: Bool
  private var single: BatchScorer<Float>?
  private var double: BatchScorer<Double>?

  /// - Parameter smallBatch: Batches of fewer operations are done in double at once.
  init(
    _ evaluation: Evaluation, _ checkpoint: LoadedCheckpoint, _ source: BatchSource,
    smallBatch: Double = BatchScoring.smallBatch
  ) {
    self.evaluation = evaluation
    self.checkpoint = checkpoint
    self.source = source
    let options = evaluation.options
    let samples = source.samples(options.firstBatch).count
    isSmall = options.isSmall(checkpoint, samples: samples, limit: smallBatch)
    fitsInDouble = options.fitsInDouble(checkpoint, samples: samples)
  }

  func score(_ batch: Int) throws -> BatchResult {
    switch evaluation.options.precision {
    case .float64: return try inDouble().score(batch)
    case .float32:
      let result = try inSingle().score(batch)
      return isSmall
        ? measured(result, against: try inDouble().score(batch, isTrial: true)) : result
    case .auto:
      if isSmall { return try inDouble().score(batch) }
      return try inSingleOrDouble(batch)
    }
  }

  private func inSingleOrDouble(_ batch: Int) throws -> BatchResult {
    let first: BatchResult
    do {
      first = try inSingle().score(batch)
    } catch  where fitsInDouble && isOverflow(error) {
      var result = try inDouble().score(batch)
      result.isRepeated = true
      return result
    }
    guard fitsInDouble, first.hasMark else { return first }
    var result = try inDouble().score(batch)
    result.isRepeated = true
    result.seconds += first.seconds
    return result
  }

  /// Whether numbers may have been beyond the range of single precision alone.
  private func isOverflow(_ error: any Error) -> Bool {
    switch error {
    case EvaluationError.nonFiniteLogits: true
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
        let other = exact.scores.first(where: {
          $0.method == score.method && $0.damping == score.damping
            && $0.monteCarloSamples == score.monteCarloSamples
        }), let own = other.gammaError, score.gammaError != nil
      else { continue }
      let found = abs(score.gamma / other.gamma - 1)
      // Neither is the result in double exact.
      result.scores[i].gammaError = found.isNaN ? own : 1.01 * found + own
    }
    return result
  }

  private func inSingle() throws -> BatchScorer<Float> {
    if let single { return single }
    let made = try BatchScorer<Float>(evaluation, checkpoint, source)
    single = made
    return made
  }

  private func inDouble() throws -> BatchScorer<Double> {
    if let double { return double }
    let made = try BatchScorer<Double>(evaluation, checkpoint, source)
    double = made
    return made
  }
}

/// What the batches of one checkpoint share in one precision.
struct BatchScorer<S: EngineScalar> {
  private let options: EvaluationOptions
  private let pool: WorkerPool
  private let checkpoint: LoadedCheckpoint
  private let source: BatchSource
  private let parameters: ParameterStore<S>
  private let updates: [String: DirectionForm<S>]

  init(
    _ evaluation: Evaluation, _ checkpoint: LoadedCheckpoint, _ source: BatchSource
  ) throws {
    self.checkpoint = checkpoint
    self.source = source
    pool = evaluation.pool
    parameters = try checkpoint.parameters(S.self, areRead: true, pool: pool)
    let (methods, updates) = try evaluation.updates(checkpoint, S.self)
    self.updates = updates
    var options = evaluation.options
    options.methods = methods
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
        checkpoint, parameters: parameters, batch: read, pool: pool, memory: options.memory)
    }
    return try BatchEvaluation(
      options: options, checkpoint: checkpoint, problem: problem, batch: batch,
      doubleProblem: {
        if let same = problem as? BatchProblem<Double> { return same }
        return try BatchProblem(
          checkpoint, parameters: checkpoint.parameters(Double.self, areRead: true, pool: pool),
          batch: source.reader.read(samples, Double.self), pool: pool, memory: options.memory)
      }, updates: updates, phases: phases
    ).run()
  }
}

extension EvaluationOptions {
  /// A fixed number of threads: nothing may depend on the machine.
  private func estimate(
    _ checkpoint: LoadedCheckpoint, samples: Int, _ precision: Arithmetic
  ) -> ResourceEstimate {
    var options = self
    options.threads = 4
    options.precision = Precision(precision)
    return ResourceEstimate(checkpoint, samples: samples, options: options)
  }

  /// Whether the whole work on a batch is next to nothing in double.
  func isSmall(
    _ checkpoint: LoadedCheckpoint, samples: Int, limit: Double = BatchScoring.smallBatch
  ) -> Bool {
    let estimate = estimate(checkpoint, samples: samples, .float64)
    // Every direction is a sum of gradients and a jvp, whatever else its method takes.
    let directions = Double(methods.count * max(dampings.count, 1))
    let forward = Double(estimate.forwardOperations) * Double(samples)
    return max(estimate.batchOperations, 5 * directions * forward) < limit
  }

  /// Whether a batch fits into the memory in double beside the parameters in single precision.
  func fitsInDouble(_ checkpoint: LoadedCheckpoint, samples: Int) -> Bool {
    let single = estimate(checkpoint, samples: samples, .float32).memory.parameters
    let double = estimate(checkpoint, samples: samples, .float64).memory.total
    return double.addingReportingOverflow(single).partialValue <= memory
  }

  /// The precision of commands that look at one batch: where `auto` has a choice, double for small
  /// batches.
  func precision(_ checkpoint: LoadedCheckpoint, samples: Int) -> Arithmetic {
    switch precision {
    case .float32: .float32
    case .float64: .float64
    case .auto: isSmall(checkpoint, samples: samples) ? .float64 : .float32
    }
  }
}
