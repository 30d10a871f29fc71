import Curvature
import TensorModule

extension UpdateMethod {
  /// arXiv 2509.03378.
  public static let klShampoo = UpdateMethod(
    "kl-shampoo",
    "`S_a^(-1/2) G S_b^(-1/2)`, `S_a = mean_n G_n S_b⁻¹ G_nᵀ / d_b` and the reverse at "
      + "their fixed point; other tensors as `adam`",
    MethodNeeds(decomposition: .alternatingFactors, shares: .matrices),
    MatrixMethod(step: KLShampoo(), isDamped: false))
}

/// Shampoo with the Kronecker product that is nearest to the second moments of the gradients by the
/// Kullback-Leibler divergence (method.md 7), found by turns from `S_b = I`.
///
/// Where the gradients of the batch span less than all, inverses are those on what they span, and d is its
/// dimension: with the whole one the two equations would not have a common solution. The scales of S_a and
/// S_b follow from each other; their product, and the direction, do not depend on it.
private struct KLShampoo: MatrixStep {
  /// Turns at the most, and the change of S_a and S_b that is none.
  private static let mostTurns = 50
  private static let tolerance = 1e-12

  func form(_ role: WeightRole) -> StepForm {
    switch role {
    case .matrix(let rows, let columns), .head(let rows, let columns):
      .matrix(rows: rows, columns: columns)
    case .vector, .embedding:
      // S is of means, and g the sum.
      .elementwise(.init(power: .half, samplePower: 0.5))
    }
  }

  func steps(
    _ matrices: GradientMatrices, isVector: Bool, lambdas: [Double]
  ) throws(LinearAlgebraError) -> [Vector<Double>] {
    let (rows, columns) = (matrices.rows, matrices.columns)
    var (left, right) = try turn(matrices, right: nil)
    for _ in 1..<Self.mostTurns {
      let next = try turn(matrices, right: right)
      let change = distance(left, next.left)
      (left, right) = next
      if change <= Self.tolerance { break }
    }
    let half = product(left.power(-0.5), matrices.sum, rows, rows, columns)
    let result = product(half, right.power(-0.5), rows, columns, columns)
    return lambdas.map { _ in result }
  }

  /// S_a of S_b, which is the identity where there is none yet, and S_b of that.
  private func turn(
    _ matrices: GradientMatrices, right: PositiveSpectrum?
  ) throws(LinearAlgebraError) -> (left: PositiveSpectrum, right: PositiveSpectrum) {
    let left = try spectrum(matrices.transformed(right: right?.weightedBasis(-0.5)), .left)
    return (left, try spectrum(matrices.transformed(left: left.weightedBasis(-0.5)), .right))
  }

  /// Of the mean over the samples, divided by the dimension of the other side.
  private func spectrum(
    _ whitened: GradientMatrices, _ side: GradientMatrices.Side
  ) throws(LinearAlgebraError) -> PositiveSpectrum {
    let count = side == .left ? whitened.rows : whitened.columns
    let other = side == .left ? whitened.columns : whitened.rows
    let gram = whitened.gram(side)
    let factor = 1 / Double(whitened.samples * max(other, 1))
    Kernels.axpby(0, gram.pointer, factor, gram.pointer, count: gram.count)
    return try PositiveSpectrum(gram, count)
  }

  /// Between two eigenvalue lists, relative to the largest.
  private func distance(_ a: PositiveSpectrum, _ b: PositiveSpectrum) -> Double {
    guard a.values.count == b.values.count else { return .infinity }
    let largest = max(b.values.last ?? 0, .leastNormalMagnitude)
    return zip(a.values, b.values).reduce(0) { max($0, abs($1.0 - $1.1)) } / largest
  }
}
