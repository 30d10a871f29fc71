import TensorModule

/// Eigenvalues and eigenvectors of `X^T X`, X [rows, columns] given a few rows at a time, in
/// double: one factor of a Kronecker product.
///
/// With fewer rows than columns from the singular values of X, which are exact to rounding
/// relative to the largest, in a basis of as many vectors as rows. With more, from the
/// eigenvalues of `X^T X`, whose rounding is relative to the largest eigenvalue.
struct RowSpectrum {
  let columns: Int
  /// `[k]`, none negative.
  let values: [Double]
  /// `[k, columns]`: row i is the unit eigenvector of `values[i]`.
  let basis: Vector<Double>
  /// What rounding leaves of an eigenvalue that is zero.
  let level: Double

  /// Whether the basis spans everything: `k = columns`.
  var isComplete: Bool { values.count == columns }

  typealias RowWriter = (_ rows: Range<Int>, _ out: UnsafeMutablePointer<Double>) -> Void

  init(rows: Int, columns: Int, _ write: RowWriter) throws(LinearAlgebraError) {
    self.columns = columns
    if rows < columns {
      let matrix = Vector<Double>(count: rows * columns)
      write(0..<rows, matrix.pointer)
      let factors = try LAPACK.singularValues(rows: rows, columns: columns, matrix)
      values = factors.values.map { $0 * $0 }
      basis = factors.rightTransposed
      let relative = Double(columns) * .ulpOfOne
      level = relative * relative * (values.first ?? 0)
      return
    }
    let gram = Vector<Double>(count: columns * columns)
    let tile = Vector<Double>(count: RowSpectrum.tileRows * columns)
    let transposed = Vector<Double>(count: tile.count)
    RowSpectrum.forEachTile(rows) { range in
      write(range, tile.pointer)
      BLAS.transpose(tile.pointer, rows: range.count, columns: columns, into: transposed.pointer)
      BLAS.symmetricRankUpdate(
        n: columns, k: range.count, transposed.pointer, lda: range.count, gram.pointer,
        ldc: columns)
    }
    let eigen = try LAPACK.symmetricEigen(n: columns, gram)
    values = eigen.values.map { max($0, 0) }
    basis = eigen.vectors
    level = Double(columns) * .ulpOfOne * (values.last ?? 0)
  }

  /// Enough rows for a tall product, few enough to stay in cache.
  static let tileRows = 256

  static func forEachTile(_ rows: Int, _ body: (Range<Int>) -> Void) {
    for begin in stride(from: 0, to: rows, by: tileRows) {
      body(begin..<min(rows, begin + tileRows))
    }
  }
}
