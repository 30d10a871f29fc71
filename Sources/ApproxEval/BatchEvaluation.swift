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
  let updates: [String: PreparedUpdate<S>]
  /// Of the solves of all batches.
  let workspace: ReferenceWorkspace<S>
  /// With the forward pass, where that was measured.
  var phases = PhaseClock()

  struct Outcome {
    let result: BatchResult
    /// As the solver has left it, also where a row is better.
    let reference: ReferenceSolution<S>?
  }

  /// - Parameter first: What conjugate gradients have found in single precision.
  func run(first: ReferenceSolution<Float>? = nil) throws -> Outcome {
    let clock = ContinuousClock()
    let start = clock.now
    var phases = phases
    // First: what is wrong with a file is told before anything long.
    let updates = try phases.measure(.directions) { try userDirections() }
    let gradients = phases.measure(.gram) { makeGradients() }
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
    let sgd = FoundDirection(direction: gradients.gradientDirection)
    let directions = try phases.measure(.directions) {
      try [sgd] + found(gradients, solver, updates)
    }
    var scorer = self.scorer(gradients, reference, seconds: referenceSeconds)
    phases.measure(.jvp) {
      scorer.score(directions, listsGradient: options.methods.contains(.sgd))
    }
    if let solved, let better = scorer.better {
      let replaced = try solver.replacement(
        of: solved, by: directions[better.place].direction, gamma: better.gamma, gradients)
      reference = replaced
      scorer = self.scorer(gradients, replaced, seconds: referenceSeconds)
      scorer.score(directions, listsGradient: options.methods.contains(.sgd))
    }
    let result = BatchResult(
      checkpoint: checkpoint.path, epoch: checkpoint.source.epoch, step: checkpoint.source.step,
      batch: batch, precision: S.self == Double.self ? .float64 : .float32,
      overflowsInSingle: S.self != Double.self && scorer.overflowsInEngine,
      samples: problem.linearization.samples,
      recomputedSamples: problem.linearization.samples - problem.linearization.keptSamples,
      loss: problem.output.totalLoss, meanLoss: problem.output.meanLoss,
      gradientNorm: scorer.normOfGradient,
      gradientNormRatio: imbalance(gradients.norms),
      logitGradientNormRatio: imbalance(problem.output.gradientNorms),
      gammaBound: problem.output.gammaBound, sampledLabels: sampledLabels(gradients),
      duplicates: duplicates(gradients), reference: reference?.record,
      trace: reference?.trace ?? [], scores: scorer.scores(order: options.methods),
      layers: scorer.layers?.scores(order: options.methods) ?? [],
      costs: phases.costs(
        prediction(gradients), iterations: iterations),
      seconds: (clock.now - start).seconds)
    return Outcome(result: result, reference: solved)
  }

  /// What conjugate gradients find.
  func iterated() throws -> ReferenceSolution<S>? {
    try makeSolver().iterated(makeGradients())
  }

  /// With the reference scored, to which all others are relative.
  private func scorer(
    _ gradients: BatchGradients<S>, _ reference: ReferenceSolution<S>?, seconds: Double
  ) -> DirectionScorer<S> {
    var scorer = DirectionScorer(
      problem: problem, gradient: gradients.gradientForm, reference: reference,
      errors: GammaErrorEstimate(gradients))
    if options.perLayer {
      scorer.layers = LayerScorer(
        problem: problem, gradient: gradients.gradient, gammaOfReference: reference?.record.gamma,
        errors: scorer.errors)
    }
    if let reference {
      scorer.score(
        reference: reference.direction(.ng), seconds: seconds,
        exact: reference.isInDouble || reference.record.replacement != nil
          ? reference.record.gamma : nil)
    }
    return scorer
  }

  /// The directions of all methods, unscored: per-sample gradients, Gram matrices, solves.
  func unscored() throws -> [Direction<S>] {
    let gradients = makeGradients()
    let solver = try makeSolver()
    let sgd =
      options.methods.contains(.sgd) ? [gradients.gradientDirection] : []
    return try sgd + found(gradients, solver, userDirections()).map(\.direction)
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

  private func makeGradients() -> BatchGradients<S> {
    BatchGradients(
      problem.linearization, problem.output, sampled: draws(),
      dropDuplicates: options.dropDuplicates, isSolved: options.needsGramMatrix)
  }

  private func prediction(_ gradients: BatchGradients<S>) -> PhasePrediction {
    let linearization = problem.linearization
    return PhasePrediction(
      ProductCounts(
        linearization.program, samples: linearization.samples, scalar: MemoryLayout<S>.stride),
      methods: options.methods, dampings: options.dampings.count, draws: gradients.draws,
      usesCombinations: gradients.usesCombinations, isSolved: options.needsGramMatrix)
  }

  /// The directions of all methods but the gradient's.
  private func found(
    _ gradients: BatchGradients<S>, _ solver: BatchReference<S>,
    _ updates: [String: DirectionForm<S>]
  ) throws -> [FoundDirection<S>] {
    let clock = ContinuousClock()
    let methods = MethodDirections(
      options: options, problem: problem, gradients: gradients, solver: solver,
      updates: updates)
    var found: [FoundDirection<S>] = []
    for method in options.methods where method != .sgd && !method.isTruncated {
      for draws in method.isSampled ? drawCounts : [nil] {
        let start = clock.now
        let directions = try methods.directions(method, draws: draws)
        let share = (clock.now - start).seconds / Double(max(directions.count, 1))
        found += directions.map { FoundDirection(direction: $0, seconds: share, draws: draws) }
      }
    }
    return try found + methods.truncated()
  }

  /// Monte-Carlo labels: the file's, or drawn; as many as the method that asks for most.
  private func draws() -> [LogitGradient] {
    guard options.methods.contains(where: \.isSampled) else { return [] }
    let count = drawCounts.reduce(0) { max($0, $1 ?? 0) }
    let stored = problem.storedDraws
    if stored.isEmpty {
      return problem.output.sampledGradients(draws: count, seed: options.seed, batch: batch)
    }
    // As many as there are at the most: `BatchSource` has seen to that.
    return Array(stored.prefix(count))
  }

  /// Draws per sample of the methods that draw; fewer are the first of more.
  private var drawCounts: [Int?] {
    if !options.monteCarloSamples.isEmpty { return options.monteCarloSamples }
    return [max(problem.storedDraws.count, 1)]
  }
}

/// Turns directions into scores, relative to the gradient's and the reference's.
struct DirectionScorer<S: EngineScalar> {
  let problem: BatchProblem<S>
  let gradient: DirectionForm<S>
  let reference: ReferenceSolution<S>?
  let errors: GammaErrorEstimate
  let normOfGradient: Double
  private let normOfReference: Double
  private var gammaOfReference: Double?
  private var gammaOfGradient: Double?
  /// J times the unscaled reference, where inner products with it are taken in logit space.
  private var tangentOfReference: Vector<Double>?
  private var rows: [(method: Method, score: Score)] = []
  /// Of the directions of the last call, the one with the least gamma, if that is below the reference's.
  private(set) var better: (place: Int, gamma: Double)?
  /// Whether some direction is missing for want of range in S.
  private(set) var overflowsInEngine = false
  /// Scores layer by layer, where they are asked for.
  var layers: LayerScorer<S>?

  init(
    problem: BatchProblem<S>, gradient: DirectionForm<S>, reference: ReferenceSolution<S>?,
    errors: GammaErrorEstimate
  ) {
    self.problem = problem
    self.gradient = gradient
    self.errors = errors
    self.reference = reference
    normOfGradient = problem.norm(gradient)
    normOfReference = reference.map { problem.norm($0.form) } ?? .nan
  }

  /// - Parameter listsGradient: Whether the gradient's own score is asked for.
  mutating func score(_ found: [FoundDirection<S>], listsGradient: Bool) {
    let clock = ContinuousClock()
    let start = clock.now
    let halves = halves(found.map(\.direction))
    let share = (clock.now - start).seconds / Double(max(found.count, 1))
    for (place, (item, halves)) in zip(found, halves).enumerated() {
      let direction = item.direction
      let gamma = direction.overflows ? .nan : halves.unscaled.gamma
      if beatsReference(gamma), !(better.map { $0.gamma <= gamma } ?? false) {
        better = (place, gamma)
      }
      if direction.method == .sgd { gammaOfGradient = gamma }
      guard direction.method != .sgd || listsGradient else { continue }
      append(
        direction, halves, gamma: gamma, seconds: item.seconds + share, draws: item.draws)
    }
  }

  /// Whether a row has a gamma that is lower than the reference's by more than rounding, and that the
  /// certificate allows.
  private func beatsReference(_ gamma: Double) -> Bool {
    guard let reference, gamma.isFinite else { return false }
    let rounding = 16 * Double(S.ulpOfOne)
    if gamma < problem.output.gammaBound * (1 - rounding) { return false }
    // Against an exact solution it is the row that is off.
    let slack = reference.record.status == .exact ? max(1e-3, rounding) : rounding
    return !(reference.record.gamma * (1 - slack) <= gamma)
  }

  /// The reference, to which other scores are relative.
  ///
  /// - Parameter exact: gamma from a solver that works in higher precision than the engine, or of the
  ///   row that is the reference.
  mutating func score(reference direction: Direction<S>, seconds: Double, exact: Double?) {
    let clock = ContinuousClock()
    let start = clock.now
    let halves = problem.quadratics([direction.form], keepsTangents: true)[0]
    tangentOfReference = halves.tangent
    let gamma = direction.overflows ? .nan : exact ?? halves.unscaled.gamma
    gammaOfReference = gamma
    append(
      direction, halves, gamma: gamma, seconds: seconds + (clock.now - start).seconds, draws: nil,
      unitRoundoff: exact == nil ? S.unitRoundoff : Double.unitRoundoff)
  }

  /// J d of explicit directions is kept where the reference is a combination.
  private func halves(_ directions: [Direction<S>]) -> [BatchProblem<S>.Halves] {
    var keeps = false
    if case .combination? = reference?.form { keeps = true }
    return problem.quadratics(directions.map(\.form), keepsTangents: keeps)
  }

  private mutating func append(
    _ direction: Direction<S>, _ halves: BatchProblem<S>.Halves, gamma: Double, seconds: Double,
    draws: Int?, unitRoundoff: Double = S.unitRoundoff
  ) {
    if direction.overflowsInEngine { overflowsInEngine = true }
    let norm = problem.norm(direction.form)
    layers?.score(direction, draws: draws, norm: norm, unitRoundoff: unitRoundoff)
    rows.append(
      (
        direction.method,
        Score(
          method: direction.method.name, damping: direction.damping?.text,
          lambda: direction.lambda, gamma: gamma,
          gammaRelativeToReference: gammaOfReference.flatMap {
            number(gammaRelative(gamma, to: $0))
          },
          efficiency: gammaOfReference.flatMap {
            number(efficiency(gamma: gamma, reference: $0))
          },
          efficiencyLow: efficiencyLow(gamma: gamma, bound: problem.output.gammaBound),
          fisherQuadratic: direction.overflows ? .nan : halves.fisherQuadratic,
          gradientDot: direction.overflows ? .nan : halves.gradientDot,
          updateNorm: direction.overflows ? .nan : norm,
          cosineGradient: cosineGradient(direction.form, norm, halves) ?? .nan,
          cosineReference: cosineReference(direction.form, norm, halves), seconds: seconds,
          gammaError: gamma.isNaN
            ? nil
            : errors.error(
              halves.sensitivity, norm: norm / direction.form.scale,
              relativeError: direction.relativeError, unitRoundoff: unitRoundoff),
          defect: defect(gamma, direction, halves),
          monteCarloSamples: draws)
      ))
  }

  /// Why there is no gamma, of several reasons the one that explains all rows.
  private func defect(
    _ gamma: Double, _ direction: Direction<S>, _ halves: BatchProblem<S>.Halves
  ) -> Indicator.Defect? {
    if !gamma.isNaN { return nil }
    if normOfGradient == 0 { return .zeroGradient }
    return direction.overflows ? .overflow : halves.unscaled.defect ?? .underflow
  }

  // MARK: - Cosines

  private func cosineGradient(
    _ direction: DirectionForm<S>, _ norm: Double, _ halves: BatchProblem<S>.Halves
  ) -> Double? {
    let norms = norm / direction.scale * (normOfGradient / gradient.scale)
    // Where one of them is a combination, d^T g is one of the halves.
    let dot =
      problem.dot(direction, gradient) ?? halves.unscaled.gradientDot / gradient.scale
    return norms > 0 ? cosine(dot / norms) : nil
  }

  /// `<J^T y, x> = y . J x` where one of the two is a combination.
  private func cosineReference(
    _ direction: DirectionForm<S>, _ norm: Double, _ halves: BatchProblem<S>.Halves
  ) -> Double? {
    guard let reference else { return nil }
    let dot: Double
    switch (direction, reference.form) {
    case (.combination(let d), _):
      guard let q = tangentOfReference else { return nil }
      dot = VectorOperations<Double>.dot(d.cotangent, q)
    case (_, .combination(let x)):
      guard let q = halves.tangent else { return nil }
      dot = VectorOperations<Double>.dot(x.cotangent, q)
    case (let d, let x): dot = problem.dot(d, x) ?? .nan
    }
    let norms = norm / direction.scale * (normOfReference / reference.form.scale)
    return norms > 0 ? cosine(dot / norms) : nil
  }

  /// Numerator and denominator come from different sums, whose rounding may carry the ratio past 1.
  private func cosine(_ ratio: Double) -> Double { min(max(ratio, -1), 1) }

  /// In the order of the methods, dampings as given, the reference last.
  func scores(order: [Method]) -> [Score] {
    let isReference = { (row: (method: Method, score: Score)) in
      row.method == .ng && row.score.damping == nil
    }
    var ordered: [Score] = []
    for method in order {
      ordered += rows.filter { $0.method == method && !isReference($0) }.map(\.score)
    }
    ordered += rows.filter(isReference).map(\.score)
    return ordered.map { score in
      var score = score
      score.gammaRelativeToSGD = gammaOfGradient.flatMap {
        number(gammaRelative(score.gamma, to: $0))
      }
      return score
    }
  }

  /// What relates to a gamma that does not exist stays empty.
  private func number(_ ratio: Double) -> Double? { ratio.isNaN ? nil : ratio }
}

extension Duration {
  var seconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
