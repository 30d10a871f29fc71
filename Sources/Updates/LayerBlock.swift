import Curvature
import TensorModule

/// One linear layer's part of a direction, for every lambda from one decomposition.
protocol LayerBlock {
  /// `[out, in + 1]`, with an estimate of `|d - exact d|_2 / |d|_2`.
  ///
  /// - Parameter error: Of a row of the layer, relative to it.
  func solved(lambda: Double, rows error: Double) -> (
    solution: Vector<Double>, relativeError: Double
  )
}

/// The rows of the true labels, whose blocks are made with weights of their own.
struct TrueLabelRows<S: EngineScalar> {
  let gradients: BatchGradients<S>
  let source: PerSampleGradients<S>
  /// The power of two that `weights`, the scales of the rows, are divided by.
  let unit: Double
  let weights: [Double]
  /// Relative, of a row.
  let error: Double

  init(_ gradients: BatchGradients<S>) {
    self.gradients = gradients
    source = gradients.perSample.prefix(draws: 1)
    let unit = powerOfTwo(near: source.scales.max() ?? 0)
    self.unit = unit
    weights = source.scales.map { $0 / unit }
    error = gradients.errors.relative[..<gradients.samples].max() ?? 0
  }
}

extension DampedParts {
  /// The same of the rows of the true labels, which a block gets with their weights.
  func setLayers<Block: LayerBlock>(
    _ plan: KroneckerPlan, _ rows: TrueLabelRows<S>, lambdas: [Double], exponent: Int,
    block: (_ index: Int, LayerRows<S>, [Double]) throws(LinearAlgebraError) -> Block
  ) throws(LinearAlgebraError) {
    try setLayers(
      plan, rows.source, cotangents: { rows.gradients.writeCotangents(draws: 1, $0, to: $1) },
      lambdas: lambdas, error: rows.error, exponent: exponent,
      block: { index, layer throws(LinearAlgebraError) in try block(index, layer, rows.weights) })
  }

  /// The same of blocks that need no rows.
  func setLayers<Block: LayerBlock>(
    _ plan: KroneckerPlan, _ pool: WorkerPool, lambdas: [Double], error: Double, exponent: Int,
    block: (_ index: Int) -> Block
  ) {
    pool.run(plan.layers.count) { index, _ in
      set(plan.layers[index], block(index), lambdas: lambdas, error: error, exponent: exponent)
    }
  }

  /// The parts of all linear layers, several at the same time.
  ///
  /// - Parameters:
  ///   - cotangents: Writes each chunk's `[R, n, O C]`, as for the rows.
  ///   - lambdas: Those of the directions, in units of the blocks.
  ///   - error: Of a row, relative to it.
  ///   - exponent: Of the power of two that solutions are multiplied by.
  func setLayers<Block: LayerBlock>(
    _ plan: KroneckerPlan, _ rows: PerSampleGradients<S>,
    cotangents: (_ chunk: Schedule.Chunk, UnsafeMutablePointer<S>) -> Void,
    lambdas: [Double], error: Double, exponent: Int,
    block: (_ index: Int, LayerRows<S>) throws(LinearAlgebraError) -> Block
  ) throws(LinearAlgebraError) {
    let outcomes = TaskResults<Result<Void, LinearAlgebraError>>(count: plan.layers.count)
    rows.forEachLayer(plan, cotangents) { index, rows in
      outcomes.set(
        index,
        Result { () throws(LinearAlgebraError) in
          set(
            plan.layers[index], try block(index, rows), lambdas: lambdas, error: error,
            exponent: exponent)
        })
    }
    for outcome in outcomes.all { try outcome.get() }
  }

  private func set<Block: LayerBlock>(
    _ layer: KroneckerPlan.Layer, _ block: Block, lambdas: [Double], error: Double, exponent: Int
  ) {
    for (lambda, (_, parts)) in zip(lambdas, all) {
      let (solution, relativeError) = block.solved(lambda: lambda, rows: error)
      parts.set(layer, solution, exponent: exponent)
      parts.setError(
        layer.weight, relative: relativeError, of: solution.pointer, count: solution.count,
        exponent: exponent)
    }
  }
}

extension DirectionParts {
  /// The part of one layer, `[out, in + 1]`, split into weight and bias.
  fileprivate func set(_ layer: KroneckerPlan.Layer, _ solution: Vector<Double>, exponent: Int) {
    let (outputs, inputs) = (layer.linear.outputs, layer.linear.inputs)
    let stride = inputs + (layer.bias == nil ? 0 : 1)
    set(
      layer.weight, solution.pointer, rows: outputs, columns: inputs, stride: stride,
      exponent: exponent)
    guard let bias = layer.bias else { return }
    set(
      bias, solution.pointer + inputs, rows: outputs, columns: 1, stride: stride,
      exponent: exponent)
  }
}
