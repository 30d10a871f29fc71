import Curvature
import GraphModule
import TensorModule

extension UpdateMethod {
  /// George et al. 2018, who call it EKFAC.
  public static let eigenvalueKFAC = UpdateMethod(
    "evkfac",
    "the eigenbases of `ekfac` with the exact second moments of the samples' gradients in them: "
      + "`G' / (mean_n G_n'² + λ)`, and back; other tensors as `block-ef`, of means",
    MethodNeeds(isDamped: true, gram: .exceptions, hasKroneckerProducts: true, shares: .layers),
    EigenvalueKFAC())
}

/// K-FAC with its eigenvalues corrected (method.md 7): in the eigenvectors of the factors of the true
/// labels, as in the authors' code, every coordinate of g is divided by the mean square of the samples'
/// coordinates plus lambda.
///
/// With N lambda beside the sums of squares the direction is the same; so it is made, and the blocks of
/// other tensors likewise.
private struct EigenvalueKFAC: DirectionRule {
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let plan = KroneckerPlan(gradients.linearization.layerProgram)
    let parts = DampedParts<S>(
      gradients.linearization.program, dampings, dampings.map { gradients.lambda($0) })
    let lambdas = parts.all.map { $0.lambda * Double(gradients.samples) }
    let rows = TrueLabelRows(gradients)
    let own = lambdas.map { rescaled(lambda: $0, from: gradients.gram.unit, to: rows.unit) }
    try parts.setLayers(
      plan, rows, lambdas: own, exponent: -rows.unit.exponent
    ) { index, layer, weights throws(LinearAlgebraError) in
      try EigenvalueBlock(
        layer, weights: weights,
        inputs: context.sharedLayers?.value(index, layer, [0: weights]).inputs)
    }
    let target = EmpiricalTarget.ones.values(gradients)
    for (parameter, _) in plan.exact {
      let block = try context.blocks.block([parameter])
      for (lambda, (_, parts)) in zip(lambdas, parts.all) {
        block.write(target: target, lambda: lambda, batchUnit: gradients.gram.unit, to: parts)
      }
    }
    return parts.finished()
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    let plan = KroneckerPlan(sizes.layerProgram)
    // Coordinates of the rows, and their squares.
    let rows = plan.layers.map { layer in
      let count = sizes.batch.samples * layer.linear.positions
      return sizes.batch.doubles(
        2, count, min(layer.linear.outputs, count) + min(layer.linear.inputs + 1, count))
        + sizes.batch.doubles(2, layer.linear.outputs, layer.linear.inputs + 1)
    }
    return (
      "Kronecker factors",
      sizes.batch.kronecker(
        sizes.layerProgram, draws: 1, factorDraws: 1, workers: sizes.workers)
        + rows.sorted(by: >).prefix(sizes.workers).total { $0 }
    )
  }
}

/// One layer in the eigenvectors of its factors.
private struct EigenvalueBlock: LayerBlock {
  private let left: RowSpectrum
  private let right: RowSpectrum
  /// `V_B g V_A^T` and `sum_n (V_B G_n V_A^T)^2`, `[k_B, k_A]`.
  private let sum: Vector<Double>
  private let squares: Vector<Double>

  /// - Parameter known: The eigenvectors of the inputs, where they are known.
  init<S: EngineScalar>(
    _ rows: LayerRows<S>, weights: [Double], inputs known: RowSpectrum?
  ) throws(LinearAlgebraError) {
    let (count, outputs, inputs) = (rows.count, rows.outputColumns, rows.inputColumns)
    let (a, b) = (Vector<Double>(count: count * inputs), Vector<Double>(count: count * outputs))
    rows.writeInputs(0..<count, to: a.pointer)
    rows.writeCotangents(draw: 0, 0..<count, weights: weights, to: b.pointer)
    left = try RowSpectrum(rows: count, columns: outputs) {
      Kernels.copy(b.pointer + $0.lowerBound * outputs, $1, count: $0.count * outputs)
    }
    if let known {
      right = known
    } else {
      right = try RowSpectrum(rows: count, columns: inputs) {
        Kernels.copy(a.pointer + $0.lowerBound * inputs, $1, count: $0.count * inputs)
      }
    }
    let rotated = GradientMatrices(
      .products(
        positions: rows.layer.linear.positions, outputs: outputs, inputs: inputs, cotangents: b,
        inputRows: a), samples: weights.count, shape: (outputs, inputs)
    ).transformed(
      left: (left.values.count, left.basis), right: (right.values.count, right.basis))
    (sum, squares) = (rotated.sum, rotated.squares)
  }

  /// `[out, in + 1]`, with an estimate of its relative error: that of the gradients in each coordinate, as
  /// of `Diagonal`.
  func solved(
    lambda: Double, rows error: Double
  ) -> (solution: Vector<Double>, relativeError: Double) {
    let (k, l) = (left.values.count, right.values.count)
    let mean = (0..<squares.count).reduce(0) { $0 + squares[$1] } / Double(max(squares.count, 1))
    let level = error * mean.squareRoot() * Rounding.alignment(squares.count)
    let scaled = Vector<Double>(count: k * l)
    var (norm, errors) = (0.0, 0.0)
    for i in 0..<k where left.values[i] > left.level {
      for j in 0..<l where right.values[j] > right.level {
        let place = i * l + j
        let divisor = squares[place] + lambda
        if divisor == 0 { continue }
        let value = sum[place] / divisor
        scaled.pointer[place] = value
        norm += value * value
        let first = (error * squares[place].squareRoot() + level) / divisor
        let second = 2 * error * value
        errors += first * first + second * second
      }
    }
    let half = Vector<Double>(count: k * right.columns)
    BLAS.gemm(
      m: k, n: right.columns, k: l, scaled.pointer, lda: l, right.basis.pointer,
      ldb: right.columns, half.pointer, ldc: right.columns)
    let result = Vector<Double>(count: left.columns * right.columns)
    BLAS.gemm(
      transposeA: true, m: left.columns, n: right.columns, k: k, left.basis.pointer,
      lda: left.columns, half.pointer, ldb: right.columns, result.pointer, ldc: right.columns)
    return (result, norm > 0 ? (errors / norm).squareRoot() : 0)
  }
}
