import TensorModule

/// Newton-Schulz iterations towards the orthogonal factor of a matrix (Bernstein and Newhouse 2024;
/// Jordan 2024): `X <- a X + (b A + c A^2) X` with `A = X X^T` and X divided by its norm at first.
package struct NewtonSchulz {
  package typealias Coefficients = (a: Double, b: Double, c: Double)

  /// How the norm is kept from zero.
  package enum NormFloor {
    case largest(Double)
    case added(Double)
  }

  /// Jordan's: steepest at zero, so that few steps lift small singular values.
  package static let original: Coefficients = (3.4445, -4.7750, 2.0315)

  /// One for each iteration.
  package let coefficients: [Coefficients]
  package let normFloor: NormFloor

  package init(coefficients: [Coefficients], normFloor: NormFloor) {
    self.coefficients = coefficients
    self.normFloor = normFloor
  }

  /// `x` `[rows, columns]`, in place.
  package func orthogonalize(_ x: UnsafeMutablePointer<Double>, rows: Int, columns: Int) {
    let count = rows * columns
    if count == 0 { return }
    let norm = Kernels.dot(UnsafePointer(x), UnsafePointer(x), count: count).squareRoot()
    let divisor: Double
    switch normFloor {
    case .largest(let floor): divisor = max(norm, floor)
    case .added(let floor): divisor = norm + floor
    }
    // A zero matrix stays zero.
    if divisor > 0 { for i in 0..<count { x[i] /= divisor } }
    // The smaller Gram matrix: A X = X (X^T X).
    let isTall = rows > columns
    let n = min(rows, columns)
    let (gram, polynomial) = (Vector<Double>(count: n * n), Vector<Double>(count: n * n))
    let next = Vector<Double>(count: count)
    for (a, b, c) in coefficients {
      BLAS.gemm(
        transposeA: isTall, transposeB: !isTall, m: n, n: n, k: max(rows, columns), x, lda: columns,
        x, ldb: columns, gram.pointer, ldc: n)
      Kernels.copy(UnsafePointer(gram.pointer), polynomial.pointer, count: n * n)
      BLAS.gemm(
        m: n, n: n, k: n, alpha: c, gram.pointer, lda: n, gram.pointer, ldb: n, beta: b,
        polynomial.pointer, ldc: n)
      Kernels.copy(UnsafePointer(x), next.pointer, count: count)
      if isTall {
        BLAS.gemm(
          m: rows, n: columns, k: n, x, lda: columns, polynomial.pointer, ldb: n, beta: a,
          next.pointer, ldc: columns)
      } else {
        BLAS.gemm(
          m: rows, n: columns, k: n, polynomial.pointer, lda: n, x, ldb: columns, beta: a,
          next.pointer, ldc: columns)
      }
      Kernels.copy(UnsafePointer(next.pointer), x, count: count)
    }
  }
}
