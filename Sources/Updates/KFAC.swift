import Curvature
import GraphModule
import TensorModule

extension UpdateMethod {
  public static let kfac = UpdateMethod(
    "kfac",
    "K-FAC from sampled labels: a Kronecker product for each linear layer, the block of `block-sf` "
      + "for every other tensor",
    KFAC.needs(trueLabelMethod: "ekfac"), KFAC(target: nil))

  public static let ekfac = UpdateMethod(
    "ekfac", "K-FAC from the true labels, with blocks of `block-ef`", KFAC.needs(),
    KFAC(target: .ones))

  public static let iekfac = UpdateMethod(
    "iekfac",
    "K-FAC from the true labels, sample n's part divided by `‖u_n‖`, with blocks of `block-ief`",
    KFAC.needs(), KFAC(target: .squares))
}

/// The K-FAC family (Appendix D.2.2, method.md 3): a Kronecker product for every linear layer
/// (`KroneckerBlock`), an exact block for every other tensor (`KroneckerPlan`).
///
/// `kfac` has B from sampled labels, summed over k draws and divided by k, and exact blocks of SF;
/// `ekfac` has B from the true labels and blocks of EF; `iekfac` divides sample n's rows of B by
/// `|u_n|` and has blocks of iEF. The gradient is always that of the true labels. A weight that is
/// used in several places has an exact block. lambda is one number for all layers, in the units of
/// the Gram matrix of the family's labels.
private struct KFAC: DirectionRule {
  static func needs(trueLabelMethod: String? = nil) -> MethodNeeds {
    MethodNeeds(
      isDamped: true, trueLabelMethod: trueLabelMethod, gram: .exceptions,
      hasKroneckerProducts: true)
  }

  /// Of the exact blocks of true labels, by which also the rows of B are weighted; `nil`: from sampled
  /// labels.
  let target: EmpiricalTarget?

  private var isSampled: Bool { target == nil }

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let plan = KroneckerPlan(gradients.linearization.layerProgram)
    let lambdas = dampings.map {
      isSampled ? gradients.sampledLambda($0) : gradients.lambda($0)
    }
    let parts = DampedParts<S>(gradients.linearization.program, dampings, lambdas)
    try layers(gradients, plan, parts)
    for (parameter, _) in plan.exact { try exactBlock(context.blocks, parameter, parts) }
    return parts.finished()
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    (
      "Kronecker factors",
      sizes.batch.kronecker(
        sizes.layerProgram, draws: 1 + sizes.draws, factorDraws: max(sizes.draws, 1),
        workers: sizes.workers)
    )
  }

  // MARK: - Linear layers

  private func layers<S: EngineScalar>(
    _ gradients: BatchGradients<S>, _ plan: KroneckerPlan, _ parts: DampedParts<S>
  ) throws(LinearAlgebraError) {
    let factor = outputFactor(gradients)
    let scales = Array(gradients.perSample.scales[..<gradients.samples])
    let gradientUnit = powerOfTwo(near: scales.max() ?? 0)
    let weights = scales.map { $0 / gradientUnit }
    let own = parts.all.map {
      rescaled(lambda: $0.lambda, from: gradients.gram.unit, to: factor.unit)
    }
    let exponent = gradientUnit.exponent - 2 * factor.unit.exponent
    // Relative: the same rows are in the Gram matrix and in the layer's factors.
    let error = gradients.errors.relative.max() ?? 0
    // Layers run at the same time.
    let outcomes = TaskResults<Result<Void, LinearAlgebraError>>(count: plan.layers.count)
    let rowSource = isSampled ? gradients.perSample : gradients.perSample.prefix(draws: 1)
    rowSource.forEachLayer(
      plan, { gradients.writeCotangents(draws: rowSource.draws, $0, to: $1) },
      { index, rows in
        let outcome = Result { () throws(LinearAlgebraError) in
          let block = try KroneckerBlock(rows, factor.rows, gradientWeights: weights)
          let share = error * Rounding.alignment(block.outputs * block.inputs)
          for (lambda, (_, parts)) in zip(own, parts.all) {
            let solution = block.solution(lambda: lambda)
            write(solution, plan.layers[index], block, exponent: exponent, to: parts)
            parts.setError(
              plan.layers[index].weight,
              relative: block.relativeError(lambda: lambda, rows: share), of: solution.pointer,
              count: solution.count, exponent: exponent)
          }
        }
        outcomes.set(index, outcome)
      })
    for outcome in outcomes.all { try outcome.get() }
  }

  /// The rows of B, divided by a power of two.
  private func outputFactor<S: EngineScalar>(
    _ gradients: BatchGradients<S>
  ) -> (rows: KroneckerBlock.OutputFactor, unit: Double) {
    let samples = gradients.samples
    let scales = gradients.perSample.scales
    if target == .squares {
      // What is stored is already divided by |u_n|.
      let ones = [Double](repeating: 1, count: samples)
      return (.init(draws: 0..<1, weights: [0: ones], spansGradient: true), 1)
    }
    let draws = isSampled ? 1..<1 + gradients.draws : 0..<1
    let unit = powerOfTwo(
      near: scales[draws.lowerBound * samples..<draws.upperBound * samples].max() ?? 0)
    let root = Double(draws.count).squareRoot()
    var weights: [Int: [Double]] = [:]
    for draw in draws {
      weights[draw] = scales[draw * samples..<(draw + 1) * samples].map { $0 / unit / root }
    }
    return (.init(draws: draws, weights: weights, spansGradient: !isSampled), unit)
  }

  /// Splits `[out, in + 1]` into weight and bias.
  private func write<S: EngineScalar>(
    _ solution: Vector<Double>, _ layer: KroneckerPlan.Layer, _ block: KroneckerBlock,
    exponent: Int,
    to parts: DirectionParts<S>
  ) {
    guard let bias = layer.bias else {
      parts.set(layer.weight, solution.pointer, exponent: exponent)
      return
    }
    let (outputs, columns) = (block.outputs, block.inputs)
    let weight = Vector<Double>(count: outputs * (columns - 1))
    let ones = Vector<Double>(count: outputs)
    for o in 0..<outputs {
      let row = solution.pointer + o * columns
      Kernels.copy(row, weight.pointer + o * (columns - 1), count: columns - 1)
      ones.pointer[o] = row[columns - 1]
    }
    parts.set(layer.weight, weight.pointer, exponent: exponent)
    parts.set(bias, ones.pointer, exponent: exponent)
  }

  // MARK: - Other tensors

  private func exactBlock<S: EngineScalar>(
    _ blocks: TensorBlocks<S>, _ parameter: ParameterID, _ parts: DampedParts<S>
  ) throws(LinearAlgebraError) {
    let gradients = blocks.gradients
    let unit = gradients.gram.unit
    guard let target = target?.values(gradients) else {
      // Beside Kronecker products the factor lambda counts.
      let block = try SampledBlock(gradients, parameter)
      for (lambda, parts) in parts.all {
        block.write(.solution, lambda: lambda, batchUnit: unit, to: parts)
      }
      return
    }
    let block = try blocks.block(parameter)
    for (lambda, parts) in parts.all {
      block.write(target: target, lambda: lambda, batchUnit: unit, to: parts)
    }
  }
}

extension BatchGradients {
  /// The cotangents of a chunk as they were when the rows were made, `[R, n, O C]`.
  func writeCotangents(
    draws: Int, _ chunk: Schedule.Chunk, to out: UnsafeMutablePointer<S>
  ) {
    let size = chunk.count * linearization.logitCount
    for (d, gradient) in ([output.gradient] + sampled).prefix(draws).enumerated() {
      let units = Array(perSample.scales[d * samples..<(d + 1) * samples])
      output.write(gradient, chunk: chunk, units: units, to: out + d * size)
    }
  }
}
