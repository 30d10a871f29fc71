import TensorModule

/// Matrices in coordinates, with the way back.
struct ReducedMatrices {
  let matrices: GradientMatrices
  /// `[k, rows]` and `[l, columns]`; `nil` is the identity.
  let left: Vector<Double>?
  let right: Vector<Double>?
  /// Of the weight.
  let rows: Int
  let columns: Int

  /// `left^T x right` for coordinates x `[k, l]`.
  func expanded(_ x: Vector<Double>) -> Vector<Double> {
    let (k, l) = (matrices.rows, matrices.columns)
    var wide = x
    if let right {
      wide = Vector(count: k * columns)
      BLAS.gemm(
        m: k, n: columns, k: l, x.pointer, lda: l, right.pointer, ldb: columns, wide.pointer,
        ldc: columns)
    }
    guard let left else { return wide }
    let result = Vector<Double>(count: rows * columns)
    BLAS.gemm(
      transposeA: true, m: rows, n: columns, k: k, left.pointer, lda: rows, wide.pointer,
      ldb: columns, result.pointer, ldc: columns)
    return result
  }
}
