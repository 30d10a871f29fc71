import TensorModule

/// One block of `F = A^T A + lambda I`, A the rows of N samples `[N, B]`, and its inverse, in double.
///
/// With fewer samples than weights the Woodbury identity asks for a factorisation of
/// `A A^T + lambda I = L L^T` alone: `F^-1 = (I - W^T W) / lambda` with `W = L^-1 A`. Otherwise
/// `F = L L^T` itself is factorised. Singh and Alistarh 2020 come to the same matrix by one update of rank
/// one for each sample.
struct FisherBlock {
  let samples: Int
  /// B
  let size: Int
  let lambda: Double
  /// A
  let rows: Vector<Double>
  /// W, or `L^-1` of F itself.
  private let half: Vector<Double>

  /// - Parameter lambda: Positive.
  init(rows: Vector<Double>, samples: Int, lambda: Double) throws(LinearAlgebraError) {
    size = rows.count / samples
    (self.rows, self.samples, self.lambda) = (rows, samples, lambda)
    let factor = try Self.factor(rows, samples: samples, size: size, lambda: lambda)
    if samples < size {
      half = rows.copy()
    } else {
      half = Vector(count: size * size)
      for i in 0..<size { half.pointer[i * (size + 1)] = 1 }
    }
    factor.halfSolve(columns: size, half.pointer)
  }

  /// Of `A A^T + lambda I` or of `A^T A + lambda I`, whichever is smaller.
  private static func factor(
    _ a: Vector<Double>, samples: Int, size: Int, lambda: Double
  ) throws(LinearAlgebraError) -> CholeskyFactorization {
    let n = min(samples, size)
    let matrix = Vector<Double>(count: n * n)
    if samples < size {
      BLAS.symmetricRankUpdate(n: n, k: size, a.pointer, lda: size, matrix.pointer, ldc: n)
    } else {
      BLAS.gemm(
        transposeA: true, m: n, n: n, k: samples, a.pointer, lda: n, a.pointer, ldb: n,
        matrix.pointer, ldc: n)
    }
    for i in 0..<n { matrix.pointer[i * (n + 1)] += lambda }
    return try CholeskyFactorization(n: n, overwriting: matrix)
  }

  /// `[F^-1]_qq`, `[B]`
  var inverseDiagonal: [Double] {
    let sums = Self.columnSquares(half, size)
    if samples >= size { return sums }
    // A weight that the samples all but determine leaves 1 - |W e_q|^2 to rounding: it is never below
    // what F_qq alone says, as [F^-1]_qq >= 1 / F_qq.
    let diagonal = Self.columnSquares(rows, size)
    return zip(sums, diagonal).map { max((1 - $0) / lambda, 1 / ($1 + lambda)) }
  }

  /// `F^-1 v`
  func inverseTimes(_ v: [Double]) -> [Double] {
    let count = half.count / size
    let product = Vector<Double>(count: count)
    BLAS.multiply(
      rows: count, columns: size, half.pointer, stride: size, v, into: product.pointer)
    let result = Vector<Double>(count: size)
    BLAS.addTransposedProduct(
      rows: count, columns: size, half.pointer, stride: size, product.pointer, to: result.pointer)
    if samples >= size { return result.array }
    return result.array.enumerated().map { (v[$0] - $1) / lambda }
  }

  /// The change of the weights that stay for which `d^T F d` is least while the others go to zero:
  /// `F_RR^-1 F_RQ w_Q`, zero for those that go.
  func jointUpdate(removing removed: [Bool], of w: [Double]) throws(LinearAlgebraError) -> [Double]
  {
    let lost = zip(w, removed).map { $1 ? $0 : 0 }
    let target = Vector<Double>(count: samples)
    BLAS.multiply(
      rows: samples, columns: size, rows.pointer, stride: size, lost, into: target.pointer)
    // Columns of zeros in place of those that go: the solution is zero there.
    let staying = rows.copy()
    for n in 0..<samples {
      let row = staying.pointer + n * size
      for q in 0..<size where removed[q] { row[q] = 0 }
    }
    let factor = try Self.factor(staying, samples: samples, size: size, lambda: lambda)
    let transposed = { (x: [Double]) -> [Double] in
      let result = Vector<Double>(count: size)
      BLAS.addTransposedProduct(
        rows: samples, columns: size, staying.pointer, stride: size, x, to: result.pointer)
      return result.array
    }
    return samples < size
      ? transposed(factor.solve(target.array)) : factor.solve(transposed(target.array))
  }

  private static func columnSquares(_ a: Vector<Double>, _ columns: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: columns)
    for start in stride(from: 0, to: a.count, by: columns) {
      for q in 0..<columns { sums[q] += a.pointer[start + q] * a.pointer[start + q] }
    }
    return sums
  }

  /// Doubles that a block takes at the most.
  static func doubles(samples: Int, size: Int, isJoint: Bool) -> ByteCount {
    let (n, b) = (ByteCount(samples), ByteCount(size))
    let k = min(n, b)
    return (isJoint ? 2 : 1) * n * b + k * b + k * k
  }
}
