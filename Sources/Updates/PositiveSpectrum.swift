import TensorModule

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Eigenvalues and eigenvectors of a symmetric positive semi-definite matrix, those at the level of
/// rounding left out.
struct PositiveSpectrum {
  /// `[k]`
  let values: [Double]
  /// `[k, n]`: one eigenvector a row.
  let basis: Vector<Double>
  let dimension: Int

  /// What rounding leaves of an eigenvalue that is zero, beside the largest: of sums of products in double,
  /// and of the decomposition.
  static func level(_ n: Int) -> Double { 8 * Double(max(n, 16)) * .ulpOfOne }

  /// - Parameter matrix: `[n, n]`; it is destroyed.
  init(_ matrix: Vector<Double>, _ n: Int) throws(LinearAlgebraError) {
    let eigen = try LAPACK.symmetricEigen(n: n, matrix)
    let level = PositiveSpectrum.level(n) * max(eigen.values.last ?? 0, 0)
    let first = eigen.values.firstIndex { $0 > level } ?? n
    values = Array(eigen.values[first...])
    basis = Vector(count: (n - first) * n)
    Kernels.copy(eigen.vectors.pointer + first * n, basis.pointer, count: basis.count)
    dimension = n
  }

  /// `diag(values^power) basis`, `[k, n]`.
  func weightedBasis(_ power: Double) -> (count: Int, matrix: Vector<Double>) {
    let result = basis.copy()
    for (i, value) in values.enumerated() {
      let row = result.pointer + i * dimension
      Kernels.axpby(0, row, pow(value, power), row, count: dimension)
    }
    return (values.count, result)
  }

  /// `sum_i values_i^power q_i q_i^T`, `[n, n]`.
  func power(_ power: Double) -> Vector<Double> {
    let result = Vector<Double>(count: dimension * dimension)
    let weighted = weightedBasis(power)
    BLAS.gemm(
      transposeA: true, m: dimension, n: dimension, k: values.count, basis.pointer, lda: dimension,
      weighted.matrix.pointer, ldb: dimension, result.pointer, ldc: dimension)
    return result
  }
}
