import Checkpoints
import Curvature
import Metrics
import TensorModule
import Updates

/// Algorithm 4 on one batch: every update, the reference, every indicator.
struct BatchEvaluation<S: EngineScalar> {
  let options: EvaluationOptions
  let checkpoint: LoadedCheckpoint
  let problem: BatchProblem<S>
  let batch: Int
  /// The same batch in double, made when the dense reference asks for it.
  let doubleProblem: () throws -> BatchProblem<Double>
  let updates: [String: ScaledVector<S>]

  func run() throws -> BatchResult {
    let clock = ContinuousClock()
    let start = clock.now
    let gradients = BatchGradients(
      problem.linearization, problem.output, sampled: draws(),
      dropDuplicates: options.dropDuplicates)
    let referenceStart = clock.now
    let solver = try BatchReference(
      problem, batch: batch, options: options, doubleProblem: doubleProblem)
    let reference = try solver.solve(gradients)
    let referenceSeconds = (clock.now - referenceStart).seconds

    var scorer = DirectionScorer(
      problem: problem, gradient: gradients.gradientForm, reference: reference)
    if let reference {
      scorer.score(
        reference: Direction(method: .ng, form: reference.form), seconds: referenceSeconds,
        exact: reference.isInDouble ? reference.record.gamma : nil)
    }
    // All directions share their jvps. The gradient comes first: other scores are relative to it.
    var all = [Direction(method: .sgd, form: gradients.gradientForm)]
    var seconds = [0.0]
    for method in options.methods where method != .sgd {
      let directionStart = clock.now
      let found = try directions(method, gradients, solver)
      let share = (clock.now - directionStart).seconds / Double(max(found.count, 1))
      all += found
      seconds += found.map { _ in share }
    }
    scorer.score(all, seconds: seconds, listsGradient: options.methods.contains(.sgd))
    return BatchResult(
      checkpoint: checkpoint.path, epoch: checkpoint.source.epoch, step: checkpoint.source.step,
      batch: batch, samples: problem.linearization.samples,
      recomputedSamples: problem.linearization.samples - problem.linearization.keptSamples,
      loss: problem.output.totalLoss,
      gradientNorm: problem.norm(gradients.gradientForm),
      gradientNormRatio: imbalance(gradients.norms),
      logitGradientNormRatio: imbalance(problem.output.gradientNorms),
      gammaBound: problem.output.gammaBound, reference: reference?.record,
      trace: reference?.trace ?? [], scores: scorer.scores(order: options.methods),
      seconds: (clock.now - start).seconds)
  }

  /// The directions of all methods, unscored: per-sample gradients, Gram matrices, solves.
  func unscored() throws -> [Direction<S>] {
    let gradients = BatchGradients(
      problem.linearization, problem.output, sampled: draws(),
      dropDuplicates: options.dropDuplicates)
    let solver = try BatchReference(
      problem, batch: batch, options: options, doubleProblem: doubleProblem)
    return try options.methods.flatMap { try directions($0, gradients, solver) }
  }

  /// Monte-Carlo labels: the file's, or drawn.
  private func draws() -> [LogitGradient] {
    guard options.methods.contains(.sf) else { return [] }
    let stored = problem.storedDraws
    if stored.isEmpty {
      return problem.output.sampledGradients(
        draws: options.monteCarloSamples ?? 1, seed: options.seed, batch: batch)
    }
    // As many as there are at the most: `BatchSource` has seen to that.
    return Array(stored.prefix(options.monteCarloSamples ?? stored.count))
  }

  private func directions(
    _ method: Method, _ gradients: BatchGradients<S>, _ solver: BatchReference<S>
  ) throws -> [Direction<S>] {
    switch method {
    case .sgd: return [Direction(method: .sgd, form: gradients.gradientForm)]
    case .ef, .ief:
      return try EmpiricalFisher.directions(
        gradients, method: method, dampings: options.dampings)
    case .sf: return try SampledFisher.directions(gradients, dampings: options.dampings)
    case .ng, .gn:
      return try options.dampings.map { damping in
        let lambda = gradients.lambda(damping).value
        let solution = try solver.solve(
          gradients, damping: lambda, metric: method == .ng ? .fisher : .identity)
        return Direction(
          method: method, damping: damping, lambda: lambda, form: solution.form)
      }
    case .update(let name): return [Direction(method: method, scaled: updates[name]!)]
    }
  }
}

/// Turns directions into scores, relative to the gradient's and the reference's.
struct DirectionScorer<S: EngineScalar> {
  let problem: BatchProblem<S>
  let gradient: DirectionForm<S>
  let reference: ReferenceSolution<S>?
  private var gammaOfReference: Double?
  private var gammaOfGradient: Double?
  /// J times the unscaled reference, where inner products with it are taken in logit space.
  private var tangentOfReference: Vector<Double>?
  private var rows: [(method: Method, score: Score)] = []

  init(
    problem: BatchProblem<S>, gradient: DirectionForm<S>, reference: ReferenceSolution<S>?
  ) {
    self.problem = problem
    self.gradient = gradient
    self.reference = reference
  }

  /// - Parameters:
  ///   - seconds: What it took to find each direction.
  ///   - listsGradient: Whether the gradient's own score is asked for.
  mutating func score(_ directions: [Direction<S>], seconds: [Double], listsGradient: Bool) {
    let clock = ContinuousClock()
    let start = clock.now
    let halves = halves(directions)
    let share = (clock.now - start).seconds / Double(max(directions.count, 1))
    for (i, direction) in directions.enumerated() {
      let gamma = halves[i].unscaled.gamma
      if direction.method == .sgd { gammaOfGradient = gamma }
      guard direction.method != .sgd || listsGradient else { continue }
      append(direction, halves[i], gamma: gamma, seconds: seconds[i] + share)
    }
  }

  /// The reference, to which other scores are relative.
  ///
  /// - Parameter exact: gamma from a solver that works in higher precision than the engine.
  mutating func score(reference direction: Direction<S>, seconds: Double, exact: Double?) {
    let clock = ContinuousClock()
    let start = clock.now
    let halves = problem.quadratics([direction.form], keepsTangents: true)[0]
    tangentOfReference = halves.tangent
    let gamma = exact ?? halves.unscaled.gamma
    gammaOfReference = gamma
    append(direction, halves, gamma: gamma, seconds: seconds + (clock.now - start).seconds)
  }

  /// J d of explicit directions is kept where the reference is a combination.
  private func halves(_ directions: [Direction<S>]) -> [BatchProblem<S>.Halves] {
    var keeps = false
    if case .combination? = reference?.form { keeps = true }
    return problem.quadratics(directions.map(\.form), keepsTangents: keeps)
  }

  private mutating func append(
    _ direction: Direction<S>, _ halves: BatchProblem<S>.Halves, gamma: Double, seconds: Double
  ) {
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
          fisherQuadratic: halves.fisherQuadratic, gradientDot: halves.gradientDot,
          updateNorm: problem.norm(direction.form),
          cosineGradient: cosineGradient(direction.form, halves) ?? .nan,
          cosineReference: cosineReference(direction.form, halves), seconds: seconds,
          isBelowRounding: direction.isBelowRounding,
          defect: gamma.isNaN ? halves.unscaled.defect ?? .underflow : nil)
      ))
  }

  // MARK: - Cosines

  private func cosineGradient(
    _ direction: DirectionForm<S>, _ halves: BatchProblem<S>.Halves
  ) -> Double? {
    if case (.explicit(let d), .explicit(let g)) = (direction, gradient) {
      return problem.cosine(d, g)
    }
    // d^T g is one of the halves.
    let norms = problem.norm(direction) * problem.norm(gradient)
    return norms > 0 ? cosine(halves.gradientDot / norms) : nil
  }

  /// `<J^T y, x> = y . J x` where one of the two is a combination.
  private func cosineReference(
    _ direction: DirectionForm<S>, _ halves: BatchProblem<S>.Halves
  ) -> Double? {
    guard let reference else { return nil }
    let dot: Double
    switch (direction, reference.form) {
    case (.explicit(let d), .explicit(let x)): return problem.cosine(d, x)
    case (.combination(let d), let x):
      guard let q = tangentOfReference else { return nil }
      dot = VectorOperations<Double>.dot(d.cotangent, q) * d.scale * x.scale
    case (.explicit(let d), .combination(let x)):
      guard let q = halves.tangent else { return nil }
      dot = VectorOperations<Double>.dot(x.cotangent, q) * d.scale * x.scale
    }
    let norms = problem.norm(direction) * problem.norm(reference.form)
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
