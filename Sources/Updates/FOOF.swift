import Curvature
import GraphModule
import TensorModule

extension UpdateMethod {
  /// Benzing 2022.
  public static let foof = UpdateMethod(
    "foof",
    "`G (A + λ I)⁻¹` for each linear layer, A the mean of `a aᵀ`; every other tensor takes g",
    MethodNeeds(isDamped: true, usesWeightStatistics: true), FOOF())
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
    let source = gradients.perSample.prefix(draws: 1)
    let unit = powerOfTwo(near: source.scales.max() ?? 0)
    let weights = source.scales.map { $0 / unit }
    let error = gradients.errors.relative[..<gradients.samples].max() ?? 0
    let outcomes = TaskResults<Result<Void, LinearAlgebraError>>(count: plan.layers.count)
    source.forEachLayer(
      plan, { gradients.writeCotangents(draws: 1, $0, to: $1) },
      { index, rows in
        let layer = plan.layers[index]
        let outcome = Result { () throws(LinearAlgebraError) in
          let block = try InputBlock(rows, weights: weights)
          for (lambda, (_, parts)) in zip(own, parts.all) {
            let solution = block.solution(lambda: lambda)
            parts.set(layer, solution, exponent: unit.exponent)
            parts.setError(
              layer.weight, relative: block.relativeError(lambda: lambda, rows: error),
              of: solution.pointer, count: solution.count, exponent: unit.exponent)
          }
        }
        outcomes.set(index, outcome)
      })
    for outcome in outcomes.all { try outcome.get() }
    let ones = [Double](repeating: 1, count: gradients.samples)
    for (parameter, _) in plan.exact {
      let g = source.restricted(to: parameter).weightedSum(ones, of: [parameter])
      for (_, parts) in parts.all {
        parts.set(parameter, g.values.pointer, exponent: g.unit.exponent)
      }
    }
    return parts.finished()
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    (
      "Kronecker factors",
      sizes.batch.kronecker(
        sizes.layerProgram, draws: 1, factorDraws: 1, workers: sizes.workers)
    )
  }
}

/// One layer: `g (A + lambda I)^-1` in the eigenvectors of A, in whose range g lies.
private struct InputBlock {
  private let outputs: Int
  private let inputs: Int
  private let factor: RowSpectrum
  private let alphas: [Double]
  /// `g V_A`, `[out, k]`
  private let coordinates: Vector<Double>
  private let gradientSize: Double

  init<S: EngineScalar>(
    _ rows: LayerRows<S>, weights: [Double]
  ) throws(LinearAlgebraError) {
    (outputs, inputs) = (rows.outputColumns, rows.inputColumns)
    factor = try RowSpectrum(rows: rows.count, columns: inputs) { rows.writeInputs($0, to: $1) }
    alphas = factor.values.map { $0 / Double(rows.count) }
    let (g, size) = rows.gradient([0: weights])
    gradientSize = size
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

  /// `[out, in + 1]`
  func solution(lambda: Double) -> Vector<Double> {
    let weighted = coordinates.copy()
    let k = alphas.count
    for (j, inverse) in inverses(lambda).enumerated() {
      for o in 0..<outputs { weighted.pointer[o * k + j] *= inverse }
    }
    let result = Vector<Double>(count: outputs * inputs)
    BLAS.gemm(
      m: outputs, n: inputs, k: k, weighted.pointer, lda: k, factor.basis.pointer, ldb: inputs,
      result.pointer, ldc: inputs)
    return result
  }

  /// As of `KroneckerBlock`, with the identity for B.
  func relativeError(lambda: Double, rows error: Double) -> Double {
    let all = inverses(lambda)
    let k = alphas.count
    var (norm, gain) = (0.0, 0.0)
    for (j, inverse) in all.enumerated() {
      var square = 0.0
      for o in 0..<outputs {
        square += coordinates[o * k + j] * coordinates[o * k + j]
      }
      norm += square * inverse * inverse
      gain += alphas[j] * inverse * inverse
    }
    if norm == 0 { return 0 }
    let own = error * gradientSize * Rounding.alignment(outputs * inputs)
    let first = own * own * all.reduce(0) { $0 + $1 * $1 } / Double(inputs) / norm
    let second =
      error * error * Rounding.alignment(inputs) * alphas.reduce(0, +) / Double(inputs) * gain
    return (first + second).squareRoot()
  }
}
