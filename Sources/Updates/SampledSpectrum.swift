import TensorModule

/// What is formed of `(Ghat^T Ghat + lambda I)^-1 g`.
enum SampledForm {
  /// lambda times the solution, which tends to what g has outside of the span of Ghat.
  case timesLambda
  /// The solution itself; without damping the one of least norm.
  case solution
}

/// `(Ghat^T Ghat + lambda I)^-1 g` from the singular values of Ghat, `[rows, columns]` with at least as
/// many rows as columns, in double: nothing cancels.
struct SampledSpectrum {
  /// Squared singular values of Ghat.
  private let squares: [Double]
  /// `V^T g`, and V^T.
  private let coordinates: [Double]
  private let basis: Vector<Double>
  /// What rounding leaves of a square that is zero.
  private let level: Double
  /// `sum_row (u_row,i w_row)^2` needs U: `[rows, columns]`.
  private let left: Vector<Double>
  /// Norms of the errors of the rows, and of g.
  private let rowErrors: [Double]
  private let gradientError: Double
  private let noise: Double

  /// - Parameters:
  ///   - matrix: Ghat, row-major; it is destroyed.
  ///   - gradient: g, in a unit of its own.
  ///   - precision: Relative rounding of the rows.
  ///   - rowErrors: How far rows may be from exact arithmetic.
  ///   - gradientError: The same of g, in its unit.
  ///   - noise: What rounding leaves of a sum like g that should vanish, in its unit.
  init(
    columns: Int, _ matrix: Vector<Double>, gradient: [Double], precision: Double,
    rowErrors: [Double],
    gradientError: Double, noise: Double
  ) throws(LinearAlgebraError) {
    let factors = try LAPACK.singularValues(rows: rowErrors.count, columns: columns, matrix)
    squares = factors.values.map { $0 * $0 }
    level =
      Double(rowErrors.count) * max(.ulpOfOne, precision * precision) * (squares.first ?? 0)
    left = factors.left
    basis = factors.rightTransposed
    self.rowErrors = rowErrors
    self.gradientError = gradientError
    self.noise = noise
    var coordinates = gradient
    BLAS.gemm(
      m: columns, n: 1, k: columns, basis.pointer, lda: columns, gradient, ldb: 1, &coordinates,
      ldc: 1)
    self.coordinates = coordinates
  }

  /// Whether g has nothing but rounding outside of the span of the rows.
  var spansGradient: Bool {
    let outside = zip(coordinates, squares).reduce(0.0) {
      $1.1 > level ? $0 : $0 + $1.0 * $1.0
    }
    return outside.squareRoot() <= noise
  }

  /// The direction, in the unit of g, the solution over the unit of `lambda`, and an estimate of its
  /// relative error.
  func solve(_ form: SampledForm, lambda: Double) -> (values: [Double], relativeError: Double) {
    let count = squares.count
    // Of (Ghat^T Ghat + lambda I)^-1, zero where that is not inverted.
    let inverse = squares.map { lambda > 0 || $0 > level ? 1 / ($0 + lambda) : 0 }
    let factor =
      form == .solution
      ? inverse
      : zip(squares, inverse).map { lambda > 0 ? lambda * $1 : $0 > level ? 0.0 : 1 }
    let weighted = zip(coordinates, factor).map(*)
    var values = weighted
    BLAS.gemm(
      transposeA: true, m: count, n: 1, k: count, basis.pointer, lda: count, weighted, ldb: 1,
      &values, ldc: 1)
    return (values, relativeError(factor, inverse, weighted))
  }

  /// `factor (dg - dGhat^T w)` and `Ghat^T (Ghat Ghat^T + lambda I)^-1 dGhat d` beside d, with
  /// `w = Ghat (Ghat^T Ghat + lambda I)^-1 g`: as `DampedGramSolver.error`.
  private func relativeError(
    _ factor: [Double], _ inverse: [Double], _ weighted: [Double]
  ) -> Double {
    let count = squares.count
    let gain = zip(squares, inverse).map { $0.squareRoot() * $1 }
    let solution = zip(gain, coordinates).map(*)
    var moved = gradientError * gradientError
    var amplified = 0.0
    for (row, error) in rowErrors.enumerated() {
      var (w, square) = (0.0, 0.0)
      for i in 0..<count {
        let u = left[row * count + i]
        w += u * solution[i]
        square += u * gain[i] * u * gain[i]
      }
      moved += w * error * w * error
      amplified += square * error * error
    }
    let share = factor.reduce(0) { $0 + $1 * $1 } / Double(count)
    let norm = weighted.reduce(0) { $0 + $1 * $1 }
    return (moved * share / norm + amplified).squareRoot()
  }
}
