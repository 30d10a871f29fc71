import Curvature
import GraphModule
import TensorModule
import Updates

/// The inverse Fisher matrices of one batch, block by block: what each weight is worth, and what the
/// others make up for.
///
/// The loss near its minimum is taken for `d^T F d / 2`, of which the removal of weight q alone costs at
/// least `w_q^2 / (2 [F^-1]_qq)`, with `d = -w_q F^-1 e_q / [F^-1]_qq` (Hassibi and Stork 1993; Singh and
/// Alistarh 2020, equations 4 and 5). F is that of the summed loss.
struct PruningStatistics<S: EngineScalar> {
  let weights: PrunableWeights
  /// The weights as they are, `[count]`.
  let values: Vector<Double>
  private let perSample: PerSampleGradients<S>
  private let columns: [WeightColumns<S>]
  /// `|g_n|` over all prunable weights.
  private let norms: [Double]

  init(_ problem: BatchProblem<S>, _ weights: PrunableWeights, values: Vector<Double>) {
    let (linearization, output) = (problem.linearization, problem.output)
    // Rows are g_n / |u_n|, as the update methods have them.
    let units = output.units(output.gradient)
    perSample = linearization.perSampleGradients(draws: 1, scales: units) { chunk, cotangents in
      output.write(output.gradient, chunk: chunk, units: units, to: cotangents)
    }
    columns = weights.tensors.map(perSample.columns)
    let gram = perSample.restricted(to: weights.tensors).gramMatrix(.norms, withSums: false)
    norms = (0..<gram.count).map(gram.norm)
    (self.weights, self.values) = (weights, values)
  }

  /// The matrix of a method with one damping. It is kept over `unit^2`, a power of two: gradients of
  /// 1e-160 are numbers, their products are not.
  struct Matrix {
    /// Per sample what its stored row is multiplied by.
    fileprivate let factors: [Double]
    let unit: Double
    fileprivate let scaledLambda: Double
    /// lambda in the units of the loss.
    var lambda: Double { scaledLambda * unit * unit }
  }

  /// - Returns: `nil` where lambda is no positive number: the rows are all zero, or it is beyond the range
  ///   of numbers.
  func matrix(_ rows: PruningMethod.Rows, _ damping: Damping) -> Matrix? {
    let scales = perSample.scales
    let factors: [Double]
    let sizes: [Double]
    switch rows {
    case .gradients: (factors, sizes) = (scales, norms)
    case .gradientsOverLogitGradients:
      factors = scales.map { _ in 1 }
      sizes = zip(norms, scales).map { $0 / $1 }
    }
    let largest = sizes.max() ?? 0
    let unit = powerOfTwo(near: largest)
    let lambda =
      damping.isRelative
      ? damping.lambda(largestDiagonal: (largest / unit) * (largest / unit))
      : damping.value / unit / unit
    guard lambda > 0, lambda.isFinite else { return nil }
    return Matrix(factors: factors.map { $0 / unit }, unit: unit, scaledLambda: lambda)
  }

  /// `w_q^2 / (2 [F^-1]_qq)` of every weight, over `unit^2`.
  func statistic(_ matrix: Matrix) throws(LinearAlgebraError) -> Vector<Double> {
    let result = Vector<Double>(count: weights.count)
    try forEachBlock(matrix) { place, block throws(LinearAlgebraError) in
      for (q, inverse) in zip(place.places, try InverseFisherBlock(block).diagonal) {
        result.pointer[q] = values.pointer[q] * values.pointer[q] / (2 * inverse)
      }
    }
    return result
  }

  /// The weights without those that go, for each selection, the others changed as `update` says.
  func pruned(
    _ matrix: Matrix, _ removed: [[Bool]], _ update: WeightUpdate
  ) throws(LinearAlgebraError) -> [Vector<Double>] {
    if update == .none { return removed.map { masked(values, $0) } }
    let results = removed.map { _ in Vector<Double>(count: weights.count) }
    try forEachBlock(matrix) { place, block throws(LinearAlgebraError) in
      let w = place.places.map { values.pointer[$0] }
      let inverse = update == .sum ? try InverseFisherBlock(block) : nil
      let diagonal = inverse?.diagonal ?? []
      for (all, result) in zip(removed, results) {
        let own = Array(all[place.places])
        let change: [Double]
        if let inverse {
          change = inverse.times(w.indices.map { own[$0] ? -w[$0] / diagonal[$0] : 0 })
        } else {
          change = try block.jointUpdate(removing: own, of: w)
        }
        for q in w.indices { result.pointer[place.place + q] = own[q] ? 0 : w[q] + change[q] }
      }
    }
    return results
  }

  /// Several blocks at a time, each on one thread.
  private func forEachBlock(
    _ matrix: Matrix,
    _ body: (PrunableWeights.Block, FisherBlock) throws(LinearAlgebraError) -> Void
  ) throws(LinearAlgebraError) {
    let samples = perSample.samples
    _ = try perSample.linearization.pool.results(weights.blocks.count) {
      number throws(LinearAlgebraError) in
      let place = weights.blocks[number]
      let rows = Vector<Double>(count: samples * place.range.count)
      columns[place.tensor].write(place.range, weights: matrix.factors, to: rows.pointer)
      try body(
        place, FisherBlock(rows: rows, samples: samples, lambda: matrix.scaledLambda))
    }
  }
}
