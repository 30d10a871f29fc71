import Curvature
import GraphModule
import TensorModule

/// One batch of one checkpoint, held ready so that single steps of the engine can be run alone, as
/// often as a stopwatch likes.
///
/// ```swift
/// let probe = try EngineProbe(checkpoint: "checkpoint.bin")
/// let clock = ContinuousClock()
/// let time = try clock.measure { try probe.run(.fisherVectorProduct) }
/// ```
///
/// Parameters and batch are in memory, the forward pass is kept; files are not read again. A
/// probe runs one step at a time.
public final class EngineProbe {
  /// What can be run.
  public enum Step: String, CaseIterable, Sendable {
    /// The forward pass, with all that the derivatives need kept.
    case forward
    /// `J v` for one direction.
    case jvp
    /// `J^T w` for one cotangent.
    case vjp
    /// `F v`, as every iteration of conjugate gradients needs it: on vectors of length P, or on
    /// combinations of rows of J where the engine keeps directions so.
    case fisherVectorProduct
    /// The Gram matrix of the per-sample gradients of the true labels: the backward pass to the
    /// outputs of the layers, and the products.
    case gramMatrix
    /// The directions that the options ask for, with all that they rest on, unscored; the forward
    /// pass is kept. Combinations that the engine does not form are not formed here either.
    case updates
    /// The whole batch as the options ask for it, forward pass included.
    case batch
  }

  /// What was read: the model, its parameters and its loss.
  public let description: CheckpointDescription
  /// N
  public let samples: Int
  /// What the probe was made with.
  public let options: EvaluationOptions
  private let program: Program
  private let engine: any ProbeEngine

  /// Reads the checkpoint and the first batch that `options` ask for, and runs the forward pass, in the
  /// precision in which `auto` begins such a batch.
  public init(
    checkpoint path: String, options: EvaluationOptions = EvaluationOptions()
  ) throws(EvaluationError) {
    let evaluation = Evaluation(options)
    let (checkpoint, engine) = try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options)
      let engine: any ProbeEngine =
        switch try evaluation.arithmetic(checkpoint, .score(updates: [])) {
        case .float32: try TypedProbe<Float>(checkpoint, evaluation)
        case .float64: try TypedProbe<Double>(checkpoint, evaluation)
        }
      return (checkpoint, engine)
    }
    description = checkpoint.description
    self.options = options
    samples = engine.samples
    program = checkpoint.program
    self.engine = engine
  }

  /// Runs one step; its result is dropped.
  public func run(_ step: Step) throws(EvaluationError) {
    try evaluating { try engine.run(step) }
  }

  /// Runs one step and says what it took.
  public func measure(
    _ step: Step
  ) throws(EvaluationError) -> (seconds: Double, work: Work) {
    let before = ProductMeter.read()
    let clock = ContinuousClock()
    let start = clock.now
    try run(step)
    let seconds = (clock.now - start).seconds
    let work = ProductMeter.read() - before
    return (seconds, Work(operations: Double(work.operations), bytes: Double(work.bytes)))
  }

  /// Operations in the matrix products of a step, multiplications and additions counted apart;
  /// element-wise work and the solves of size N are left out.
  ///
  /// The count belongs to the step, not to this engine: every direction is explicit and scored by
  /// a jvp of its own. An engine that finds a short cut may spend less.
  ///
  /// - Returns: `nil` for directions alone, and for a batch with a reference solve, whose products
  ///   are not known beforehand, or with methods other than sgd, ef, ief and sf.
  public func productOperations(_ step: Step) -> Double? {
    let counts = ProductCounts(program, samples: samples, scalar: 0)
    let prediction = PhasePrediction(
      counts, methods: options.methods, dampings: options.dampings.count,
      draws: options.monteCarloSamples.max() ?? max(engine.storedDraws, 1),
      usesCombinations: false, isSolved: options.needsGramMatrix)
    let work: Work? =
      switch step {
      case .forward: counts.forward
      case .jvp: counts.jvp
      case .vjp: counts.vjp
      case .fisherVectorProduct: prediction.iteration
      case .gramMatrix: counts.inputs + counts.gram(draws: 1)
      case .updates: nil
      case .batch: options.reference == .none ? prediction.batch : nil
      }
    return work?.operations
  }

  /// What OpenBLAS says of its own build.
  public static var buildOfBLAS: String { BLAS.buildDescription }
}

// MARK: - In one precision

private protocol ProbeEngine {
  var samples: Int { get }
  var storedDraws: Int { get }
  func run(_ step: EngineProbe.Step) throws
}

private final class TypedProbe<S: EngineScalar>: ProbeEngine {
  private let checkpoint: LoadedCheckpoint
  private let options: EvaluationOptions
  private let source: BatchSource
  private let parameters: ParameterStore<S>
  private let batch: BatchReader.Batch<S>
  private let pool: WorkerPool
  private let budget: MemoryBudget
  private let problem: BatchProblem<S>
  private let workspace = ReferenceWorkspace<S>()
  /// Random numbers of length P, and room for a result: only for the steps that ask for them.
  private lazy var direction = randomDirection()
  private lazy var result = Vector<S>(count: problem.linearization.parameterCount)
  /// The product on combinations, with the logit gradient as the first half of a pair.
  private lazy var combinations = CombinationProduct(problem)

  init(_ checkpoint: LoadedCheckpoint, _ evaluation: Evaluation) throws {
    self.checkpoint = checkpoint
    options = evaluation.options
    source = try evaluation.source(checkpoint)
    pool = WorkerPool(threads: options.threads)
    budget = try evaluation.budget(checkpoint, source, .score(updates: []), S.self)
    parameters = try checkpoint.parameters(
      S.self, areRead: true, releasesPages: budget.releasesPages, pool: pool)
    batch = try source.reader.read(source.samples(0), S.self)
    problem = try BatchProblem(
      checkpoint, parameters: parameters, batch: batch, pool: pool, budget: budget.forward)
  }

  private func randomDirection() -> Vector<S> {
    let direction = Vector<S>(count: problem.linearization.parameterCount)
    var random = CounterRandom(seed: options.seed, batch: 0, sample: 0, stream: .vectors)
    for i in 0..<direction.count { direction[i] = S(random.normal()) }
    return direction
  }

  var samples: Int { problem.linearization.samples }
  var storedDraws: Int { problem.storedDraws.count }

  func run(_ step: EngineProbe.Step) throws {
    let linearization = problem.linearization
    switch step {
    case .forward:
      _ = Linearization(
        program: checkpoint.program, parameters: parameters, inputs: batch.inputs, pool: pool)
    case .jvp: linearization.jvp([direction]) { _, _ in }
    case .vjp: linearization.vjp(into: [result], writeGradient)
    case .fisherVectorProduct where linearization.prefersCombinations: try combinations.run()
    case .fisherVectorProduct:
      _ = try FisherOperator(linearization, problem.output).apply(direction, into: result)
    case .gramMatrix:
      let ones = [Double](repeating: 1, count: samples)
      _ = linearization.perSampleGradients(draws: 1, scales: ones, writeGradient).gramMatrix()
    case .updates: _ = try evaluation(problem).unscored()
    case .batch: try runBatch()
    }
  }

  private func runBatch() throws {
    let problem = try BatchProblem(
      checkpoint, parameters: parameters, batch: batch, pool: pool, budget: budget.forward)
    _ = try evaluation(problem).run()
  }

  private func evaluation(_ problem: BatchProblem<S>) -> BatchEvaluation<S> {
    BatchEvaluation(
      options: options, budget: budget, checkpoint: checkpoint, problem: problem, batch: 0,
      doubleProblem: { [self] in
        try BatchProblem(
          checkpoint, parameters: checkpoint.parameters(Double.self),
          batch: source.reader.read(source.samples(0), Double.self), pool: pool,
          budget: budget.forward)
      }, updates: [:], workspace: workspace, phases: PhaseClock(plan: budget.plan))
  }

  /// The logit gradient of every sample.
  private func writeGradient(chunk: Schedule.Chunk, to cotangents: UnsafeMutablePointer<S>) {
    let ones = [Double](repeating: 1, count: samples)
    ones.withUnsafeBufferPointer {
      problem.output.write(
        problem.output.gradient, chunk: chunk, units: $0.baseAddress!, to: cotangents)
    }
  }
}

/// One product of conjugate gradients in logit space: H, and the tangents of the new combination.
private struct CombinationProduct<S: EngineScalar> {
  private let fisher: LogitFisherOperator<S>
  private let v: Vector<Double>
  private let product: Vector<Double>

  init(_ problem: BatchProblem<S>) {
    fisher = LogitFisherOperator(problem.linearization, problem.output)
    v = Vector(count: fisher.dimension)
    fisher.writeRightHandSide(unit: 1, to: v)
    product = Vector(count: fisher.dimension)
    // A second half of the right size will do.
    Kernels.copy(v.pointer, v.pointer + v.count / 2, count: v.count / 2)
  }

  func run() throws {
    _ = try fisher.apply(v, into: product)
    try fisher.settle(product)
  }
}
