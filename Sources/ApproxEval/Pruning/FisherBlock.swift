import TensorModule

/// One block of `F = A^T A + lambda I`, A the rows of N samples `[N, B]`, in double.
///
/// With fewer samples than weights a factorisation of `A A^T + lambda I` is enough, by the Woodbury
/// identity; otherwise F itself is factorised. Singh and Alistarh 2020 come to the same inverse by one
/// update of rank one for each sample.
struct FisherBlock {
  let samples: Int
  /// B
  let size: Int
  let lambda: Double
  /// A
  let rows: Vector<Double>

  /// - Parameter lambda: Positive.
  init(rows: Vector<Double>, samples: Int, lambda: Double) {
    size = rows.count / samples
    (self.rows, self.samples, self.lambda) = (rows, samples, lambda)
  }

  /// Whether the products of samples make the smaller matrix.
  fileprivate var hasFewSamples: Bool { samples < size }

  /// Of `A A^T + lambda I` or of `A^T A + lambda I`, whichever is smaller.
  fileprivate func factor(_ a: Vector<Double>) throws(LinearAlgebraError) -> CholeskyFactorization {
    let n = min(samples, size)
    let matrix = Vector<Double>(count: n * n)
    if hasFewSamples {
      BLAS.symmetricRankUpdate(n: n, k: size, a.pointer, lda: size, matrix.pointer, ldc: n)
    } else {
      BLAS.gemm(
        transposeA: true, m: n, n: n, k: samples, a.pointer, lda: n, a.pointer, ldb: n,
        matrix.pointer, ldc: n)
    }
    for i in 0..<n { matrix.pointer[i * (n + 1)] += lambda }
    return try CholeskyFactorization(n: n, overwriting: matrix)
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
    let factor = try factor(staying)
    let transposed = { (x: [Double]) -> [Double] in
      let result = Vector<Double>(count: size)
      BLAS.addTransposedProduct(
        rows: samples, columns: size, staying.pointer, stride: size, x, to: result.pointer)
      return result.array
    }
    return hasFewSamples
      ? transposed(factor.solve(target.array)) : factor.solve(transposed(target.array))
  }

  /// Doubles that a block takes at the most: with its inverse, or with the columns that stay.
  static func doubles(samples: Int, size: Int, isJoint: Bool) -> ByteCount {
    let (n, b) = (ByteCount(samples), ByteCount(size))
    let k = min(n, b)
    return n * b + (isJoint ? n : k) * b + k * k
  }
}

/// The inverse of a block, never written out: `F^-1 = (I - W^T W) / lambda` with `W = L^-1 A`,
/// `L L^T = A A^T + lambda I`, or `L^-T L^-1`, `L L^T = F`.
struct InverseFisherBlock {
  private let block: FisherBlock
  /// W, or `L^-1`, rows of B.
  private let half: Vector<Double>

  init(_ block: FisherBlock) throws(LinearAlgebraError) {
    self.block = block
    let size = block.size
    let factor = try block.factor(block.rows)
    if block.hasFewSamples {
      half = block.rows.copy()
    } else {
      half = Vector(count: size * size)
      for i in 0..<size { half.pointer[i * (size + 1)] = 1 }
    }
    factor.halfSolve(columns: size, half.pointer)
  }

  /// `[F^-1]_qq`, `[B]`
  var diagonal: [Double] {
    let sums = Self.columnSquares(half, block.size)
    if !block.hasFewSamples { return sums }
    // A weight that the samples all but determine leaves 1 - |W e_q|^2 to rounding: it is never below
    // what F_qq alone says, as [F^-1]_qq >= 1 / F_qq.
    let squares = Self.columnSquares(block.rows, block.size)
    let lambda = block.lambda
    return zip(sums, squares).map { max((1 - $0) / lambda, 1 / ($1 + lambda)) }
  }

  /// `F^-1 v`
  func times(_ v: [Double]) -> [Double] {
    let size = block.size
    let count = half.count / size
    let product = Vector<Double>(count: count)
    BLAS.multiply(
      rows: count, columns: size, half.pointer, stride: size, v, into: product.pointer)
    let result = Vector<Double>(count: size)
    BLAS.addTransposedProduct(
      rows: count, columns: size, half.pointer, stride: size, product.pointer, to: result.pointer)
    if !block.hasFewSamples { return result.array }
    return result.array.enumerated().map { (v[$0] - $1) / block.lambda }
  }

  private static func columnSquares(_ a: Vector<Double>, _ columns: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: columns)
    for start in stride(from: 0, to: a.count, by: columns) {
      for q in 0..<columns { sums[q] += a.pointer[start + q] * a.pointer[start + q] }
    }
    return sums
  }
}
