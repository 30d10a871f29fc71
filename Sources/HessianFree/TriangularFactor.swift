import TensorModule

/// R of `[B, w] = Q R`, for a B of more rows than columns that comes in blocks of rows (TSQR: Demmel, Grigori,
/// Hoemmen, Langou 2012): `min |B x - w|` is `min |R' x - c|` with R' of P x P and `c = Q^T w`, B has the singular
/// values of R', and neither B nor Q has to be stored.
///
/// It is as exact as a QR decomposition of B as a whole: every step is a product of reflections.
public final class TriangularFactor {
  /// P
  public let columns: Int
  /// Rows of B that have been folded in.
  public private(set) var rows = 0
  /// `[P + 1, P + 1]` by columns, upper triangular; the last column is w's.
  private let triangle: Vector<Double>
  private let work: Vector<Double>

  /// Of no rows.
  public init(columns: Int) {
    self.columns = columns
    triangle = Vector(count: (columns + 1) * (columns + 1))
    work = Vector(unsetCount: LAPACK.foldingWork(columns: columns + 1))
  }

  /// Bytes of one.
  public static func memory(columns: Int) -> ByteCount {
    let width = ByteCount(columns) + 1
    return ByteCount(vector: width * width, of: Double.self)
      + ByteCount(vector: ByteCount(LAPACK.foldingWork(columns: columns + 1)), of: Double.self)
  }

  /// Folds rows of `[B, w]` in: `block` is `[rows, P + 1]` by columns, each right behind the one before it, and is
  /// destroyed.
  public func fold(rows count: Int, _ block: Vector<Double>) throws(SolveError) {
    precondition(
      count * (columns + 1) <= block.count,
      "TriangularFactor: \(count) rows of \(columns + 1) in \(block.count)")
    do throws(LinearAlgebraError) {
      try LAPACK.foldRows(
        columns: columns + 1, into: triangle.pointer, rows: count, block.pointer,
        work: work.pointer)
    } catch { throw .linearAlgebra(error) }
    rows += count
  }

  /// Folds in what another one has; `other` is destroyed.
  public func fold(_ other: TriangularFactor) throws(SolveError) {
    precondition(
      other.columns == columns, "TriangularFactor: \(other.columns) columns into \(columns)")
    do throws(LinearAlgebraError) {
      try LAPACK.foldRows(
        columns: columns + 1, into: triangle.pointer, rows: columns + 1, other.triangle.pointer,
        isTriangular: true, work: work.pointer)
    } catch { throw .linearAlgebra(error) }
    rows += other.rows
  }

  /// R' by rows, `[P, P]`.
  public var matrix: Vector<Double> {
    let matrix = Vector<Double>(count: columns * columns)
    for column in 0..<columns {
      for row in 0...column {
        matrix.pointer[row * columns + column] = triangle.pointer[column * (columns + 1) + row]
      }
    }
    return matrix
  }

  /// `c = Q^T w`, `[P]`.
  public var target: [Double] {
    Array(
      UnsafeBufferPointer(start: triangle.pointer + columns * (columns + 1), count: columns))
  }
}
