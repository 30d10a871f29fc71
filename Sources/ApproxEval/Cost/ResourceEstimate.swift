import Curvature
import Foundation
import GraphModule
import TensorModule
import Updates

/// What scoring one batch will take, estimated from shapes before any number is read.
public struct ResourceEstimate: Sendable, Equatable {
  /// Matrix products of one phase; of the reference, those of one iteration.
  public struct Phase: Sendable, Equatable {
    /// Which part of the batch it is.
    public var phase: PhaseCost.Phase
    /// Its matrix products.
    public var work: Work
  }

  /// Samples of the batch.
  public var samples: Int
  /// In which the batch is done; where `auto` begins in single precision, the work of a repetition is
  /// not part of the estimate.
  public var precision: Arithmetic
  /// Without those whose work depends on more than shapes.
  public var phases: [Phase]
  /// Multiplications and additions of the forward pass of one sample.
  public var forwardOperations: Int
  /// The same of one Fisher-vector product of the batch.
  public var productOperations: Double
  /// The same of the whole batch if conjugate gradients use all their iterations, also those for blocks of
  /// the Fisher matrix; a dense reference is not counted.
  public var batchOperations: Double
  /// The part of them that goes into blocks of the Fisher matrix.
  public var blockSolveOperations: Double
  /// What the evaluation may allocate.
  public var memory: MemoryPlan
  /// The same without a reference, which takes as much as it needs iterations.
  public var memoryWithoutReference: MemoryPlan
  /// Samples whose forward values do not fit into the memory that may be used, and are computed
  /// again in every product.
  public var recomputedSamples: Int

  /// - Parameter updates: Those that will be scored.
  init(
    _ checkpoint: LoadedCheckpoint, samples: Int, options: EvaluationOptions,
    updates: [any UpdateSource]
  ) {
    let task = MemoryTask.score(updates: updates)
    switch options.arithmetic(checkpoint, samples: samples, task) {
    case .float32: self.init(checkpoint, samples, options, task, Float.self)
    case .float64: self.init(checkpoint, samples, options, task, Double.self)
    }
  }

  private init<S: EngineScalar>(
    _ checkpoint: LoadedCheckpoint, _ samples: Int, _ options: EvaluationOptions,
    _ task: MemoryTask, _: S.Type
  ) {
    let program = checkpoint.program
    let scalar = MemoryLayout<S>.stride
    let planner = MemoryPlanner(
      checkpoint, samples: samples, options: options.inPrecision(S.self), task)
    let planned = planner.best()
    let batch = BatchNeeds<S>(
      program, samples: samples, threads: options.threads, budget: planned.forward)
    let needs = ProductNeeds(batch)
    memory = planner.largest()
    memoryWithoutReference = planner.withoutReference(planned)
    self.samples = samples
    precision = S.self == Double.self ? .float64 : .float32
    forwardOperations = program.operationCount
    recomputedSamples = needs.recomputedSamples
    let tokens = checkpoint.tokens
    let usesCombinations = needs.usesCombinations && tokens == nil
    let prediction = PhasePrediction(
      ProductCounts(program, samples: samples, scalar: scalar),
      tokens: tokens.map {
        ProductCounts($0.program, samples: $0.most(of: samples), scalar: scalar)
      },
      methods: options.methods, dampings: options.dampings.count,
      draws: options.monteCarloSamples.max() ?? 1, usesCombinations: usesCombinations,
      isSolved: options.needsGramMatrix)
    // What is not a layer, attention above all, is in the needs only.
    productOperations = usesCombinations ? prediction.iteration.operations : needs.operations
    phases = PhaseCost.Phase.allCases.compactMap { phase in
      let iterations = phase == .reference && options.reference != .none ? 1 : nil
      return prediction.work(phase, iterations: iterations).map { Phase(phase: phase, work: $0) }
    }
    let solved =
      options.methods.count { $0.needs.solve == .solution } * options.dampings.count
    let solves = solved + (options.reference.isIterative ? 1 : 0)
    let truncated = options.methods.compactMap(\.needs.iterations).max() ?? 0
    let updates = prediction.batch ?? prediction.forward + prediction.gram
    let products =
      Double(solves) * Double(options.cgIterations)
      + Double(options.dampings.count) * Double(truncated)
    blockSolveOperations = Self.blockSolves(
      batch.ofGradients(tokens, of: samples, threads: options.threads), options)
    batchOperations =
      updates.operations + products * productOperations + blockSolveOperations
  }

  /// Of solves of blocks by iterations that take all that are allowed, as those of a solver.
  private static func blockSolves<S: EngineScalar>(
    _ needs: BatchNeeds<S>, _ options: EvaluationOptions
  ) -> Double {
    let iterations = options.blockLimits.maxIterations
    return options.methods.reduce(0) { sum, method in
      let groups = method.needs.fisherBlocks?.groups(of: needs.program) ?? []
      guard !groups.isEmpty, BlockSolver(needs, groups, iterations: iterations) == .iterations
      else { return sum }
      let products = groups.reduce(0) { $0 + ProductNeeds(needs.restricted(to: $1)).operations }
      return sum + Double(options.dampings.count * iterations) * products
    }
  }

  /// Seconds for so many batches at a rate in operations per second.
  public func seconds(batches: Int, rate: Double) -> Double {
    batchOperations * Double(batches) / rate
  }
}

extension Evaluation {
  /// What one batch of a checkpoint will take; no number is read.
  ///
  /// - Throws: `missingBatch`, and whatever is wrong with the headers.
  public func resources(checkpoint path: String) throws(EvaluationError) -> ResourceEstimate {
    try evaluating {
      let checkpoint = try LoadedCheckpoint(path: path, options: options, files: files)
      return ResourceEstimate(
        checkpoint, samples: try source(checkpoint).samples(0).count, options: options,
        updates: try options.updates(of: checkpoint))
    }
  }

  /// Operations per second that the engine may be expected to reach here, from a few matrix
  /// products; takes a fraction of a second.
  public func measuredRate(_ precision: Arithmetic) -> Double {
    // Products in double run at half the rate. Benchmarks/results: a Fisher-vector product takes
    // 1.3 to 1.6 times as long as its matrix products alone.
    let share = precision == .float64 ? 0.32 : 0.65
    return share * SquareProducts(size: 512, threads: options.threads).rate()
  }
}
