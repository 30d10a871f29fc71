import Curvature
import GraphModule
import TensorModule

extension UpdateMethod {
  /// Benzing 2022.
  public static let foof = UpdateMethod(
    "foof",
    "`G (A + λ I)⁻¹` for each linear layer, A the mean of `a aᵀ`; every other tensor takes g",
    MethodNeeds(isDamped: true, decomposition: .inputs, shares: .layers), FOOF())
}

/// Gradient descent on the outputs of the neurons (method.md 7): the gradient of a linear layer, weight
/// and bias together, times `(A + lambda I)^-1` on the side of its inputs, A the mean of a a^T over
/// samples and positions. lambda is in the units of A.
///
/// What is no linear layer, and what is used in several places, takes the gradient itself: its authors
/// say nothing of it.
private struct FOOF: DirectionRule {
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let plan = KroneckerPlan(gradients.linearization.layerProgram)
    let parts = DampedParts<S>(
      gradients.linearization.program, dampings, dampings.map { gradients.lambda($0) })
    let own = parts.all.map { rescaled(lambda: $0.lambda, from: gradients.gram.unit, to: 1) }
    let trueRows = TrueLabelRows(gradients)
    let shared = context.sharedLayers
    if let shared, shared.isComplete {
      parts.setLayers(
        plan, gradients.linearization.pool, lambdas: own, error: trueRows.error,
        exponent: trueRows.unit.exponent
      ) { InputBlock(plan.layers[$0], shared[$0]!) }
    } else {
      try parts.setLayers(plan, trueRows, lambdas: own, exponent: trueRows.unit.exponent) {
        index, rows, weights throws(LinearAlgebraError) in
        let weights = [0: weights]
        guard let shared else {
          return try InputBlock(rows.layer, LayerStatistics(rows, weights))
        }
        return try InputBlock(rows.layer, shared.value(index, rows, weights))
      }
    }
    let ones = [Double](repeating: 1, count: gradients.samples)
    for (parameter, _) in plan.exact {
      let rows = trueRows.source.restricted(to: parameter)
      let g = rows.weightedSum(ones, of: [parameter])
      let norms = rows.gramMatrix(.norms)
      let size = (0..<gradients.samples).reduce(0) { $0 + norms.norm($1) * norms.norm($1) }
      let own = trueRows.error * size.squareRoot() * Rounding.alignment(g.values.count)
      for (_, parts) in parts.all {
        parts.set(parameter, g.values.pointer, exponent: g.unit.exponent)
        parts.setError(parameter, own, exponent: 0)
      }
    }
    return parts.finished()
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    (
      "Kronecker factors",
      sizes.batch.kronecker(
        sizes.layerProgram, draws: 1, factorDraws: 1, workers: sizes.workers)
        + sizes.batch.weightedSum(inDouble: true)
    )
  }
}

/// One layer: `g (A + lambda I)^-1` in the eigenvectors of A, in whose range g lies.
private struct InputBlock: LayerBlock {
  private let outputs: Int
  private let inputs: Int
  private let factor: RowSpectrum
  private let alphas: [Double]
  /// `g V_A`, `[out, k]`
  private let coordinates: Vector<Double>
  private let gradientSize: Double
  private let rowCount: Int

  init(_ layer: KroneckerPlan.Layer, _ statistics: LayerStatistics) {
    outputs = layer.linear.outputs
    factor = statistics.inputs
    inputs = factor.columns
    rowCount = statistics.rowCount
    alphas = factor.values.map { $0 / Double(statistics.rowCount) }
    let g: Vector<Double>
    (g, gradientSize) = statistics.gradient
    coordinates = Vector(count: outputs * alphas.count)
    BLAS.gemm(
      transposeB: true, m: outputs, n: alphas.count, k: inputs, g.pointer, lda: inputs,
      factor.basis.pointer, ldb: inputs, coordinates.pointer, ldc: alphas.count)
  }

  private func inverses(_ lambda: Double) -> [Double] {
    alphas.indices.map {
      factor.values[$0] <= factor.level ? 0 : 1 / (alphas[$0] + lambda)
    }
  }

  /// The error as of `KroneckerBlock`, with the identity for B.
  func solved(
    lambda: Double, rows error: Double
  ) -> (solution: Vector<Double>, relativeError: Double) {
    let inverses = inverses(lambda)
    let weighted = coordinates.copy()
    let k = alphas.count
    for o in 0..<outputs {
      let row = weighted.pointer + o * k
      for j in 0..<k { row[j] *= inverses[j] }
    }
    let result = Vector<Double>(count: outputs * inputs)
    BLAS.gemm(
      m: outputs, n: inputs, k: k, weighted.pointer, lda: k, factor.basis.pointer, ldb: inputs,
      result.pointer, ldc: inputs)
    let norm = Kernels.dot(weighted.pointer, weighted.pointer, count: weighted.count)
    if norm == 0 { return (result, 0) }
    let own = error * gradientSize * Rounding.alignment(outputs * inputs)
    let squares = inverses.map { $0 * $0 }
    let first = own * own * squares.reduce(0, +) / Double(inputs) / norm
    let share = error * Rounding.alignment(inputs)
    let gain = zip(alphas, squares).reduce(0) { $0 + $1.0 * $1.1 }
    let second = share * share * alphas.reduce(0, +) / Double(rowCount) * gain
    return (result, (first + second).squareRoot())
  }
}
