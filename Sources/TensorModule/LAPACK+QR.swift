import COpenBLAS

extension LAPACK {
  /// R of the QR decomposition of `[R; B]`, R upper triangular `[n, n]` in place and B `[m, n]`, which is
  /// destroyed (dtpqrt). Both by columns: entry (i, j) of B is at `j m + i`.
  ///
  /// Householder reflections, whose rounding is that of each column by itself: a column of large numbers
  /// does not harm the others. What is below the diagonal of R is neither read nor written.
  ///
  /// - Parameters:
  ///   - isTriangular: Whether B is upper triangular too, `[n, n]`, which takes a third of the time.
  ///   - work: `foldingWork(columns:)` scalars.
  public static func foldRows(
    columns n: Int, into triangle: UnsafeMutablePointer<Double>, rows m: Int,
    _ block: UnsafeMutablePointer<Double>, isTriangular: Bool = false,
    work: UnsafeMutablePointer<Double>
  ) throws(LinearAlgebraError) {
    if n == 0 || m == 0 { return }
    precondition(!isTriangular || m == n, "foldRows: a triangle of [\(m), \(n)]")
    if max(m, n) > Int(Int32.max) / 8 { throw .tooLarge(rows: m, columns: n) }
    if !isTriangular { try requireFinite(block, m * n, offset: 0) }
    let width = min(foldingWidth, n)
    // As many at a time as stay in a cache; a triangle is one piece.
    let size = isTriangular ? m : foldedRows
    for first in stride(from: 0, to: m, by: size) {
      let rows = min(size, m - first)
      let info = LAPACKE_dtpqrt_work(
        LAPACK_COL_MAJOR, Int32(rows), Int32(n), isTriangular ? Int32(n) : 0, Int32(width),
        triangle, Int32(n), block + first, Int32(m), work, Int32(width), work + width * n)
      try check(info, "dtpqrt")
    }
  }

  /// Scalars that `foldRows` computes in.
  public static func foldingWork(columns: Int) -> Int { 2 * foldingWidth * columns }

  /// Rows at a time: of 897 columns 1,024 rows took 0.87 of the time of 6,144.
  private static var foldedRows: Int { 1024 }

  /// Columns whose reflections are applied to the others together.
  private static var foldingWidth: Int { 32 }
}
