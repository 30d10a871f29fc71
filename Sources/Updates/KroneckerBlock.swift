import Curvature
import TensorModule

/// One linear layer's part of K-FAC: `(A x B + lambda I)^-1 g` for every lambda from one
/// decomposition of each factor, in double.
///
/// With rows `a_i` of the layer's inputs (a last column of ones where a bias trains) and `b_i` of
/// the gradients at its outputs, i = 1 ... N T, the sum over samples of the layer's block is
/// approximated by
///
///     A x B,  A = 1/(N T) sum_i a_i a_i^T,  B = sum_i b_i b_i^T:
///
/// A is a mean and B a sum, so that lambda means what it means for EF, whose matrix is the sum
/// `sum_n g_n g_n^T` (both have the same trace where all |a_i| are equal). In the eigenvectors of
/// A and B every coordinate of g is divided by `alpha beta + lambda`. What g has outside of the
/// eigenvectors at hand has an eigenvalue of zero and is divided by lambda.
struct KroneckerBlock {
  /// Rows of B: of which draws, and what each sample of a draw is multiplied by.
  struct OutputFactor {
    let draws: Range<Int>
    /// Per draw of the rows, `[N]`.
    let weights: [Int: [Double]]
    /// Whether g is made of the same rows: then it lies in the range of B.
    let spansGradient: Bool
  }

  /// `[out, in + 1]` of every vector and matrix of the layer.
  let outputs: Int
  let inputs: Int
  private let inputFactor: RowSpectrum
  private let outputFactor: RowSpectrum
  /// Eigenvalues of A.
  private let alphas: [Double]
  private let spansGradient: Bool
  /// `V_B^T g V_A`, `[k_B, k_A]`
  private let coordinates: Vector<Double>
  /// What of g lies outside of the eigenvectors of B, `[out, in + 1]`; `nil` where nothing does.
  private let outside: Vector<Double>?
  /// N T
  private let rowCount: Int
  /// The norms of the rows that g is the sum of, added in squares.
  private let gradientSize: Double

  /// - Parameters:
  ///   - gradientWeights: What the rows of the true labels are multiplied by in g, per sample.
  init<S: EngineScalar>(
    _ rows: LayerRows<S>, _ factor: OutputFactor, gradientWeights: [Double]
  ) throws(LinearAlgebraError) {
    let (count, outputs, inputs) = (rows.count, rows.outputColumns, rows.inputColumns)
    self.outputs = outputs
    self.inputs = inputs
    spansGradient = factor.spansGradient
    inputFactor = try RowSpectrum(rows: count, columns: inputs) { rows.writeInputs($0, to: $1) }
    alphas = inputFactor.values.map { $0 / Double(count) }
    outputFactor = try RowSpectrum(rows: factor.draws.count * count, columns: outputs) {
      range, out in
      // A range may run over the end of a draw.
      for draw in factor.draws {
        let first = (draw - factor.draws.lowerBound) * count
        let part = range.clamped(to: first..<first + count)
        if part.isEmpty { continue }
        rows.writeCotangents(
          draw: draw, part.lowerBound - first..<part.upperBound - first,
          weights: factor.weights[draw]!,
          to: out + (part.lowerBound - range.lowerBound) * outputs)
      }
    }

    rowCount = count
    let (g, size) = KroneckerBlock.gradient(rows, weights: gradientWeights)
    gradientSize = size
    let (kA, kB) = (alphas.count, outputFactor.values.count)
    let half = Vector<Double>(count: kB * inputs)
    BLAS.gemm(
      m: kB, n: inputs, k: outputs, outputFactor.basis.pointer, lda: outputs, g.pointer,
      ldb: inputs, half.pointer, ldc: inputs)
    coordinates = Vector(count: kB * kA)
    BLAS.gemm(
      transposeB: true, m: kB, n: kA, k: inputs, half.pointer, lda: inputs,
      inputFactor.basis.pointer, ldb: inputs, coordinates.pointer, ldc: kA)
    if factor.spansGradient || outputFactor.isComplete {
      outside = nil
    } else {
      BLAS.gemm(
        transposeA: true, m: outputs, n: inputs, k: kB, alpha: -1, outputFactor.basis.pointer,
        lda: outputs, half.pointer, ldb: inputs, beta: 1, g.pointer, ldc: inputs)
      outside = g
    }
  }

  /// `sum_i b_i a_i^T`, `[out, in + 1]`, in double from the very rows of the factors: in the single
  /// precision of the engine g would leave their range by more than lambda.
  private static func gradient<S: EngineScalar>(
    _ rows: LayerRows<S>, weights: [Double]
  ) -> (g: Vector<Double>, size: Double) {
    let (outputs, inputs) = (rows.outputColumns, rows.inputColumns)
    var square = 0.0
    let g = Vector<Double>(count: outputs * inputs)
    let a = Vector<Double>(count: RowSpectrum.tileRows * inputs)
    let b = Vector<Double>(count: RowSpectrum.tileRows * outputs)
    RowSpectrum.forEachTile(rows.count) { range in
      rows.writeInputs(range, to: a.pointer)
      rows.writeCotangents(draw: 0, range, weights: weights, to: b.pointer)
      BLAS.gemm(
        transposeA: true, m: outputs, n: inputs, k: range.count, b.pointer, lda: outputs,
        a.pointer, ldb: inputs, beta: 1, g.pointer, ldc: inputs)
      for row in 0..<range.count {
        let (a, b) = (
          UnsafePointer(a.pointer + row * inputs), UnsafePointer(b.pointer + row * outputs)
        )
        square += Kernels.dot(a, a, count: inputs) * Kernels.dot(b, b, count: outputs)
      }
    }
    return (g, square.squareRoot())
  }

  /// `(A x B + lambda I)^-1 g`, `[out, in + 1]`.
  ///
  /// Eigenvalues at the level of rounding count as zero; g has no part there where it is made of
  /// the rows of the factor. Without damping the solution is that of least norm.
  func solution(lambda: Double) -> Vector<Double> {
    let (kA, kB) = (alphas.count, outputFactor.values.count)
    let weighted = coordinates.copy()
    for (i, beta) in outputFactor.values.enumerated() {
      let isNull = beta <= outputFactor.level && (spansGradient || lambda == 0)
      for (j, alpha) in alphas.enumerated() {
        if isNull || inputFactor.values[j] <= inputFactor.level {
          weighted.pointer[i * kA + j] = 0
        } else {
          weighted.pointer[i * kA + j] /= alpha * beta + lambda
        }
      }
    }
    let half = Vector<Double>(count: kB * inputs)
    BLAS.gemm(
      m: kB, n: inputs, k: kA, weighted.pointer, lda: kA, inputFactor.basis.pointer, ldb: inputs,
      half.pointer, ldc: inputs)
    let result = Vector<Double>(count: outputs * inputs)
    if let outside, lambda != 0 {
      for i in 0..<result.count { result.pointer[i] = outside.pointer[i] / lambda }
    }
    BLAS.gemm(
      transposeA: true, m: outputs, n: inputs, k: kB, outputFactor.basis.pointer, lda: outputs,
      half.pointer, ldb: inputs, beta: 1, result.pointer, ldc: inputs)
    return result
  }

  /// An estimate of `|d - exact d|_2 / |d|_2` of the solution.
  ///
  /// Along the eigenvectors of A and B, g carries errors of the rows that it is the sum of, and a
  /// change of the rows changes A and B: to first order as in `DampedGramSolver.error`, with `A x B`
  /// for the matrix and as many rows as the factors are made of.
  ///
  /// - Parameter rows: Relative error of a row.
  func relativeError(lambda: Double, rows error: Double) -> Double {
    let (kA, kB) = (alphas.count, outputFactor.values.count)
    let betas = outputFactor.values
    var (norm, inverses, gain) = (0.0, 0.0, 0.0)
    for (i, beta) in betas.enumerated() {
      let isNull = beta <= outputFactor.level && (spansGradient || lambda == 0)
      for (j, alpha) in alphas.enumerated() {
        if isNull || inputFactor.values[j] <= inputFactor.level { continue }
        let inverse = 1 / (alpha * beta + lambda)
        norm += coordinates[i * kA + j] * coordinates[i * kA + j] * inverse * inverse
        inverses += inverse * inverse
        gain += alpha * beta * inverse * inverse
      }
    }
    if let outside, lambda > 0 {
      let values = UnsafePointer(outside.pointer)
      norm += Kernels.dot(values, values, count: outside.count) / (lambda * lambda)
      inverses += Double((outputs - kB) * kA) / (lambda * lambda)
    }
    if norm == 0 { return 0 }
    // Spread over all coordinates alike.
    let own = error * gradientSize
    let first = own * own * inverses / Double(outputs * inputs) / norm
    let trace = alphas.reduce(0, +) * betas.reduce(0, +)
    let second = error * error * trace / Double(rowCount) * gain
    return (first + second).squareRoot()
  }
}
