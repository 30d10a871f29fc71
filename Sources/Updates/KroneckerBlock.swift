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
/// `sum_n g_n g_n^T` (both have the same trace where all |a_i| are equal). With positions reduced before
/// (Eschenhagen et al. 2023) there is one row for each sample: the mean of its a and the sum of its b.
///
/// In the eigenvectors of A and B every coordinate of g is divided by `alpha beta + lambda`. What g has
/// outside of the eigenvectors at hand has an eigenvalue of zero and is divided by lambda.
struct KroneckerBlock: LayerBlock {
  /// Rows of B: of which draws, and what each sample of a draw is multiplied by.
  struct OutputFactor {
    let draws: Range<Int>
    let weights: RowWeights
    /// Whether g is made of the same rows: then it lies in the range of B.
    let spansGradient: Bool
    /// Whether the positions of a sample are reduced to one row.
    var reducesPositions = false
  }

  /// `[out, in + 1]` of every vector and matrix of the layer.
  let outputs: Int
  let inputs: Int
  private let inputFactor: RowSpectrum
  private let outputFactor: RowSpectrum
  /// Eigenvalues of A.
  private let alphas: [Double]
  /// Whether g lies in the range of A, and in that of B.
  private let spans: (inputs: Bool, outputs: Bool)
  /// `V_B^T g V_A`, `[k_B, k_A]`
  private let coordinates: Vector<Double>
  /// What of g lies outside of the eigenvectors of A and B, `[out, in + 1]`; `nil` where nothing does.
  private let outside: Vector<Double>?
  /// N T
  private let rowCount: Int
  /// The norms of the rows that g is the sum of, added in squares.
  private let gradientSize: Double

  /// - Parameters:
  ///   - gradientWeights: What rows are multiplied by in g.
  ///   - shared: Of the same rows and weights, where it is known.
  init<S: EngineScalar>(
    _ all: LayerRows<S>, _ factor: OutputFactor, gradientWeights: RowWeights,
    shared: LayerStatistics? = nil
  ) throws(LinearAlgebraError) {
    let (outputs, inputs) = (all.outputColumns, all.inputColumns)
    self.outputs = outputs
    self.inputs = inputs
    let rows = factor.reducesPositions ? all.reduced : all
    let isReduced = rows.count < all.count
    spans = (!isReduced, !isReduced && factor.spansGradient)
    let count = rows.count
    rowCount = count
    if let shared {
      inputFactor = shared.inputs
    } else {
      inputFactor = try RowSpectrum(rows: count, columns: inputs) {
        rows.writeInputs($0, to: $1)
      }
    }
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

    let (g, size) =
      shared.map { ($0.gradient.g.copy(), $0.gradient.size) } ?? all.gradient(gradientWeights)
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
    let isInside =
      (spans.inputs || inputFactor.isComplete) && (spans.outputs || outputFactor.isComplete)
    if isInside {
      outside = nil
    } else {
      // Along A only what is not known to be inside.
      if !spans.inputs {
        BLAS.gemm(
          m: kB, n: inputs, k: kA, coordinates.pointer, lda: kA, inputFactor.basis.pointer,
          ldb: inputs, half.pointer, ldc: inputs)
      }
      BLAS.gemm(
        transposeA: true, m: outputs, n: inputs, k: kB, alpha: -1, outputFactor.basis.pointer,
        lda: outputs, half.pointer, ldb: inputs, beta: 1, g.pointer, ldc: inputs)
      outside = g
    }
  }

  /// Calls `body` with the place and the reciprocal of every eigenvalue that is not zero.
  ///
  /// Eigenvalues at the level of rounding count as zero where g, being made of the rows of the factor,
  /// has no part there, and without damping.
  private func forEachInverse(
    _ lambda: Double, _ body: (_ place: Int, _ value: Double, _ inverse: Double) -> Void
  ) {
    for (i, beta) in outputFactor.values.enumerated() {
      if beta <= outputFactor.level && (spans.outputs || lambda == 0) { continue }
      for (j, alpha) in alphas.enumerated() {
        if inputFactor.values[j] <= inputFactor.level && (spans.inputs || lambda == 0) { continue }
        body(i * alphas.count + j, alpha * beta, 1 / (alpha * beta + lambda))
      }
    }
  }

  func solved(
    lambda: Double, rows error: Double
  ) -> (solution: Vector<Double>, relativeError: Double) {
    (
      solution(lambda: lambda),
      relativeError(lambda: lambda, rows: error * Rounding.alignment(outputs * inputs))
    )
  }

  /// `(A x B + lambda I)^-1 g`, `[out, in + 1]`; without damping the solution of least norm.
  private func solution(lambda: Double) -> Vector<Double> {
    let (kA, kB) = (alphas.count, outputFactor.values.count)
    let weighted = Vector<Double>(count: kB * kA)
    forEachInverse(lambda) { place, _, inverse in
      weighted.pointer[place] = coordinates[place] * inverse
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
  /// - Parameter rows: Relative error of a row along one direction: the same rows are in the Gram matrix
  ///   and in the factors.
  private func relativeError(lambda: Double, rows error: Double) -> Double {
    let (kA, kB) = (alphas.count, outputFactor.values.count)
    var (norm, inverses, gain) = (0.0, 0.0, 0.0)
    forEachInverse(lambda) { place, value, inverse in
      norm += coordinates[place] * coordinates[place] * inverse * inverse
      inverses += inverse * inverse
      gain += value * inverse * inverse
    }
    if let outside, lambda > 0 {
      let values = UnsafePointer(outside.pointer)
      norm += Kernels.dot(values, values, count: outside.count) / (lambda * lambda)
      let others = spans.inputs ? (outputs - kB) * kA : outputs * inputs - kB * kA
      inverses += Double(others) / (lambda * lambda)
    }
    if norm == 0 { return 0 }
    // Spread over all coordinates alike.
    let own = error * gradientSize
    let first = own * own * inverses / Double(outputs * inputs) / norm
    let trace = alphas.reduce(0, +) * outputFactor.values.reduce(0, +)
    let second = error * error * trace / Double(rowCount) * gain
    return (first + second).squareRoot()
  }
}
