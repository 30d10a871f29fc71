import Curvature
import TensorModule

/// The gradients of one weight, sample by sample, as matrices `G_n` [rows, columns] in double, in the form
/// that costs less: as products of a few rows of the layer's outputs and inputs, or written out.
struct GradientMatrices {
  enum Form {
    /// `G_n = B_n^T A_n`: b `[N T, rows]`, a `[N T, columns]`.
    case products(positions: Int, b: Vector<Double>, a: Vector<Double>)
    /// `[N, rows, columns]`
    case explicit(Vector<Double>)
  }

  enum Side {
    /// Of the rows, the layer's outputs: `sum_n G_n G_n^T`.
    case left
    /// Of the columns, its inputs: `sum_n G_n^T G_n`.
    case right
  }

  let samples: Int
  let rows: Int
  let columns: Int
  let form: Form
  /// Whether columns sum to zero.
  let isCentred: Bool

  init(samples: Int, rows: Int, columns: Int, isCentred: Bool = false, _ form: Form) {
    (self.samples, self.rows, self.columns, self.form) = (samples, rows, columns, form)
    self.isCentred = isCentred
    if isCentred { centre() }
  }

  /// - Parameters:
  ///   - shape: `[rows, columns]`, of a weight whose gradients are written out.
  ///   - isCentred: Whether every column of a gradient sums to zero in exact arithmetic, as at logits of
  ///     cross-entropy. Sums that the rounding of single precision has left would be an eigenvector with
  ///     an eigenvalue that powers lift.
  init(
    _ weight: WeightRows, samples: Int, shape: (rows: Int, columns: Int), isCentred: Bool = false
  ) {
    switch weight {
    case .products(let positions, let outputs, let inputs, let b, let a):
      self.init(
        samples: samples, rows: outputs, columns: inputs, isCentred: isCentred,
        .products(positions: positions, b: b, a: a))
    case .explicit(let values):
      self.init(
        samples: samples, rows: shape.rows, columns: shape.columns, isCentred: isCentred,
        .explicit(values))
    }
  }

  /// Takes the means of columns out, in place.
  private func centre() {
    let (values, width): (Vector<Double>, Int) =
      switch form {
      case .products(_, let b, _): (b, 1)
      case .explicit(let values): (values, columns)
      }
    let size = rows * width
    for first in stride(from: 0, to: values.count, by: max(size, 1)) {
      for column in 0..<width {
        let start = first + column
        var sum = 0.0
        for row in 0..<rows { sum += values[start + row * width] }
        let mean = sum / Double(rows)
        for row in 0..<rows { values.pointer[start + row * width] -= mean }
      }
    }
  }

  /// `sum_n G_n`, `[rows, columns]`.
  var sum: Vector<Double> {
    let result = Vector<Double>(count: rows * columns)
    switch form {
    case .products(let positions, let b, let a):
      BLAS.gemm(
        transposeA: true, m: rows, n: columns, k: samples * positions, b.pointer, lda: rows,
        a.pointer, ldb: columns, result.pointer, ldc: columns)
    case .explicit(let values):
      for n in 0..<samples {
        Kernels.axpby(
          1, values.pointer + n * result.count, 1, result.pointer, count: result.count)
      }
    }
    return result
  }

  /// `<G_n, X>` for every sample, X `[rows, columns]`.
  func products(with x: Vector<Double>) -> [Double] {
    switch form {
    case .explicit(let values):
      return (0..<samples).map {
        Kernels.dot(values.pointer + $0 * x.count, UnsafePointer(x.pointer), count: x.count)
      }
    case .products(let positions, let b, let a):
      // `sum_t b_t . X a_t`
      let moved = Vector<Double>(count: b.count)
      BLAS.gemm(
        transposeB: true, m: samples * positions, n: rows, k: columns, a.pointer, lda: columns,
        x.pointer, ldb: columns, moved.pointer, ldc: rows)
      let size = positions * rows
      return (0..<samples).map {
        Kernels.dot(
          b.pointer + $0 * size, UnsafePointer(moved.pointer + $0 * size), count: size)
      }
    }
  }

  /// `sum_n G_n * G_n`, entry by entry.
  var squares: Vector<Double> {
    let result = Vector<Double>(count: rows * columns)
    if case .products(1, let b, let a) = form {
      let (squaredB, squaredA) = (b.copy(), a.copy())
      Kernels.multiply(b.pointer, b.pointer, squaredB.pointer, count: b.count)
      Kernels.multiply(a.pointer, a.pointer, squaredA.pointer, count: a.count)
      BLAS.gemm(
        transposeA: true, m: rows, n: columns, k: samples, squaredB.pointer, lda: rows,
        squaredA.pointer, ldb: columns, result.pointer, ldc: columns)
      return result
    }
    let own = Vector<Double>(count: result.count)
    for n in 0..<samples {
      write(n, to: own.pointer)
      Kernels.multiply(own.pointer, own.pointer, own.pointer, count: own.count)
      Kernels.axpby(1, own.pointer, 1, result.pointer, count: own.count)
    }
    return result
  }

  /// `G_n`
  func write(_ n: Int, to out: UnsafeMutablePointer<Double>) {
    switch form {
    case .products(let positions, let b, let a):
      BLAS.gemm(
        transposeA: true, m: rows, n: columns, k: positions, b.pointer + n * positions * rows,
        lda: rows, a.pointer + n * positions * columns, ldb: columns, out, ldc: columns)
    case .explicit(let values):
      Kernels.copy(values.pointer + n * rows * columns, out, count: rows * columns)
    }
  }

  /// `left G_n right^T` for matrices `left` [k, rows] and `right` [l, columns]; `nil` is the identity.
  func transformed(
    left: (count: Int, matrix: Vector<Double>)? = nil,
    right: (count: Int, matrix: Vector<Double>)? = nil
  ) -> GradientMatrices {
    let (k, l) = (left?.count ?? rows, right?.count ?? columns)
    switch form {
    case .products(let positions, let b, let a):
      let count = samples * positions
      return GradientMatrices(
        samples: samples, rows: k, columns: l, isCentred: isCentred && left == nil,
        .products(
          positions: positions,
          b: left.map { Self.product(b, count, rows, $0) } ?? b,
          a: right.map { Self.product(a, count, columns, $0) } ?? a))
    case .explicit(let values):
      let wide = right.map { Self.product(values, samples * rows, columns, $0) } ?? values
      guard let left else {
        return GradientMatrices(
          samples: samples, rows: k, columns: l, isCentred: isCentred, .explicit(wide))
      }
      let result = Vector<Double>(count: samples * k * l)
      for n in 0..<samples {
        BLAS.gemm(
          m: k, n: l, k: rows, left.matrix.pointer, lda: rows, wide.pointer + n * rows * l, ldb: l,
          result.pointer + n * k * l, ldc: l)
      }
      return GradientMatrices(
        samples: samples, rows: k, columns: l, .explicit(result))
    }
  }

  /// `X M^T`, X `[count, width]`.
  private static func product(
    _ x: Vector<Double>, _ count: Int, _ width: Int, _ m: (count: Int, matrix: Vector<Double>)
  ) -> Vector<Double> {
    let result = Vector<Double>(count: count * m.count)
    BLAS.gemm(
      transposeB: true, m: count, n: m.count, k: width, x.pointer, lda: width, m.matrix.pointer,
      ldb: width, result.pointer, ldc: m.count)
    return result
  }

  /// `sum_n G_n G_n^T`, `[rows, rows]`, or `sum_n G_n^T G_n`, `[columns, columns]`.
  func gram(_ side: Side) -> Vector<Double> {
    let count = side == .left ? rows : columns
    let result = Vector<Double>(count: count * count)
    switch form {
    case .products(1, let b, let a):
      // The rows of one side, each times the norm of the other.
      let (own, other) = side == .left ? (b, a) : (a, b)
      let width = side == .left ? columns : rows
      let weighted = own.copy()
      for n in 0..<samples {
        let y = UnsafePointer(other.pointer + n * width)
        let row = weighted.pointer + n * count
        Kernels.axpby(0, row, Kernels.dot(y, y, count: width), row, count: count)
      }
      BLAS.gemm(
        transposeA: true, m: count, n: count, k: samples, own.pointer, lda: count,
        weighted.pointer, ldb: count, result.pointer, ldc: count)
    case .products(let positions, let b, let a):
      let (own, other) = side == .left ? (b, a) : (a, b)
      let width = side == .left ? columns : rows
      // Weights of the own rows, `[T, T]`: products of the other ones.
      let kernel = Vector<Double>(count: positions * positions)
      let weighted = Vector<Double>(count: positions * count)
      for n in 0..<samples {
        let (x, y) = (
          own.pointer + n * positions * count, other.pointer + n * positions * width
        )
        BLAS.gemm(
          transposeB: true, m: positions, n: positions, k: width, y, lda: width, y, ldb: width,
          kernel.pointer, ldc: positions)
        BLAS.gemm(
          m: positions, n: count, k: positions, kernel.pointer, lda: positions, x, ldb: count,
          weighted.pointer, ldc: count)
        BLAS.gemm(
          transposeA: true, m: count, n: count, k: positions, x, lda: count, weighted.pointer,
          ldb: count, beta: 1, result.pointer, ldc: count)
      }
    case .explicit(let values):
      for n in 0..<samples {
        let own = values.pointer + n * rows * columns
        BLAS.gemm(
          transposeA: side == .right, transposeB: side == .left, m: count, n: count,
          k: side == .left ? columns : rows, own, lda: columns, own, ldb: columns, beta: 1,
          result.pointer, ldc: count)
      }
    }
    return result
  }

  /// Eigenvalues and eigenvectors of `gram(side)`.
  func spectrum(_ side: Side) throws(LinearAlgebraError) -> PositiveSpectrum {
    try PositiveSpectrum(gram(side), side == .left ? rows : columns)
  }

  /// Up to where a number of such a size as all gradients together is nothing but rounding.
  var level: Double {
    PositiveSpectrum.level(max(rows, columns)) * squareNorm.squareRoot()
  }

  /// `sum_n |G_n|_F^2`
  var squareNorm: Double {
    switch form {
    case .explicit(let values):
      return Kernels.dot(values.pointer, values.pointer, count: values.count)
    case .products(let positions, let b, let a):
      // Position by position with each other: `sum_ts (b_t . b_s) (a_t . a_s)`.
      let count = positions * positions
      let kernels = Vector<Double>(count: 2 * count)
      return (0..<samples).reduce(0) { sum, n in
        for (x, width, out) in [(b, rows, kernels.pointer), (a, columns, kernels.pointer + count)] {
          let own = x.pointer + n * positions * width
          BLAS.gemm(
            transposeB: true, m: positions, n: positions, k: width, own, lda: width, own,
            ldb: width, out, ldc: positions)
        }
        return sum
          + Kernels.dot(kernels.pointer, UnsafePointer(kernels.pointer + count), count: count)
      }
    }
  }

  /// The same divided by a power of two near the largest of them, and that power.
  var normalized: (matrices: GradientMatrices, unit: Double) {
    func unit(_ x: Vector<Double>) -> Double {
      // The reciprocal of a smaller one is no number.
      max(powerOfTwo(near: Kernels.largest(x.pointer, count: x.count)), .leastNormalMagnitude)
    }
    func divided(_ x: Vector<Double>, _ unit: Double) -> Vector<Double> {
      if unit == 1 { return x }
      let result = x.copy()
      Kernels.axpby(0, result.pointer, 1 / unit, result.pointer, count: result.count)
      return result
    }
    switch form {
    case .products(let positions, let b, let a):
      let (unitB, unitA) = (unit(b), unit(a))
      return (
        GradientMatrices(
          samples: samples, rows: rows, columns: columns, isCentred: isCentred,
          .products(positions: positions, b: divided(b, unitB), a: divided(a, unitA))),
        unitB * unitA
      )
    case .explicit(let values):
      let own = unit(values)
      return (
        GradientMatrices(
          samples: samples, rows: rows, columns: columns, isCentred: isCentred,
          .explicit(divided(values, own))), own
      )
    }
  }
}

/// `A B`, A `[m, k]` and B `[k, n]`.
func product(
  _ a: Vector<Double>, _ b: Vector<Double>, _ m: Int, _ k: Int, _ n: Int
) -> Vector<Double> {
  let result = Vector<Double>(count: m * n)
  BLAS.gemm(m: m, n: n, k: k, a.pointer, lda: k, b.pointer, ldb: n, result.pointer, ldc: n)
  return result
}
