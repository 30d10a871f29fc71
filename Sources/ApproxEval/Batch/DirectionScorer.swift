import Curvature
import Metrics
import TensorModule
import Updates

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
  private var rows: [Score] = []
  /// Of the directions of the last call, the one with the least gamma, if that is below the reference's.
  private(set) var better: (place: Int, gamma: Double)?
  /// Whether some direction is missing for want of range in S.
  private(set) var overflowsInEngine = false
  /// Whether rounding alone may have moved some gamma by more than is marked: more digits would help.
  private(set) var isMarkedByRounding = false
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
    let listed = found.indices.filter { found[$0].role != .baseline || listsGradient }
    let within = scoreLayers(listed.map { found[$0] }, listed.map { halves[$0] })
    var rest = within[...]
    let share = (clock.now - start).seconds / Double(max(found.count, 1))
    for (place, (item, halves)) in zip(found, halves).enumerated() {
      let direction = item.direction
      let gamma = direction.overflows ? .nan : halves.unscaled.gamma
      if beatsReference(gamma), !(better.map { $0.gamma <= gamma } ?? false) {
        better = (place, gamma)
      }
      if item.role == .baseline { gammaOfGradient = gamma }
      guard item.role != .baseline || listsGradient else { continue }
      append(
        item, halves, gamma: gamma, within: rest.popFirst(), seconds: item.seconds + share)
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
  /// - Parameters:
  ///   - exact: gamma from a solver that works in higher precision than the engine, or of the
  ///     row that is the reference.
  ///   - known: Its halves with the tangent, where the solver has formed them.
  mutating func score(
    reference direction: Direction<S>, known: BatchProblem<S>.Halves?, seconds: Double,
    exact: Double?
  ) {
    let clock = ContinuousClock()
    let start = clock.now
    let halves = known ?? problem.quadratics([direction.form], keepsTangents: true)[0]
    tangentOfReference = halves.tangent
    let gamma = direction.overflows ? .nan : exact ?? halves.unscaled.gamma
    gammaOfReference = gamma
    let unitRoundoff = exact == nil ? S.unitRoundoff : Double.unitRoundoff
    let found = FoundDirection(method: .ng, role: .reference, direction: direction)
    append(
      found, halves, gamma: gamma,
      within: scoreLayers([found], [halves], unitRoundoff: unitRoundoff).first,
      seconds: seconds + (clock.now - start).seconds, unitRoundoff: unitRoundoff)
  }

  /// Layer by layer, where that is asked for: the shares of `d^T F d` within layers.
  private mutating func scoreLayers(
    _ found: [FoundDirection<S>], _ halves: [BatchProblem<S>.Halves],
    unitRoundoff: Double = S.unitRoundoff
  ) -> [Double] {
    if layers == nil { return [] }
    let wholes = zip(found, halves).map { item, halves in
      let form = item.direction.form
      return (problem.norm(form) / form.scale, halves.unscaled.fisherQuadratic)
    }
    return layers!.score(found, wholes: wholes, unitRoundoff: unitRoundoff)
  }

  /// J d of explicit directions is kept where the reference is a combination.
  private func halves(_ directions: [Direction<S>]) -> [BatchProblem<S>.Halves] {
    var keeps = false
    if case .combination? = reference?.form { keeps = true }
    return problem.quadratics(directions.map(\.form), keepsTangents: keeps)
  }

  private mutating func append(
    _ found: FoundDirection<S>, _ halves: BatchProblem<S>.Halves, gamma: Double, within: Double?,
    seconds: Double, unitRoundoff: Double = S.unitRoundoff
  ) {
    let direction = found.direction
    if direction.overflowsInEngine { overflowsInEngine = true }
    let norm = problem.norm(direction.form)
    let rounding = errors.error(
      halves.sensitivity, norm: norm / direction.form.scale,
      relativeError: direction.relativeError, response: direction.response,
      unitRoundoff: unitRoundoff)
    if !gamma.isNaN && !(rounding <= GammaErrorEstimate.limit) { isMarkedByRounding = true }
    let quadratic = halves.unscaled.fisherQuadratic
    // Of numbers whose squares may leave their range.
    let length = norm / direction.form.scale
    let sharpness = direction.overflows || !(length > 0) ? nil : number(quadratic / length / length)
    rows.append(
      Score(
        method: found.method.name, family: found.method.family, role: found.role,
        damping: direction.damping?.text, lambda: direction.lambda, gamma: gamma,
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
        gammaError: gamma.isNaN ? nil : rounding + missing(direction, halves),
        defect: defect(gamma, direction, halves), monteCarloSamples: found.draws,
        sharpness: sharpness, withinLayers: within.flatMap(number), solves: direction.solves))
  }

  /// What iterations that have left out e of d may have moved gamma by: `|e|_F / |d|_F` to first order, as F
  /// couples the blocks, each of which e is orthogonal to in its own metric.
  private func missing(_ direction: Direction<S>, _ halves: BatchProblem<S>.Halves) -> Double {
    if direction.missing == 0 { return 0 }
    let share = direction.missing / halves.unscaled.fisherQuadratic.squareRoot()
    return share.isNaN ? .infinity : share + share * share
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
      dot = problem.linearization.dot(d.cotangent, q)
    case (_, .combination(let x)):
      guard let q = halves.tangent else { return nil }
      dot = problem.linearization.dot(x.cotangent, q)
    case (let d, let x): dot = problem.dot(d, x) ?? .nan
    }
    let norms = norm / direction.scale * (normOfReference / reference.form.scale)
    return norms > 0 ? cosine(dot / norms) : nil
  }

  /// Numerator and denominator come from different sums, whose rounding may carry the ratio past 1.
  private func cosine(_ ratio: Double) -> Double { min(max(ratio, -1), 1) }

  /// In the order of the methods, dampings as given, the reference last.
  func scores(order: [UpdateMethod]) -> [Score] {
    rows.ordered(by: order).map { score in
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
