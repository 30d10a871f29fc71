import Curvature
import TensorModule

/// Solves `(K + lambda I) c = b` in double: for any lambda from one eigen-decomposition of K, or for a
/// single one far above rounding from a Cholesky factorisation of `K + lambda I`, which takes n^3 / 3
/// operations instead of some 9 n^3.
package struct DampedGramSolver: Sendable {
  private enum Form {
    case eigen(SymmetricEigendecomposition)
    case cholesky(CholeskyFactorization, lambda: Double)
  }
  package let count: Int
  /// Rows that take part; the others get c = 0 (see `duplicates`). Rows of zero gradients do not:
  /// they add nothing to a direction, and their eigenvalue of zero is exact, not rounding.
  private let kept: [Int]
  private let matrix: Vector<Double>
  private let form: Form
  /// What rounding leaves of an eigenvalue that is zero, per size of the largest: the rows of G carry
  /// the engine's precision, whose square enters K, and K itself is formed in double.
  private let rounding: Double

  /// - Parameters:
  ///   - precision: Relative rounding of the gradients that K was formed from.
  ///   - leftOut: Rows that take no part.
  ///   - onlyLambda: The one that will be solved for, if there is just one.
  ///   - value: An entry of K, which is symmetric.
  package init(
    count: Int, precision: Double, leftOut: Set<Int> = [], onlyLambda: Double? = nil,
    value: (_ row: Int, _ column: Int) -> Double
  ) throws(LinearAlgebraError) {
    self.count = count
    kept = (0..<count).filter { !leftOut.contains($0) && value($0, $0) != 0 }
    let n = kept.count
    matrix = Vector(count: n * n)
    for (row, i) in kept.enumerated() {
      for (column, j) in kept.enumerated() { matrix.pointer[row * n + column] = value(i, j) }
    }
    rounding = Double(n) * max(Double.ulpOfOne, precision * precision)
    let trace = kept.reduce(0) { $0 + value($1, $1) }
    // Ten times what rounding can make negative. Should K have lost more than that, it is not positive
    // definite, and its negative eigenvalues have to be known.
    if let onlyLambda, onlyLambda > 10 * rounding * trace,
      let factor = try? Self.factorized(matrix, n, onlyLambda)
    {
      form = .cholesky(factor, lambda: onlyLambda)
    } else {
      form = .eigen(try LAPACK.symmetricEigen(n: n, matrix.copy()))
    }
  }

  private static func factorized(
    _ matrix: Vector<Double>, _ n: Int, _ lambda: Double
  ) throws(LinearAlgebraError) -> CholeskyFactorization {
    let damped = matrix.copy()
    for i in 0..<n { damped.pointer[i * (n + 1)] += lambda }
    return try CholeskyFactorization(n: n, overwriting: damped)
  }

  var isDecomposed: Bool {
    if case .eigen = form { true } else { false }
  }

  /// Whether the solution rests on eigenvalues that rounding has made.
  package func isBelowRounding(_ lambda: Double) -> Bool {
    guard case .eigen(let eigen) = form, let least = eigen.values.first else { return false }
    return max(least, 0) + lambda <= roundingLevel(eigen)
  }

  private func roundingLevel(_ eigen: SymmetricEigendecomposition) -> Double {
    rounding * (eigen.values.last.map { max($0, 0) } ?? 0)
  }

  /// c for one damping. Where `lambda` is zero, eigenvalues at the level of rounding count as
  /// zero and their directions are left out.
  package func solve(_ rightHandSide: [Double], lambda: Double) -> [Double] {
    let b = kept.map { rightHandSide[$0] }
    let apply = inverse(lambda)
    var c = apply(b)
    // One step of iterative refinement: rows of very different size, as late in training, come
    // out with small errors of their own instead of errors of the largest row.
    let correction = apply(residual(of: c, b, lambda: lambda))
    for i in c.indices { c[i] += correction[i] }
    var result = [Double](repeating: 0, count: count)
    for (place, row) in kept.enumerated() { result[row] = c[place] }
    return result
  }

  /// What applies `(K + lambda I)^-1`.
  private func inverse(_ lambda: Double) -> ([Double]) -> [Double] {
    switch form {
    case .eigen(let eigen):
      let level = roundingLevel(eigen)
      let weights = eigen.values.map { value in
        if lambda == 0 && value <= level { return 0.0 }
        let sum = max(value, 0) + lambda
        return sum > 0 ? 1 / sum : 0
      }
      return { apply(weights, eigen.vectors, to: $0) }
    case .cholesky(let factor, let only):
      precondition(lambda == only, "DampedGramSolver: \(lambda) instead of \(only)")
      return factor.solve
    }
  }

  /// `Q diag(weights) Q^T b`; eigenvectors q are the rows of `vectors`.
  private func apply(
    _ weights: [Double], _ vectors: Vector<Double>, to b: [Double]
  ) -> [Double] {
    let n = kept.count
    var coordinates = [Double](repeating: 0, count: n)
    var result = coordinates
    BLAS.gemm(m: n, n: 1, k: n, vectors.pointer, lda: n, b, ldb: 1, &coordinates, ldc: 1)
    for i in 0..<n { coordinates[i] *= weights[i] }
    BLAS.gemm(
      transposeA: true, m: n, n: 1, k: n, vectors.pointer, lda: n, coordinates, ldb: 1, &result,
      ldc: 1)
    return result
  }

  private func residual(of c: [Double], _ b: [Double], lambda: Double) -> [Double] {
    let n = kept.count
    var result = zip(b, c).map { $0 - lambda * $1 }
    BLAS.gemm(
      m: n, n: 1, k: n, alpha: -1, matrix.pointer, lda: n, c, ldb: 1, beta: 1, &result, ldc: 1)
    return result
  }
}

/// Of each pair of rows whose cosine is above `cosine` in size, the one with the smaller norm.
///
/// - Parameter value: The product of two rows.
package func duplicates(
  count: Int, cosine: Double, value: (_ row: Int, _ column: Int) -> Double
) -> Set<Int> {
  var leftOut: Set<Int> = []
  for i in 0..<count {
    for j in 0..<i where !leftOut.contains(i) && !leftOut.contains(j) {
      let norms = value(i, i) * value(j, j)
      if norms > 0, abs(value(i, j)) > cosine * norms.squareRoot() {
        leftOut.insert(value(i, i) <= value(j, j) ? i : j)
      }
    }
  }
  return leftOut
}
