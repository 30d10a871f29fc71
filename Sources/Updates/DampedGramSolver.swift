import Curvature
import TensorModule

/// Solves `(K + lambda I) c = b` in double: for any lambda from one eigen-decomposition of K, or for a
/// single one far above rounding from a Cholesky factorisation of `K + lambda I`, which takes n^3 / 3
/// operations instead of some 9 n^3.
///
/// Eigenvectors that exact arithmetic maps to zero have no part in c: their part of `G^T c` is zero,
/// but in c they are `b / lambda`, and what rounding leaves of a sum that should vanish would be that
/// much larger. So many are known to be null as there are rows beyond the parameters; in single
/// precision those at the level of the rows' own rounding are as good as null. In double the rows
/// resolve more than K does, and no other is left out unless lambda is zero.
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
  /// Columns of G, or none that matter.
  private let parameters: Int
  /// Per eigenvalue what rounding leaves of it where it is zero.
  private let levels: [Double]
  private let isSingle: Bool

  /// - Parameters:
  ///   - precision: Relative rounding of the gradients that K was formed from.
  ///   - parameters: Entries of one gradient: K has no higher rank.
  ///   - leftOut: Rows that take no part.
  ///   - onlyLambda: The one that will be solved for, if there is just one.
  ///   - value: An entry of K, which is symmetric.
  package init(
    count: Int, precision: Double, parameters: Int = .max, leftOut: Set<Int> = [],
    onlyLambda: Double? = nil, value: (_ row: Int, _ column: Int) -> Double
  ) throws(LinearAlgebraError) {
    self.count = count
    self.parameters = parameters
    isSingle = precision > .ulpOfOne
    kept = (0..<count).filter { !leftOut.contains($0) && value($0, $0) != 0 }
    let n = kept.count
    matrix = Vector(count: n * n)
    for (row, i) in kept.enumerated() {
      for (column, j) in kept.enumerated() { matrix.pointer[row * n + column] = value(i, j) }
    }
    let rounding = Double(n) * max(Double.ulpOfOne, precision * precision)
    let diagonal = kept.map { value($0, $0) }
    // Ten times what rounding can make negative. Should K have lost more than that, it is not positive
    // definite, and its negative eigenvalues have to be known.
    if n <= parameters, let onlyLambda, onlyLambda > 10 * rounding * diagonal.reduce(0, +),
      let factor = try? Self.factorized(matrix, n, onlyLambda),
      Self.isWellConditioned(factor, matrix, diagonal)
    {
      form = .cholesky(factor, lambda: onlyLambda)
      levels = []
      return
    }
    let eigen = try LAPACK.symmetricEigen(n: n, matrix.copy())
    form = .eigen(eigen)
    // K is formed in double; the error of its rows is relative to each of them.
    let largest = max(eigen.values.last ?? 0, 0)
    levels = eigen.values.indices.map { i in
      let row = i * diagonal.count
      let own = diagonal.indices.reduce(0.0) {
        $0 + eigen.vectors[row + $1] * eigen.vectors[row + $1] * diagonal[$1]
      }
      return precision > .ulpOfOne ? rounding * own : rounding * largest
    }
  }

  private static func factorized(
    _ matrix: Vector<Double>, _ n: Int, _ lambda: Double
  ) throws(LinearAlgebraError) -> CholeskyFactorization {
    let damped = matrix.copy()
    for i in 0..<n { damped.pointer[i * (n + 1)] += lambda }
    return try CholeskyFactorization(n: n, overwriting: damped)
  }

  /// Whether solutions are sums without much cancellation, by a trial: `sum_n c_n^2 K_nn` against
  /// `c^T K c`. A null vector in c makes the first 1 / lambda times as large and adds nothing to the
  /// other.
  private static func isWellConditioned(
    _ factor: CholeskyFactorization, _ matrix: Vector<Double>, _ diagonal: [Double]
  ) -> Bool {
    let c = factor.solve(zip(signs(diagonal.count, 0), diagonal).map { $0 * $1.squareRoot() })
    let terms = zip(c, diagonal).reduce(0) { $0 + $1.0 * $1.0 * $1.1 }
    return terms <= 1e5 * quadratic(matrix, c)
  }

  /// Signs without a pattern, the same in every run.
  private static func signs(_ count: Int, _ probe: Int) -> [Double] {
    var generator = CounterRandom(seed: 0, batch: probe, sample: 0)
    return (0..<count).map { _ in generator.next() & 1 == 0 ? 1 : -1 }
  }

  var isDecomposed: Bool {
    if case .eigen = form { true } else { false }
  }

  /// c for one damping.
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

  /// What applies `(K + lambda I)^-1` outside of the null vectors.
  private func inverse(_ lambda: Double) -> ([Double]) -> [Double] {
    switch form {
    case .eigen(let eigen):
      let weights = eigen.values.indices.map { i in
        isNull(i, lambda) ? 0 : Self.reciprocal(eigen.values[i], lambda)
      }
      return { apply(weights, eigen.vectors, to: $0) }
    case .cholesky(let factor, let only):
      precondition(lambda == only, "DampedGramSolver: \(lambda) instead of \(only)")
      return factor.solve
    }
  }

  private static func reciprocal(_ value: Double, _ lambda: Double) -> Double {
    let sum = max(value, 0) + lambda
    return sum > 0 ? 1 / sum : 0
  }

  /// Rows beyond the number of parameters: so many null vectors there are in any case.
  private var knownNulls: Int { max(kept.count - parameters, 0) }

  /// Whether eigenvector i, in ascending order, is left out.
  private func isNull(_ i: Int, _ lambda: Double) -> Bool {
    guard case .eigen(let eigen) = form else { return false }
    return i < knownNulls || (isSingle || lambda == 0) && eigen.values[i] <= levels[i]
  }

  /// `Q diag(weights) Q^T b`; eigenvectors q are the rows of `vectors`.
  private func apply(
    _ weights: [Double], _ vectors: Vector<Double>, to b: [Double]
  ) -> [Double] {
    let n = kept.count
    var coordinates = Self.coordinates(vectors, b)
    var result = coordinates
    for i in 0..<n { coordinates[i] *= weights[i] }
    BLAS.gemm(
      transposeA: true, m: n, n: 1, k: n, vectors.pointer, lda: n, coordinates, ldb: 1, &result,
      ldc: 1)
    return result
  }

  private static func coordinates(_ vectors: Vector<Double>, _ b: [Double]) -> [Double] {
    let n = b.count
    var coordinates = [Double](repeating: 0, count: n)
    BLAS.gemm(m: n, n: 1, k: n, vectors.pointer, lda: n, b, ldb: 1, &coordinates, ldc: 1)
    return coordinates
  }

  private func residual(of c: [Double], _ b: [Double], lambda: Double) -> [Double] {
    let n = kept.count
    var result = zip(b, c).map { $0 - lambda * $1 }
    BLAS.gemm(
      m: n, n: 1, k: n, alpha: -1, matrix.pointer, lda: n, c, ldb: 1, beta: 1, &result, ldc: 1)
    return result
  }

  /// `x^T K x`, not negative.
  private static func quadratic(_ matrix: Vector<Double>, _ x: [Double]) -> Double {
    let n = x.count
    var product = [Double](repeating: 0, count: n)
    BLAS.gemm(m: n, n: 1, k: n, matrix.pointer, lda: n, x, ldb: 1, &product, ldc: 1)
    return max(zip(x, product).reduce(0) { $0 + $1.0 * $1.1 }, 0)
  }

  /// `|G^T c|_2`
  package func norm(_ coefficients: [Double]) -> Double {
    Self.quadratic(matrix, kept.map { coefficients[$0] }).squareRoot()
  }
}

// MARK: - What rounding of the rows does to a solution

// `d = G^T A^-1 b` with `A = K + lambda I` moves under a change E of G by
//   lambda (G^T G + lambda I)^-1 E^T c  -  G^T A^-1 (E d - db)
// to first order. Rows of E are taken for independent, each with a norm of its own and no preferred
// direction among the parameters.
extension DampedGramSolver {
  /// An estimate of `|d - exact d|_2` of `d = G^T c`, `c = A^-1 b`.
  ///
  /// - Parameters:
  ///   - norm: `|d|_2`
  ///   - rowErrors: Norms of the rows of E.
  ///   - targetErrors: Sizes of db.
  package func error(
    of coefficients: [Double], _ rightHandSide: [Double], lambda: Double, norm: Double,
    rowErrors: [Double], targetErrors: [Double]
  ) -> Double {
    let sum = rowErrors.indices.reduce(0.0) {
      let own = coefficients[$1] * rowErrors[$1]
      return $0 + own * own
    }
    let first = sum.squareRoot() * share(lambda: lambda)
    // Nothing of K is left; squares of 1 / lambda are no numbers.
    if lambda > 1e100 { return first }
    let second = leftOut(rightHandSide, sizes: rowErrors, lambda: lambda)
    let rounding = roundings(of: coefficients)
    let third = amplified(
      rowErrors.indices.map {
        euclidean(euclidean(rowErrors[$0] * norm, targetErrors[$0]), rounding[$0])
      }, lambda: lambda)
    return (first * first + second * second + third * third).squareRoot()
  }

  /// Sizes of `dK c` for the rounding of K itself, which is formed in double, and of a product with it:
  /// relative to the terms that it sums, which may be far larger than what is left of them.
  package func roundings(of coefficients: [Double]) -> [Double] {
    let norms = kept.indices.map { matrix[$0 * (kept.count + 1)].squareRoot() }
    let size = zip(kept, norms).reduce(0.0) {
      let own = coefficients[$1.0] * $1.1
      return $0 + own * own
    }.squareRoot()
    var sizes = [Double](repeating: 0, count: count)
    for (row, norm) in zip(kept, norms) { sizes[row] = 4 * .ulpOfOne * norm * size }
    return sizes
  }

  /// What the rounding of K and of the solve leaves of `G^T c` where that should vanish.
  package func noise(_ coefficients: [Double], lambda: Double) -> Double {
    guard case .eigen(let eigen) = form, let largest = eigen.values.last else { return 0 }
    let gain = eigen.values.indices.reduce(0.0) { most, i in
      if isNull(i, lambda) { return most }
      let value = max(eigen.values[i], 0)
      return max(most, value.squareRoot() * Self.reciprocal(value, lambda))
    }
    let norm = coefficients.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return Double(kept.count) * .ulpOfOne * largest * norm * gain
  }

  /// How much of a change in parameter space `lambda (G^T G + lambda I)^-1` leaves, root mean square.
  package func share(lambda: Double) -> Double {
    guard case .eigen(let eigen) = form, parameters < .max else { return 1 }
    var sum = 0.0
    var rank = 0
    for i in eigen.values.indices where !isNull(i, lambda) {
      let left = lambda * Self.reciprocal(eigen.values[i], lambda)
      sum += left * left
      rank += 1
    }
    sum += Double(max(parameters - rank, 0))
    return min(1, (sum / Double(max(parameters, 1))).squareRoot())
  }

  /// `|G^T A^-1 x|_2` for x of independent entries of these sizes, root mean square.
  package func amplified(_ sizes: [Double], lambda: Double) -> Double {
    let sizes = kept.map { sizes[$0] }
    switch form {
    case .eigen(let eigen):
      var sum = 0.0
      for i in eigen.values.indices where !isNull(i, lambda) {
        let inverse = Self.reciprocal(eigen.values[i], lambda)
        let weight = max(eigen.values[i], 0) * inverse * inverse
        let row = i * sizes.count
        for n in sizes.indices {
          let part = eigen.vectors[row + n] * sizes[n]
          sum += weight * part * part
        }
      }
      return sum.squareRoot()
    case .cholesky(let factor, _):
      // A mean of two trials.
      let squares = (1...2).map { probe in
        Self.quadratic(
          matrix, factor.solve(zip(Self.signs(sizes.count, probe), sizes).map { $0 * $1 }))
      }
      return (squares.reduce(0, +) / 2).squareRoot()
    }
  }

  /// What leaving out null vectors may cost: the change of d through the part of b that lies in them,
  /// and what exact arithmetic would have put there where they are null only to rounding.
  ///
  /// - Parameter sizes: Of the rows of E.
  package func leftOut(_ rightHandSide: [Double], sizes: [Double], lambda: Double) -> Double {
    guard case .eigen(let eigen) = form, let largest = eigen.values.last else { return 0 }
    let n = kept.count
    // Without damping what is left out counts as zero, unless it is clearly above the rounding of K.
    let doubtful = lambda > 0 ? -.infinity : 4 * .ulpOfOne * largest
    var part = Self.coordinates(eigen.vectors, kept.map { rightHandSide[$0] })
    var (inverses, dropped) = (0.0, 0.0)
    for i in 0..<n {
      let inverse = Self.reciprocal(eigen.values[i], lambda)
      if !isNull(i, lambda) {
        inverses += inverse * inverse
        part[i] = 0
      } else if i >= knownNulls && eigen.values[i] > doubtful {
        dropped += max(eigen.values[i], 0) * (inverse * part[i]) * (inverse * part[i])
      }
    }
    var rest = part
    BLAS.gemm(
      transposeA: true, m: n, n: 1, k: n, eigen.vectors.pointer, lda: n, part, ldb: 1, &rest, ldc: 1
    )
    let square = zip(rest, kept).reduce(0) { $0 + ($1.0 * sizes[$1.1]) * ($1.0 * sizes[$1.1]) }
    let parameters = Double(min(parameters, 1 << 62))
    return (square * inverses / parameters + dropped).squareRoot()
  }
}

func euclidean(_ a: Double, _ b: Double) -> Double { (a * a + b * b).squareRoot() }

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
