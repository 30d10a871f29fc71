import CKernels
import COpenBLAS

// Dense factorisations in double. All matrices are row-major. LAPACK is column-major, but a
// row-major [m, n] matrix read by columns is its transpose [n, m], so every routine is called on
// the transpose and its results are read by rows: nothing is ever transposed in memory.

/// Why a dense factorisation has no result.
public enum LinearAlgebraError: Error, Equatable, Sendable {
  /// The iteration inside a LAPACK routine did not converge (its `info`).
  case notConverged(routine: String, info: Int)
  /// The leading minor of this order (from 1) is not positive definite.
  case notPositiveDefinite(order: Int)
  /// NaN or infinity at this offset of the row-major input.
  case nonFinite(offset: Int)
  /// LAPACK counts in 32-bit integers, which this matrix or its work space exceeds.
  case tooLarge(rows: Int, columns: Int)
  /// LAPACK could not allocate its work space.
  case outOfMemory(routine: String)
}

extension LinearAlgebraError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .notConverged(let routine, let info):
      "\(routine) did not converge (info \(info)); the matrix may span too many orders of "
        + "magnitude: add damping or rescale it"
    case .notPositiveDefinite(let order):
      "the matrix is not positive definite: leading minor of order \(order); add damping, or use "
        + "the eigen-decomposition"
    case .nonFinite(let offset):
      "the matrix holds NaN or infinity, first at offset \(offset)"
    case .tooLarge(let rows, let columns):
      "a matrix of [\(rows), \(columns)] exceeds what LAPACK's 32-bit integers can count"
    case .outOfMemory(let routine):
      "\(routine) could not allocate its work space"
    }
  }
}

/// `A = sum_i values[i] q_i q_i^T`
public struct SymmetricEigendecomposition: Sendable {
  /// `[n]`, ascending.
  public var values: [Double]
  /// `[n, n]`: row `i` is the unit eigenvector of `values[i]`.
  public let vectors: Vector<Double>
}

/// `A = U diag(s) V^T`, thin: `k = min(m, n)`.
public struct SingularValueDecomposition: Sendable {
  /// U, `[m, k]`.
  public let left: Vector<Double>
  /// s, `[k]`, descending.
  public let values: [Double]
  /// V^T, `[k, n]`: row `i` is the right singular vector of `values[i]`.
  public let rightTransposed: Vector<Double>
}

/// Dense factorisations in double.
public enum LAPACK {
  /// Eigen-decomposition of the symmetric matrix whose lower triangle is that of `a`, `[n, n]`;
  /// the upper one is not used (dsyevd). `a` becomes the eigenvectors, one a row.
  ///
  /// - Parameter values: Receives the `n` eigenvalues in ascending order.
  public static func symmetricEigen(
    n: Int, _ a: UnsafeMutablePointer<Double>, values: UnsafeMutablePointer<Double>
  ) throws(LinearAlgebraError) {
    if n == 0 { return }
    // dsyevd's work space has 1 + 6 n + 2 n^2 elements.
    if n > 32_000 { throw .tooLarge(rows: n, columns: n) }
    for row in 0..<n { try requireFinite(a + row * n, row + 1, offset: row * n) }
    // The lower triangle by rows is the upper one by columns.
    let info = LAPACKE_dsyevd(
      LAPACK_COL_MAJOR, CChar(UInt8(ascii: "V")), CChar(UInt8(ascii: "U")), Int32(n), a,
      Int32(n), values)
    try check(info, "dsyevd")
  }

  /// Eigen-decomposition of the symmetric matrix whose lower triangle is that of `a`, `[n, n]`, which
  /// becomes the eigenvectors.
  public static func symmetricEigen(
    n: Int, _ a: Vector<Double>
  ) throws(LinearAlgebraError) -> SymmetricEigendecomposition {
    precondition(a.count == n * n, "symmetricEigen: \(a.count) elements for [\(n), \(n)]")
    let values = Vector<Double>(count: n)
    try symmetricEigen(n: n, a.pointer, values: values.pointer)
    return SymmetricEigendecomposition(values: values.array, vectors: a)
  }

  /// Thin singular value decomposition of `a`, `[rows, columns]`, which is destroyed (dgesdd). Where
  /// the divide-and-conquer iteration does not converge, the slower QR iteration is used (dgesvd); for
  /// that a copy of `a` is kept.
  public static func singularValues(
    rows: Int, columns: Int, _ a: Vector<Double>
  ) throws(LinearAlgebraError) -> SingularValueDecomposition {
    precondition(
      a.count == rows * columns,
      "singularValues: \(a.count) elements for [\(rows), \(columns)]")
    let k = min(rows, columns)
    let (left, values, right) = (
      Vector<Double>(count: rows * k), Vector<Double>(count: k), Vector<Double>(count: k * columns)
    )
    if k > 0 {
      // dgesdd's work space has about 4 k^2 elements, dgesvd's none larger.
      if k > 20_000 || max(rows, columns) > Int(Int32.max) / 8 {
        throw .tooLarge(rows: rows, columns: columns)
      }
      try requireFinite(a.pointer, a.count, offset: 0)
      // By columns the matrix is A^T = V diag(s) U^T, so LAPACK's left factor is V, [columns, k] by
      // columns, which is V^T by rows; its right one is U^T, [k, rows] by columns: U by rows.
      let (m, n) = (Int32(columns), Int32(rows))
      let work = a.copy()
      let info = LAPACKE_dgesdd(
        LAPACK_COL_MAJOR, CChar(UInt8(ascii: "S")), m, n, work.pointer, m, values.pointer,
        right.pointer, m, left.pointer, Int32(k))
      if info > 0 {
        let superdiagonal = Vector<Double>(count: k)
        let all = CChar(UInt8(ascii: "S"))
        let info = LAPACKE_dgesvd(
          LAPACK_COL_MAJOR, all, all, m, n, a.pointer, m, values.pointer, right.pointer, m,
          left.pointer, Int32(k), superdiagonal.pointer)
        try check(info, "dgesvd")
      } else {
        try check(info, "dgesdd")
      }
    }
    return SingularValueDecomposition(left: left, values: values.array, rightTransposed: right)
  }
}

extension LAPACK {
  /// Bytes that `singularValues` takes: the matrix, the copy that its decomposition destroys, the factors
  /// and the work space.
  public static func singularValuesMemory(rows: Int, columns: Int) -> ByteCount {
    let (m, n, k) = (ByteCount(rows), ByteCount(columns), ByteCount(min(rows, columns)))
    return ByteCount(2 * m * n + (m + n) * k + 4 * k * k, of: Double.self)
  }
}

// MARK: - Helpers

func requireFinite(
  _ a: UnsafePointer<Double>, _ count: Int, offset: Int
) throws(LinearAlgebraError) {
  let index = Int(ck_first_nonfinite(CK_F64, a, count))
  if index < count { throw .nonFinite(offset: offset + index) }
}

/// A negative `info` other than the codes for memory means a wrong argument: an error in this
/// file, as the inputs are checked before.
func check(_ info: Int32, _ routine: String) throws(LinearAlgebraError) {
  if info == 0 { return }
  if info == LAPACK_WORK_MEMORY_ERROR || info == LAPACK_TRANSPOSE_MEMORY_ERROR {
    throw .outOfMemory(routine: routine)
  }
  precondition(info > 0, "\(routine): argument \(-info) is not valid")
  throw .notConverged(routine: routine, info: Int(info))
}
