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
      problem: problem, gradient: gradients.gradient, reference: reference)
    if let reference {
      scorer.add(
        [Direction(method: .ng, scaled: reference.direction)], seconds: referenceSeconds,
        exact: reference.record.kind == .dense ? reference.record.gamma : nil)
    }
    // The gradient comes first: other scores are relative to it.
    let sgd = Direction(method: .sgd, scaled: gradients.gradient)
    scorer.add([sgd], seconds: 0, isListed: options.methods.contains(.sgd))
    for method in options.methods where method != .sgd {
      let directionStart = clock.now
      let directions = try directions(method, gradients, dense)
      scorer.add(directions, seconds: (clock.now - directionStart).seconds)
    }
    scorer.finish()
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
      seconds: (clock.now - start).seconds)
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

  private func directions(
    _ method: Method, _ gradients: BatchGradients<S>, _ dense: DenseReference?
  ) throws -> [Direction<S>] {
    switch method {
    case .sgd: return [Direction(method: .sgd, scaled: gradients.gradient)]
    case .ef, .ief:
      return try EmpiricalFisher.directions(
        gradients, method: method, dampings: options.dampings)
    case .sf: return try SampledFisher.directions(gradients, dampings: options.dampings)
    case .ng, .gn:
      return try options.dampings.map { damping in
        let lambda = gradients.lambda(damping).value
        let solution =
          if let dense, method == .ng {
            try dense.solve(damping: lambda, S.self)
          } else {
            try ReferenceSolver(options).conjugateGradient(
              problem, gradient: gradients.gradient,
              metric: method == .ng ? .fisher : .identity, damping: lambda)
          }
        return Direction(
          method: method, damping: damping, lambda: lambda, scaled: solution.direction)
      }
    case .update(let name): return [Direction(method: method, scaled: updates[name]!)]
    }
  }
}

/// Turns directions into scores, relative to the gradient's and the reference's. Directions wait
/// for others to share a stacked jvp with, as long as all of them fit into a quarter of a gigabyte.
struct DirectionScorer<S: EngineScalar> {
  let problem: BatchProblem<S>
  let gradient: ScaledVector<S>
  let reference: ReferenceSolution<S>?
  private var gammaOfReference: Double?
  private var gammaOfGradient: Double?
  private var rows: [(method: Method, score: Score)] = []
  private var waiting: [Entry] = []

  private struct Entry {
    let direction: Direction<S>
    let seconds: Double
    let exact: Double?
    let isListed: Bool
  }

  init(
    problem: BatchProblem<S>, gradient: ScaledVector<S>, reference: ReferenceSolution<S>?
  ) {
    self.problem = problem
    self.gradient = gradient
    self.reference = reference
  }

  /// - Parameters:
  ///   - seconds: What it took to find the directions together.
  ///   - exact: gamma from a solver that works in higher precision than the engine.
  mutating func add(
    _ directions: [Direction<S>], seconds: Double, exact: Double? = nil, isListed: Bool = true
  ) {
    for direction in directions {
      waiting.append(
        Entry(
          direction: direction, seconds: seconds / Double(directions.count), exact: exact,
          isListed: isListed))
      let bytes = problem.linearization.parameterCount * MemoryLayout<S>.stride
      if (waiting.count + 1) * bytes > 1 << 28 { finish() }
    }
  }

  /// Scores the directions that wait.
  mutating func finish() {
    let entries = waiting
    waiting = []
    let clock = ContinuousClock()
    let start = clock.now
    let halves = problem.quadratics(entries.map(\.direction.scaled))
    let share = (clock.now - start).seconds / Double(max(entries.count, 1))
    for (entry, halves) in zip(entries, halves) {
      let direction = entry.direction
      let gamma = entry.exact ?? halves.unscaled.gamma
      if direction.method == .ng && direction.damping == nil { gammaOfReference = gamma }
      if direction.method == .sgd { gammaOfGradient = gamma }
      guard entry.isListed else { continue }
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
            }, seconds: entry.seconds + share, isBelowRounding: direction.isBelowRounding,
            defect: gamma.isNaN ? halves.unscaled.defect ?? .underflow : nil)
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

  /// What relates to a gamma that does not exist stays empty.
  private func number(_ ratio: Double) -> Double? { ratio.isNaN ? nil : ratio }
}

extension Duration {
  var seconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
