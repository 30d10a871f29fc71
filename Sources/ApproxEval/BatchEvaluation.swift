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
    let dense =
      options.reference == .dense
      ? try DenseReference(doubleProblem(), memory: options.memory) : nil
    let referenceStart = clock.now
    let reference = try solveReference(gradients, dense)
    let referenceSeconds = (clock.now - referenceStart).seconds

    var scorer = DirectionScorer(
      problem: problem, gradient: gradients.gradient, reference: reference,
      perLayer: options.perLayer)
    if let reference {
      scorer.score(
        [Direction(method: .ng, scaled: reference.direction)], seconds: referenceSeconds,
        exact: reference.record.kind == .dense ? reference.record.gamma : nil)
    }
    // The gradient comes first: other scores are relative to it.
    let sgd = Direction(method: .sgd, scaled: gradients.gradient)
    scorer.score([sgd], seconds: 0, isListed: options.methods.contains(.sgd))
    let methods = MethodDirections(
      options: options, problem: problem, gradients: gradients, dense: dense, updates: updates)
    for method in options.methods where method != .sgd && !method.isTruncated {
      for draws in method.isSampled ? drawCounts : [nil] {
        let directionStart = clock.now
        let directions = try methods.directions(method, draws: draws)
        scorer.score(directions, seconds: (clock.now - directionStart).seconds, draws: draws)
      }
    }
    try methods.truncated { direction, seconds in scorer.score([direction], seconds: seconds) }
    return BatchResult(
      checkpoint: checkpoint.path, epoch: checkpoint.source.epoch, step: checkpoint.source.step,
      batch: batch, samples: problem.linearization.samples,
      recomputedSamples: problem.linearization.samples - problem.linearization.keptSamples,
      loss: problem.output.totalLoss,
      gradientNorm: problem.norm(gradients.gradient),
      gradientNormRatio: imbalance(gradients.norms),
      logitGradientNormRatio: imbalance(problem.output.gradientNorms),
      gammaBound: problem.output.gammaBound, reference: reference?.record,
      trace: reference?.trace ?? [], scores: scorer.scores(order: options.methods),
      layers: scorer.layerScores(order: options.methods), seconds: (clock.now - start).seconds)
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

  private func solveReference(
    _ gradients: BatchGradients<S>, _ dense: DenseReference?
  ) throws -> ReferenceSolution<S>? {
    switch options.reference {
    case .none: return nil
    case .dense: return try dense!.solve(damping: options.cgDamping, S.self)
    case .cg:
      return try ReferenceSolver(options).conjugateGradient(problem, gradient: gradients.gradient)
    }
  }
}

/// Turns directions into scores, relative to the gradient's and the reference's.
struct DirectionScorer<S: EngineScalar> {
  let problem: BatchProblem<S>
  let gradient: ScaledVector<S>
  let reference: ReferenceSolution<S>?
  private var gammaOfReference: Double?
  private var gammaOfGradient: Double?
  private var rows: [(method: Method, score: Score)] = []
  private var layers: LayerScorer<S>?

  init(
    problem: BatchProblem<S>, gradient: ScaledVector<S>, reference: ReferenceSolution<S>?,
    perLayer: Bool
  ) {
    self.problem = problem
    self.gradient = gradient
    self.reference = reference
    if perLayer {
      layers = LayerScorer(
        problem: problem, gradient: gradient, gammaOfReference: reference?.record.gamma)
    }
  }

  /// - Parameters:
  ///   - seconds: What it took to find the directions together.
  ///   - exact: gamma from a solver that works in higher precision than the engine.
  ///   - draws: Monte-Carlo labels per sample that went into them.
  mutating func score(
    _ directions: [Direction<S>], seconds: Double, exact: Double? = nil, isListed: Bool = true,
    draws: Int? = nil
  ) {
    let clock = ContinuousClock()
    let start = clock.now
    let halves = problem.quadratics(directions.map(\.scaled))
    let share = (seconds + (clock.now - start).seconds) / Double(max(directions.count, 1))
    if isListed { layers?.score(directions, draws: draws) }
    for (direction, halves) in zip(directions, halves) {
      let gamma = exact ?? halves.unscaled.gamma
      if direction.method == .ng && direction.damping == nil { gammaOfReference = gamma }
      if direction.method == .sgd { gammaOfGradient = gamma }
      guard isListed else { continue }
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
            updateNorm: problem.norm(direction.scaled),
            cosineGradient: problem.cosine(direction.scaled, gradient) ?? .nan,
            cosineReference: reference.flatMap {
              problem.cosine(direction.scaled, $0.direction)
            }, seconds: share, isBelowRounding: direction.isBelowRounding,
            defect: gamma.isNaN ? halves.unscaled.defect ?? .underflow : nil,
            monteCarloSamples: draws)
        ))
    }
  }

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

  /// In the same order, every direction layer by layer.
  func layerScores(order: [Method]) -> [LayerScore] { layers?.scores(order: order) ?? [] }

  /// What relates to a gamma that does not exist stays empty.
  private func number(_ ratio: Double) -> Double? { ratio.isNaN ? nil : ratio }
}

extension Duration {
  var seconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
