import CKernels
import COpenBLAS

/// `A = L L^T` of a symmetric positive definite matrix: LAPACK's dpotrf, and of large ones in blocks that
/// workers share.
public struct CholeskyFactorization: Sendable {
  /// Rows of A.
  public let n: Int
  /// `[n, n]`; L in the lower triangle, anything in the upper one.
  private let factor: Vector<Double>

  /// Reads the lower triangle of `a`, `[n, n]`, and keeps its memory.
  ///
  /// - Parameter pool: Workers that share large matrices. The factor does not depend on how many they are,
  ///   but to rounding on whether there is a pool.
  public init(
    n: Int, overwriting a: Vector<Double>, pool: WorkerPool? = nil
  ) throws(LinearAlgebraError) {
    precondition(a.count == n * n, "CholeskyFactorization: \(a.count) elements for [\(n), \(n)]")
    self.n = n
    factor = a
    if n == 0 { return }
    if n > Int(Int32.max) / 8 { throw .tooLarge(rows: n, columns: n) }
    for row in 0..<n { try requireFinite(a.pointer + row * n, row + 1, offset: row * n) }
    if let pool, n >= 2 * Self.width {
      try Self.factorInBlocks(a.pointer, n, pool)
    } else {
      try Self.factor(a.pointer, n, stride: n, first: 0)
    }
  }

  /// `A^-1 b` for each row `b` of `rightHandSides`, `[count, n]`; NaN in one makes all NaN.
  public func solve(_ rightHandSides: [Double]) -> [Double] {
    if n == 0 { return [] }
    precondition(
      rightHandSides.count % n == 0, "CholeskyFactorization: \(rightHandSides.count) of \(n)")
    var solutions = rightHandSides
    if solutions.contains(where: \.isNaN) {
      return [Double](repeating: .nan, count: solutions.count)
    }
    let info = LAPACKE_dpotrs(
      LAPACK_COL_MAJOR, CChar(UInt8(ascii: "U")), Int32(n), Int32(solutions.count / n),
      factor.pointer, Int32(n), &solutions, Int32(n))
    precondition(info == 0, "dpotrs: argument \(-info) is not valid")
    return solutions
  }

  /// `B := L^-1 B`, B `[n, columns]` by rows: then `B^T B` is `B^T A^-1 B`, a sum of squares on its
  /// diagonal.
  public func halfSolve(columns: Int, _ b: UnsafeMutablePointer<Double>) {
    if n == 0 || columns == 0 { return }
    cblas_dtrsm(
      CblasRowMajor, CblasLeft, CblasLower, CblasNoTrans, CblasNonUnit, Int32(n), Int32(columns), 1,
      factor.pointer, Int32(n), b, Int32(columns))
  }
}

// MARK: - Factors

extension CholeskyFactorization {
  /// Columns of a block: products of so many terms run at their full rate, and what a block does alone,
  /// its diagonal, is little beside the rest.
  private static var width: Int { 192 }

  /// Overwrites the lower triangle `[n, n]` of a matrix that begins at row and column `first`.
  private static func factor(
    _ a: UnsafeMutablePointer<Double>, _ n: Int, stride: Int, first: Int
  ) throws(LinearAlgebraError) {
    let info = LAPACKE_dpotrf(
      LAPACK_COL_MAJOR, CChar(UInt8(ascii: "U")), Int32(n), a, Int32(stride))
    if info > 0 { throw .notPositiveDefinite(order: first + Int(info)) }
    try check(info, "dpotrf")
  }

  /// Block by block of columns: its diagonal, the rows below it, and what is to the right of it less their
  /// products, by rows of tiles.
  private static func factorInBlocks(
    _ a: UnsafeMutablePointer<Double>, _ n: Int, _ pool: WorkerPool
  ) throws(LinearAlgebraError) {
    for first in Swift.stride(from: 0, to: n, by: width) {
      let columns = min(width, n - first)
      let diagonal = a + first * (n + 1)
      // Numbers that have left their range: a positive definite matrix of numbers has none.
      for row in 0..<columns
      where Int(ck_first_nonfinite(CK_F64, diagonal + row * n, row + 1)) <= row {
        throw .notPositiveDefinite(order: first + row + 1)
      }
      try factor(diagonal, columns, stride: n, first: first)
      let next = first + columns
      let tiles = (n - next + width - 1) / width
      func rows(_ tile: Int) -> Range<Int> {
        next + tile * width..<min(next + (tile + 1) * width, n)
      }
      pool.run(tiles) { tile, _ in
        let rows = rows(tile)
        cblas_dtrsm(
          CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, Int32(rows.count),
          Int32(columns), 1, diagonal, Int32(n), a + rows.lowerBound * n + first, Int32(n))
      }
      pool.run(tiles) { task, _ in
        // The longest first, so that none is left alone with it.
        let rows = rows(tiles - 1 - task)
        let row = a + rows.lowerBound * n
        BLAS.gemm(
          transposeB: true, m: rows.count, n: rows.lowerBound - next, k: columns, alpha: -1,
          row + first, lda: n, a + next * n + first, ldb: n, beta: 1, row + next, ldc: n)
        BLAS.symmetricRankUpdate(
          n: rows.count, k: columns, alpha: -1, row + first, lda: n, beta: 1,
          row + rows.lowerBound, ldc: n)
      }
    }
  }
}
