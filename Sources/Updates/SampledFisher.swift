import Curvature
import TensorModule

extension UpdateMethod {
  /// Sampled Fisher with Monte-Carlo labels (Eqn 47-49).
  public static let sf = UpdateMethod(
    "sf",
    "sampled Fisher, `(Ĝᵀ Ĝ + λ I)⁻¹ g`, Ĝ from k labels drawn per sample, divided by √k",
    MethodNeeds(
      isDamped: true, sampledLabels: .init(trueLabelMethod: "ef"), gram: .whole, isWeightedSum: true
    ),
    SampledFisher())
}

/// Sampled Fisher (SF, Eqn 47-49): `d = g - Ghat^T (Ghat Ghat^T + lambda I)^-1 Ghat g`, Ghat the
/// gradients of k sampled labels per sample divided by sqrt(k). The factor 1/lambda of the
/// Woodbury identity is left out: only the direction matters.
///
/// d is a weighted sum of true and sampled per-sample gradients. For tiny lambda it cancels.
/// `Ghat g` and the solve are in double and from the Gram matrix of the very rows that are summed,
/// so the weights are right for these rows; where they cancel, the sum is in double too. With at
/// least as many sampled gradients as parameters nothing but lambda may be left of g; then
/// `lambda (Ghat^T Ghat + lambda I)^-1 g` is formed as it stands, where nothing cancels.
private struct SampledFisher: DirectionRule {
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    if gradients.draws * gradients.samples >= gradients.linearization.parameterCount {
      return try directionsByParameters(gradients, dampings: dampings)
    }
    let solver = try gradients.solverOfSampled(for: dampings)
    let target = gradients.sampledDotGradient
    let root = Double(gradients.draws).squareRoot()
    let ones = [Double](repeating: 1, count: gradients.samples)
    let errors = gradients.rowErrors
    let sampledErrors = errors[gradients.samples...].map { $0 / root }
    return dampings.map { damping in
      let lambda = gradients.sampledLambda(damping)
      let solution = solver.solve(target, lambda: lambda.scaled)
      var weights = ones + solution.map { -$0 / root }
      var (form, norm) = gradients.direction(of: weights)
      if lambda.scaled == 0
        && norm <= gradients.noise(of: weights) + solver.noise(solution, lambda: 0)
      {
        // Nothing of g lies outside of the span of Ghat: Ghat^T K^-2 Ghat g.
        weights = ones.map { _ in 0 } + solver.solve(solution, lambda: 0).map { $0 / root }
        (form, norm) = gradients.direction(of: weights)
      }
      let merged = gradients.merged(weights)
      let moved = gradients.linearization.schedule.sum(rows: merged.indices) {
        (merged[$0] * errors[$0]) * (merged[$0] * errors[$0])
      }
      let first = moved.squareRoot() * solver.share(lambda: lambda.scaled)
      let second = solver.amplified(
        zip(sampledErrors, solver.roundings(of: solution)).map { euclidean($0 * norm, $1) },
        lambda: lambda.scaled)
      return Direction(
        damping: damping, lambda: lambda.value, form: form,
        relativeError: (first * first + second * second).squareRoot() / norm)
    }
  }

  /// From `Ghat = U S V^T`, `[k N, P]` with `k N >= P`: `d = V lambda (S^2 + lambda)^-1 V^T g`.
  ///
  /// Without damping it is the limit in direction: what g has outside of the span of the rows, or,
  /// where that is nothing but rounding, `Ghat^T Ghat` inverted on that span.
  private func directionsByParameters<S: EngineScalar>(
    _ gradients: BatchGradients<S>, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let parameters = gradients.linearization.parameterCount
    let (samples, unit) = (gradients.samples, gradients.gram.unit)
    let rows = gradients.draws * samples
    let root = Double(gradients.draws).squareRoot()
    // In units of the largest gradient, as the Gram matrix is: squares of 1e-160 are no numbers.
    let matrix = Vector<Double>(count: rows * parameters)
    let leftOut = gradients.sampledLeftOut
    for row in 0..<rows where !leftOut.contains(row) {
      gradients.perSample.row(samples + row, into: matrix.pointer + row * parameters)
    }
    for i in 0..<matrix.count { matrix.pointer[i] /= root * unit }
    // From rows written out alike: rounded otherwise it would leave the span that it may lie in.
    var g = [Double](repeating: 0, count: parameters)
    let own = Vector<Double>(count: parameters)
    for row in 0..<samples {
      gradients.perSample.row(row, into: own.pointer)
      for i in 0..<parameters { g[i] += own.pointer[i] / unit }
    }
    let errors = gradients.rowErrors
    let spectrum = try SampledSpectrum(
      columns: parameters, matrix, gradient: g, precision: Double(S.ulpOfOne),
      rowErrors: errors[samples...].map { $0 / root },
      gradientError: gradients.gradientError,
      noise: gradients.noise(of: (0..<samples + rows).map { $0 < samples ? 1 : 0 }))
    return dampings.map { damping in
      let (value, lambda) = gradients.sampledLambda(damping)
      let (d, error) = spectrum.solve(
        lambda == 0 && spectrum.spansGradient ? .solution : .timesLambda, lambda: lambda)
      // The reciprocal of a smaller one is no number.
      let size = max(
        powerOfTwo(near: d.reduce(0) { max($0, abs($1)) }), .leastNormalMagnitude)
      return Direction(
        damping: damping, lambda: value,
        scaled: ScaledVector(vector: Vector(d.map { S($0 / size) }), scale: size * unit),
        relativeError: error)
    }
  }
}
