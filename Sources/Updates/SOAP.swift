import Curvature
import TensorModule

extension UpdateMethod {
  /// Vyas et al. 2024.
  public static let soap = UpdateMethod(
    "soap",
    "in the eigenbases of Shampoo's L and R: `G' / (√(Σ G_n'²) + λ)`, and back; other tensors "
      + "as `adam`",
    MethodNeeds(isDamped: true, decomposition: .factors, shares: .matrices),
    MatrixMethod(step: SOAP(), isDamped: true))
}

/// Adam in the eigenbases of Shampoo's statistics, those of the single samples of this batch (method.md 7).
/// Tensors of one axis and tables take the form of Adam, as with the authors' defaults.
private struct SOAP: MatrixStep {
  func form(_ role: WeightRole) -> StepForm {
    switch role {
    case .matrix(let rows, let columns), .head(let rows, let columns):
      .matrix(rows: rows, columns: columns)
    case .vector, .embedding: .elementwise(.init(power: .half))
    }
  }

  func steps(
    _ matrices: GradientMatrices, isVector: Bool, lambdas: [Double]
  ) throws(LinearAlgebraError) -> [Vector<Double>] {
    let left = try matrices.spectrum(.left)
    let right = try matrices.spectrum(.right)
    let (k, l) = (left.values.count, right.values.count)
    let rotated = matrices.transformed(left: (k, left.basis), right: (l, right.basis))
    let (sum, squares) = (rotated.sum, rotated.squares)
    // Coordinates that are zero in exact arithmetic are nothing but rounding.
    let level = matrices.level
    return lambdas.map { lambda in
      let scaled = Vector<Double>(count: sum.count)
      for i in 0..<sum.count {
        let root = squares[i].squareRoot()
        if root > level { scaled.pointer[i] = sum[i] / (root + lambda) }
      }
      return rotatedBack(scaled, left, right)
    }
  }
}

/// `Q_L^T x Q_R` for x in two eigenbases.
func rotatedBack(
  _ x: Vector<Double>, _ left: PositiveSpectrum, _ right: PositiveSpectrum
) -> Vector<Double> {
  let (k, l) = (left.values.count, right.values.count)
  let half = Vector<Double>(count: k * right.dimension)
  BLAS.gemm(
    m: k, n: right.dimension, k: l, x.pointer, lda: l, right.basis.pointer, ldb: right.dimension,
    half.pointer, ldc: right.dimension)
  let result = Vector<Double>(count: left.dimension * right.dimension)
  BLAS.gemm(
    transposeA: true, m: left.dimension, n: right.dimension, k: k, left.basis.pointer,
    lda: left.dimension, half.pointer, ldb: right.dimension, result.pointer, ldc: right.dimension)
  return result
}
