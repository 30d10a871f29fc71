import Checkpoints
import Curvature
import Metrics
import TensorModule
import Training
import Updates

/// Algorithm 4 on one batch: every update, the reference, every indicator.
struct BatchEvaluation<S: EngineScalar> {
  let options: EvaluationOptions
  let budget: MemoryBudget
  let checkpoint: LoadedCheckpoint
  let problem: BatchProblem<S>
  let batch: Int
  /// The same batch in double, made when the dense reference asks for it.
  let doubleProblem: () throws -> BatchProblem<Double>
  /// Inputs that nobody has scaled.
  var bytes: ByteInputs?
  let updates: [String: PreparedUpdate<S>]
  /// Of the solves of all batches.
  let workspace: ReferenceWorkspace<S>
  /// With the forward pass, where that was measured.
  var phases: PhaseClock

  struct Outcome {
    var result: BatchResult
    /// As the solver has left it, also where a row is better.
    let reference: ReferenceSolution<S>?
    /// Whether some gamma is marked that more digits would move.
    let isMarkedByRounding: Bool
  }

  /// - Parameter first: What conjugate gradients have found in single precision.
  func run(first: ReferenceSolution<Float>? = nil) throws -> Outcome {
    let clock = ContinuousClock()
    let start = clock.now
    var phases = phases
    // First: what is wrong with a file is told before anything long.
    let updates =
      updates.isEmpty ? [:] : try phases.measure(.directions) { try userDirections() }
    let (samples, gradients) = phases.measure(.gram) {
      let samples = problem.samples()
      return (samples, makeGradients(samples))
    }
    let referenceStart = clock.now
    let solver = try makeSolver()
    var reference: ReferenceSolution<S>?
    if options.reference != .none {
      reference = try phases.measure(.reference) { try solver.solve(gradients, first: first) }
    }
    let solved = reference
    // Iterations in another precision are not among the products of this one.
    let iterations = first == nil ? solved?.record.iterations : nil
    let referenceSeconds = (clock.now - referenceStart).seconds

    // All directions share their jvps. The gradient comes first: other scores are relative to it.
    let baseline = FoundDirection(
      method: .baseline, role: .baseline, direction: gradients.gradientDirection)
    let directions = try phases.measure(.directions) {
      try [baseline] + found(samples, gradients, solver, updates)
    }
    let errors = GammaErrorEstimate(gradients, samples.sequences, problem.output)
    var scorer = self.scorer(gradients, errors, reference, seconds: referenceSeconds)
    phases.measure(.jvp) {
      scorer.score(directions, listsGradient: options.methods.contains(.baseline))
    }
    if let solved, let better = scorer.better {
      let replaced = try solver.replacement(
        of: solved, by: directions[better.place], gamma: better.gamma, gradients)
      reference = replaced
      scorer = self.scorer(gradients, errors, replaced, seconds: referenceSeconds)
      scorer.score(directions, listsGradient: options.methods.contains(.baseline))
    }
    let result = BatchResult(
      checkpoint: checkpoint.path, epoch: checkpoint.source.epoch, step: checkpoint.source.step,
      run: checkpoint.run,
      batch: batch, precision: S.self == Double.self ? .float64 : .float32,
      overflowsInSingle: S.self != Double.self && scorer.overflowsInEngine,
      samples: gradients.samples,
      sequences: options.sample == .token ? problem.linearization.samples : nil,
      recomputedSamples: problem.linearization.samples - problem.linearization.keptSamples,
      loss: problem.output.totalLoss, meanLoss: problem.output.meanLoss,
      gradientNorm: scorer.normOfGradient,
      gradientNormRatio: imbalance(gradients.norms),
      logitGradientNormRatio: imbalance(samples.output.gradientNorms),
      gammaBound: problem.output.gammaBound, sampledLabels: sampledLabels(samples, gradients),
      duplicates: duplicates(gradients), bytes: bytes, reference: reference?.record,
      trace: reference?.trace ?? [], scores: scorer.scores(order: options.methods),
      layers: scorer.layers?.scores(order: options.methods) ?? [],
      costs: phases.costs(
        prediction(samples, gradients), iterations: iterations),
      seconds: (clock.now - start).seconds)
    return Outcome(
      result: result, reference: solved, isMarkedByRounding: scorer.isMarkedByRounding)
  }

  /// What conjugate gradients find.
  func iterated() throws -> ReferenceSolution<S>? {
    try makeSolver().iterated(makeGradients(problem.sequences()))
  }

  /// With the reference scored, to which all others are relative.
  private func scorer(
    _ gradients: BatchGradients<S>, _ errors: GammaErrorEstimate,
    _ reference: ReferenceSolution<S>?, seconds: Double
  ) -> DirectionScorer<S> {
    var scorer = DirectionScorer(
      problem: problem, gradient: gradients.gradientForm, reference: reference,
      errors: errors)
    if options.perLayer {
      scorer.layers = LayerScorer(
        problem: problem, gradient: gradients.gradientForm,
        gammaOfReference: reference?.record.gamma,
        errors: scorer.errors)
    }
    if let reference {
      scorer.score(
        reference: reference.direction(), known: reference.halves, seconds: seconds,
        exact: reference.isInDouble || reference.record.replacement != nil
          ? reference.record.gamma : nil)
    }
    return scorer
  }

  /// The directions of all methods, unscored: per-sample gradients, Gram matrices, solves.
  func unscored() throws -> [Direction<S>] {
    let samples = problem.samples()
    let gradients = makeGradients(samples)
    let solver = try makeSolver()
    let sgd =
      options.methods.contains(.baseline) ? [gradients.gradientDirection] : []
    return try sgd + found(samples, gradients, solver, userDirections()).map(\.direction)
  }

  /// Users' directions for this batch, by name.
  private func userDirections() throws(CheckpointError) -> [String: DirectionForm<S>] {
    var directions: [String: DirectionForm<S>] = [:]
    var mean: Vector<Double>?
    for (name, update) in updates.sorted(by: { $0.key < $1.key }) {
      switch update {
      case .direction(let form): directions[name] = form
      case .step(let step):
        if mean == nil {
          mean = Vector(count: problem.linearization.parameterCount)
          BatchDirection.meanGradient(problem.linearization, problem.output, to: mean!)
        }
        directions[name] = try step(mean!)
      }
    }
    return directions
  }

  private func makeSolver() throws -> BatchReference<S> {
    try BatchReference(
      problem, batch: batch, options: options, budget: budget, workspace: workspace,
      doubleProblem: doubleProblem)
  }

  private func makeGradients(_ samples: SampleProblem<S>) -> BatchGradients<S> {
    samples.gradients(
      sampled: draws(samples), dropDuplicates: options.dropDuplicates,
      isSolved: options.needsGramMatrix)
  }

  private func prediction(
    _ samples: SampleProblem<S>, _ gradients: BatchGradients<S>
  ) -> PhasePrediction {
    func counts(_ linearization: Linearization<S>) -> ProductCounts {
      ProductCounts(
        linearization.program, samples: linearization.samples, scalar: MemoryLayout<S>.stride)
    }
    return PhasePrediction(
      counts(problem.linearization),
      tokens: samples.rows == nil ? nil : counts(samples.linearization), methods: options.methods,
      dampings: options.dampings.count, draws: gradients.draws,
      usesCombinations: gradients.usesCombinations, isSolved: options.needsGramMatrix)
  }

  /// The directions of all methods but the gradient's; iterates of a solver come last.
  private func found(
    _ samples: SampleProblem<S>, _ gradients: BatchGradients<S>, _ solver: BatchReference<S>,
    _ updates: [String: DirectionForm<S>]
  ) throws -> [FoundDirection<S>] {
    let counts = gradients.draws > 0 ? drawCounts : []
    let directions = MethodDirections(
      options: options, problem: problem, samples: samples, batch: batch, gradients: gradients,
      draws: counts, solver: solver, updates: updates)
    let methods = options.methods.filter { $0 != .baseline }
    let ordered =
      methods.filter { $0.needs.iterations == nil } + methods.filter { $0.needs.iterations != nil }
    return try ordered.flatMap { method in
      try (method.needs.isSampled ? counts as [Int?] : [nil]).flatMap {
        try directions.found(method, draws: $0)
      }
    }
  }

  /// Monte-Carlo labels: the file's, or drawn; as many as the method that asks for most.
  private func draws(_ samples: SampleProblem<S>) -> [LogitGradient] {
    guard options.methods.contains(where: \.needs.isSampled) else { return [] }
    let count = drawCounts.max()!
    let stored = samples.storedDraws
    if stored.isEmpty {
      return samples.sampledGradients(draws: count, seed: options.seed, batch: batch)
    }
    // As many as there are at the most: `BatchSource` has seen to that.
    return Array(stored.prefix(count))
  }

  /// Draws per sample of the methods that draw; fewer are the first of more.
  private var drawCounts: [Int] {
    if !options.monteCarloSamples.isEmpty { return options.monteCarloSamples }
    return [max(problem.storedDraws.count, 1)]
  }
}

extension Duration {
  var seconds: Double { self / .seconds(1) }
}
