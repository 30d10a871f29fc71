import Curvature
import TensorModule

/// Sampled Fisher (SF, Eqn 47-49): `d = g - Ghat^T (Ghat Ghat^T + lambda I)^-1 Ghat g`, Ghat the
/// gradients of k sampled labels per sample divided by sqrt(k). The factor 1/lambda of the
/// Woodbury identity is left out: only the direction matters.
///
/// d is a weighted sum of true and sampled per-sample gradients. For tiny lambda it cancels.
/// `Ghat g` and the solve are in double and from the Gram matrix of the very rows that are summed,
/// so the weights are right for these rows; where they cancel, the sum is in double too. With at
/// least as many sampled gradients as parameters nothing but lambda may be left of g; then
/// `lambda (Ghat^T Ghat + lambda I)^-1 g` is formed as it stands, where nothing cancels.
package enum SampledFisher {
  package static func directions<S: EngineScalar>(
    _ gradients: BatchGradients<S>, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    if gradients.draws * gradients.samples >= gradients.linearization.parameterCount {
      return try directionsByParameters(gradients, dampings: dampings)
    }
    let solver = try gradients.solverOfSampled(for: dampings)
    let target = gradients.sampledDotGradient
    let root = Double(gradients.draws).squareRoot()
    let ones = [Double](repeating: 1, count: gradients.samples)
    return dampings.map { damping in
      let lambda = gradients.sampledLambda(damping)
      let weights = ones + solver.solve(target, lambda: lambda.scaled).map { -$0 / root }
      // A tenth left costs one digit.
      let cancels = gradients.norm(of: weights) < 0.1 * gradients.norm(of: ones)
      return Direction(
        method: .sf, damping: damping, lambda: lambda.value,
        form: gradients.form(of: weights, cancels: cancels),
        isBelowRounding: solver.isBelowRounding(lambda.scaled))
    }
  }

  /// From `Ghat = U S V^T`, `[k N, P]` with `k N >= P`: `d = V lambda (S^2 + lambda)^-1 V^T g`.
  ///
  /// Without damping it is the limit in direction: `Ghat^T Ghat` inverted where it is regular, what
  /// g has outside of the span of its rows where it is not.
  private static func directionsByParameters<S: EngineScalar>(
    _ gradients: BatchGradients<S>, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let parameters = gradients.linearization.parameterCount
    let rows = gradients.draws * gradients.samples
    let root = Double(gradients.draws).squareRoot()
    let matrix = Vector<Double>(count: rows * parameters)
    let leftOut = gradients.sampledLeftOut
    for row in 0..<rows where !leftOut.contains(row) {
      gradients.perSample.row(gradients.samples + row, into: matrix.pointer + row * parameters)
    }
    // In units of the largest gradient, as the Gram matrix is: squares of 1e-160 are no numbers.
    for i in 0..<matrix.count { matrix.pointer[i] /= root * gradients.gram.unit }
    let factors = try LAPACK.singularValues(rows: rows, columns: parameters, matrix)
    let squares = factors.values.map { $0 * $0 }
    let precision = max(Double.ulpOfOne, Double(S.ulpOfOne) * Double(S.ulpOfOne))
    let roundingLevel = Double(rows) * precision * (squares.first ?? 0)
    let isRegular = (squares.last ?? 0) > roundingLevel

    let g = gradients.gradient.vector.array.map { Double($0) }
    var coordinates = g
    BLAS.gemm(
      m: parameters, n: 1, k: parameters, factors.rightTransposed.pointer, lda: parameters, g,
      ldb: 1, &coordinates, ldc: 1)
    return dampings.map { damping in
      let (value, lambda) = gradients.sampledLambda(damping)
      let weighted = zip(coordinates, squares).map { coordinate, square in
        if lambda > 0 { return coordinate * (lambda / (square + lambda)) }
        if isRegular { return coordinate / square }
        return square > roundingLevel ? 0 : coordinate
      }
      var d = g
      BLAS.gemm(
        transposeA: true, m: parameters, n: 1, k: parameters, factors.rightTransposed.pointer,
        lda: parameters, weighted, ldb: 1, &d, ldc: 1)
      // The reciprocal of a smaller one is no number.
      let unit = max(
        powerOfTwo(near: d.reduce(0) { max($0, abs($1)) }), .leastNormalMagnitude)
      return Direction(
        method: .sf, damping: damping, lambda: value,
        scaled: ScaledVector(
          vector: Vector(d.map { S($0 / unit) }), scale: unit * gradients.gradient.scale),
        isBelowRounding: !isRegular && lambda <= roundingLevel)
    }
  }
}
