import Curvature
import GraphModule
import TensorModule
import Training

/// The moving parts of a run in one precision: parameters, optimiser, scratch.
final class Trainer<S: EngineScalar> {
  private let options: TrainingOptions
  /// Bytes of forward values in a step.
  private let budget: Int
  private let checkpoint: LoadedCheckpoint
  private let samples: TrainingSamples
  private let validation: TrainingRun.Watched?
  private let pool: WorkerPool
  private let operations: VectorOperations<Double>
  private let master: MasterParameters<S>
  private var optimizer: any Optimizer
  private let direction: Vector<Double>
  private let before: Vector<Double>

  init(
    _ options: TrainingOptions, _ checkpoint: LoadedCheckpoint, _ samples: TrainingSamples,
    _ validation: TrainingRun.Watched?, budget: Int, parameters: ParameterStore<S>,
    pool: WorkerPool
  ) {
    self.options = options
    self.budget = budget
    self.checkpoint = checkpoint
    self.samples = samples
    self.validation = validation
    self.pool = pool
    master = MasterParameters(checkpoint.program, parameters)
    operations = VectorOperations(pool: pool, count: master.values.count)
    optimizer = options.optimizer.makeOptimizer(
      ParameterLayout(checkpoint.program), operations, precision: Double(S.ulpOfOne))
    direction = Vector(count: master.values.count)
    before = Vector(count: master.values.count)
  }

  /// As the engine has them.
  var parameters: ParameterStore<S> { master.store }

  /// One step on these samples.
  ///
  /// - Parameters:
  ///   - place: Among the steps of the run, from 0.
  ///   - first: Steps that an earlier run has made.
  /// - Throws: `NonFinite`, with the parameters as they were unless it is they that are not finite.
  func step(
    _ batch: [Int], place: Int, of steps: Int, epoch: Int, after first: Int
  ) throws -> TrainingStep {
    let start = ContinuousClock.now
    let settings = options.optimizer
    let problem = try problem(
      checkpoint, samples.reader, batch, budget: budget, isStep: true)
    let loss = problem.output.meanLoss
    if !loss.isFinite {
      throw NonFinite(reason: "the loss is \(ReportCell.spelling(loss))", isStep: true)
    }
    do {
      try BatchDirection.write(
        settings, problem.linearization, problem.output, seed: options.seed,
        step: first + place,
        to: direction)
    } catch LinearAlgebraError.nonFinite {
      throw NonFinite(reason: "the Gram matrix is beyond all numbers", isStep: true)
    }
    if operations.firstNonFinite(direction) != nil {
      throw NonFinite(reason: "the direction is beyond all numbers", isStep: true)
    }
    if settings.isNormalized {
      let norm = operations.norm(direction)
      // A zero direction stays zero.
      if norm > 0 { operations.axpby(0, direction, 1 / norm, direction) }
    }
    let rate = settings.schedule.rate(settings.learningRate, step: place, of: steps)
    operations.copy(master.values, to: before)
    optimizer.step(master.values, direction, learningRate: rate)
    master.publish()
    if let index = operations.firstNonFinite(master.values) {
      throw NonFinite(
        reason: "a parameter is \(ReportCell.spelling(master.values[index]))", isStep: true)
    }
    return TrainingStep(
      step: first + place + 1, epoch: epoch, samples: batch.count, loss: loss, learningRate: rate,
      updateNorm: operations.distance(master.values, before),
      seconds: (ContinuousClock.now - start).seconds)
  }

  /// Loss and accuracy of the present parameters.
  func measure() throws -> (
    training: TrainingEpoch.Measure, validation: TrainingEpoch.Measure?
  ) {
    let training = try measure(checkpoint, samples.reader, samples.training)
    let watched = try validation.map { try measure($0.checkpoint, $0.reader, $0.samples) }
    return (training, watched)
  }

  private func measure(
    _ checkpoint: LoadedCheckpoint, _ reader: BatchReader, _ samples: [Int]
  ) throws -> TrainingEpoch.Measure {
    // Forward values are not kept: nothing reads them.
    let measure = try LossMeasure(samples) {
      try problem(checkpoint, reader, $0, budget: 0, isStep: false)
    }
    if !measure.loss.isFinite {
      throw NonFinite(
        reason: "the loss is \(ReportCell.spelling(measure.loss))", isStep: false)
    }
    return measure
  }

  private func problem(
    _ checkpoint: LoadedCheckpoint, _ reader: BatchReader, _ batch: [Int], budget: Int,
    isStep: Bool
  ) throws -> BatchProblem<S> {
    do {
      return try BatchProblem(
        checkpoint, parameters: master.store, batch: reader.read(batch, S.self), pool: pool,
        budget: budget)
    } catch EvaluationError.nonFiniteLogits(_, let sample, let value, _) {
      throw NonFinite(
        reason: "the logits of sample \(batch[sample]) contain \(ReportCell.spelling(value))",
        isStep: isStep)
    }
  }
}
