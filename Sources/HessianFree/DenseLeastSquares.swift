import TensorModule

// The dense reference: minimum-norm solutions of B^T B x = B^T w, which is min |B x - w|.
// Matrices are row-major [m, P] in double, one row per logit.
//
// From the SVD of B, whose condition number is the square root of that of B^T B: the normal
// equations, or the eigen-decomposition of either product, lose every singular value below 1e-8 of
// the largest. The route through B B^T exists for problems in which B does not fit in memory.

/// Settings of a dense least-squares solve.
public struct DenseLeastSquares: Equatable, Sendable {
  /// Singular values below this fraction of the largest count as zero.
  public var cutoff: Double
  /// Bytes that a solve may use, B included.
  public var memoryBudget: Int

  /// - Parameter memoryBudget: Bytes, B included.
  public init(cutoff: Double = 1e-12, memoryBudget: Int) {
    precondition(cutoff >= 0 && cutoff < 1, "DenseLeastSquares: cutoff \(cutoff)")
    self.cutoff = cutoff
    self.memoryBudget = memoryBudget
  }

  /// Bytes for B, the copy that the decomposition destroys, its factors and its work space.
  public static func requiredMemory(rows: Int, columns: Int) -> Int {
    LAPACK.singularValuesMemory(rows: rows, columns: columns).value
  }

  /// Minimum-norm solution of `min |B x - w|`.
  ///
  /// - Parameters:
  ///   - matrix: B, `[rows, columns]`, which is destroyed.
  ///   - target: w, `[rows]`.
  /// - Throws: `SolveError.memory` before anything is computed; `.linearAlgebra` otherwise.
  public func solve(
    rows: Int, columns: Int, _ matrix: Vector<Double>, target w: [Double]
  ) throws(SolveError) -> DenseSolution {
    try decompose(rows: rows, columns: columns, matrix).solve(target: w)
  }

  /// The decomposition, for several targets or dampings; `matrix` is destroyed.
  public func decompose(
    rows: Int, columns: Int, _ matrix: Vector<Double>
  ) throws(SolveError) -> DenseDecomposition {
    guard matrix.count == rows * columns else {
      throw .dimensionMismatch(what: "matrix B", found: matrix.count, expected: rows * columns)
    }
    let required = Self.requiredMemory(rows: rows, columns: columns)
    if required > memoryBudget { throw .memory(required: required, budget: memoryBudget) }
    do throws(LinearAlgebraError) {
      return DenseDecomposition(
        rows: rows, columns: columns, cutoff: cutoff,
        factors: try LAPACK.singularValues(rows: rows, columns: columns, matrix))
    } catch { throw .linearAlgebra(error) }
  }
}

/// A minimum-norm or damped least-squares solution.
public struct DenseSolution: Equatable, Sendable {
  /// `[P]`, or y of `[m]` where `x = B^T y` from a Gram matrix.
  public var x: [Double]
  /// Singular values that were used.
  public var rank: Int
  /// All of them, descending.
  public var singularValues: [Double]
}

// MARK: -

/// `B = U diag(s) V^T`
public struct DenseDecomposition: Sendable {
  /// M
  public let rows: Int
  /// P
  public let columns: Int
  /// Singular values below this fraction of the largest count as zero.
  public let cutoff: Double
  /// U, s and V.
  public let factors: SingularValueDecomposition

  /// All of them, descending.
  public var singularValues: [Double] { factors.values }

  /// Number of singular values above the cutoff.
  public var rank: Int {
    guard let largest = factors.values.first, largest > 0 else { return 0 }
    return factors.values.prefix { $0 > cutoff * largest }.count
  }

  /// `x = V (S^2 + mu)^-1 S U^T w`, the solution of `(B^T B + mu I) x = B^T w`.
  ///
  /// - Parameter damping: mu. With 0, singular values below the cutoff are left out; otherwise all
  ///   take part, as none can then blow up.
  public func solve(target w: [Double], damping mu: Double = 0) throws(SolveError) -> DenseSolution
  {
    guard w.count == rows else {
      throw .dimensionMismatch(what: "target w", found: w.count, expected: rows)
    }
    let k = factors.values.count
    let used = mu == 0 ? rank : k
    var c = [Double](repeating: 0, count: k)
    if used > 0 {
      BLAS.gemm(
        transposeA: true, m: k, n: 1, k: rows, factors.left.pointer, lda: k, w, ldb: 1, &c, ldc: 1)
    }
    // s / (s^2 + mu) without the square, which underflows for small s.
    return combine(used, mu, c) { c, s in s > 0 ? c / (s + mu / s) : 0 }
  }

  /// `x = V (S^2 + mu)^-1 V^T g`, the solution of `(B^T B + mu I) x = g` for a g in the range of B^T,
  /// where there is no w of which `g = B^T w` in numbers.
  ///
  /// Dividing by `S^2` loses singular values below the root of the precision: with mu = 0 those below
  /// 1e-7 of the largest are left out.
  public func solve(gradient g: [Double], damping mu: Double = 0) throws(SolveError)
    -> DenseSolution
  {
    guard g.count == columns else {
      throw .dimensionMismatch(what: "gradient g", found: g.count, expected: columns)
    }
    let cutoff = max(cutoff, 1e-7) * (factors.values.first ?? 0)
    let used = mu == 0 ? factors.values.prefix { $0 > cutoff }.count : factors.values.count
    var c = [Double](repeating: 0, count: used)
    if used > 0 {
      BLAS.gemm(
        m: used, n: 1, k: columns, factors.rightTransposed.pointer, lda: columns, g, ldb: 1, &c,
        ldc: 1)
    }
    return combine(used, mu, c) { c, s in s > 0 ? c / s / (s + mu / s) : mu > 0 ? c / mu : 0 }
  }

  /// `V c`
  private func combine(
    _ used: Int, _ mu: Double, _ coefficients: [Double],
    _ divided: (_ coefficient: Double, _ s: Double) -> Double
  ) -> DenseSolution {
    precondition(mu >= 0 && mu.isFinite, "DenseDecomposition: damping \(mu)")
    var x = [Double](repeating: 0, count: columns)
    if used > 0 {
      let c = zip(coefficients.prefix(used), factors.values).map { divided($0, $1) }
      BLAS.gemm(
        transposeA: true, m: columns, n: 1, k: used, factors.rightTransposed.pointer, lda: columns,
        c, ldb: 1, &x, ldc: 1)
    }
    return DenseSolution(x: x, rank: used, singularValues: factors.values)
  }
}

// MARK: -

/// The route through `B B^T = Q diag(s^2) Q^T`, `[m, m]`, for a B that is too large to store.
///
/// Squared singular values come with an error of about `m eps` times the largest, so those below
/// `m eps` of the largest are noise and are left out: singular values below `sqrt(m eps)` of the
/// largest (some 5e-7 for a thousand rows) are lost, where the SVD of B keeps those above 1e-12.
/// The quadratic model of the result is above its minimum by what those directions hold.
public struct GramDecomposition: Sendable {
  /// m
  public let rows: Int
  private let precision: Double
  private let eigen: SymmetricEigendecomposition

  /// - Parameters:
  ///   - gram: `B B^T`, `[m, m]`; the lower triangle is read, and all of it overwritten.
  ///   - precision: Relative rounding of the entries of the B that it was formed from.
  public init(
    rows: Int, gram: Vector<Double>, precision: Double = .ulpOfOne, memoryBudget: Int
  ) throws(SolveError) {
    guard gram.count == rows * rows else {
      throw .dimensionMismatch(what: "matrix B B^T", found: gram.count, expected: rows * rows)
    }
    // The matrix, its eigenvectors, and two more in work space.
    let bytes = 32 * Double(rows) * Double(rows)
    let required = bytes < 9e18 ? Int(bytes) : Int.max
    if required > memoryBudget { throw .memory(required: required, budget: memoryBudget) }
    self.rows = rows
    self.precision = precision
    do throws(LinearAlgebraError) {
      eigen = try LAPACK.symmetricEigen(n: rows, gram)
    } catch { throw .linearAlgebra(error) }
  }

  /// Fraction of the largest eigenvalue below which an eigenvalue is noise: `m eps`, or m times the
  /// square of what B itself is off by.
  public var relativeCutoff: Double {
    Double(max(rows, 1)) * max(Double.ulpOfOne, precision * precision)
  }

  /// Number of eigenvalues above the cutoff.
  public var rank: Int {
    guard let largest = eigen.values.last, largest > 0 else { return 0 }
    return eigen.values.reversed().prefix { $0 > relativeCutoff * largest }.count
  }

  /// Singular values of B, descending; what rounding made negative is zero.
  public var singularValues: [Double] { eigen.values.reversed().map { max($0, 0).squareRoot() } }

  /// `y = (B B^T + mu)^-1 w`, so that `x = B^T y` solves `(B^T B + mu I) x = B^T w`; eigenvalues
  /// below the cutoff are left out if mu is 0.
  public func solve(target w: [Double], damping mu: Double = 0) throws(SolveError) -> DenseSolution
  {
    guard w.count == rows else {
      throw .dimensionMismatch(what: "target w", found: w.count, expected: rows)
    }
    precondition(mu >= 0 && mu.isFinite, "GramDecomposition: damping \(mu)")
    let used = mu == 0 ? rank : rows
    var y = [Double](repeating: 0, count: rows)
    if used > 0 {
      var c = [Double](repeating: 0, count: rows)
      BLAS.gemm(m: rows, n: 1, k: rows, eigen.vectors.pointer, lda: rows, w, ldb: 1, &c, ldc: 1)
      for i in 0..<rows {
        c[i] = i < rows - used ? 0 : c[i] / (max(eigen.values[i], 0) + mu)
      }
      BLAS.gemm(
        transposeA: true, m: rows, n: 1, k: rows, eigen.vectors.pointer, lda: rows, c, ldb: 1, &y,
        ldc: 1)
    }
    return DenseSolution(x: y, rank: used, singularValues: singularValues)
  }
}
