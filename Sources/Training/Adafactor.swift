import Foundation
import TensorModule

/// Adafactor, as `torch.optim.Adafactor` with its defaults `beta2_decay = -0.8`, `d = 1` and
/// `eps = (precision, 1e-3)`; it departs from Shazeer and Stern (arXiv 1804.04235) in that the
/// learning rate bounds the relative step, and in where the first epsilon enters.
///
/// The squares of a parameter with at least two axes are remembered as the outer product of means
/// over the last and the last but one axis; those of a vector one by one.
struct Adafactor: Optimizer {
  private let weightDecay: Double
  private let layout: ParameterLayout
  private let operations: VectorOperations<Double>
  private let epsilon: Double
  private let states: [AdafactorState]
  private var steps = 0

  private static let decayExponent = -0.8
  private static let leastScale = 1e-3
  private static let clipping = 1.0

  init(
    _ settings: OptimizerSettings, _ layout: ParameterLayout,
    _ operations: VectorOperations<Double>, precision: Double
  ) {
    weightDecay = settings.weightDecay
    self.layout = layout
    self.operations = operations
    epsilon = precision
    states = layout.entries.map(AdafactorState.init)
  }

  mutating func step(
    _ parameters: Vector<Double>, _ direction: Vector<Double>, learningRate: Double
  ) {
    steps += 1
    let share = pow(Double(steps), Self.decayExponent)
    let relativeStep = min(learningRate, 1 / Double(steps).squareRoot())
    let (layout, states, epsilon) = (layout, states, epsilon)
    let shrinkage = 1 - learningRate * weightDecay
    // One task for each parameter: sums run in one order for every number of threads.
    operations.pool.run(states.count) { index, _ in
      let range = layout.entries[index].range
      let theta = parameters.pointer + range.lowerBound
      let g = direction.pointer + range.lowerBound
      let count = range.count
      let scale = max(Self.leastScale, rootMeanSquare(theta, count: count))
      if shrinkage != 1 { for i in 0..<count { theta[i] *= shrinkage } }
      switch states[index] {
      case .factored(let matrices, let rows, let columns):
        AdafactorMoments.divide(
          g, matrices, rows: rows.pointer, columns: columns.pointer, share, epsilon)
      case .full(let squares):
        AdafactorMoments.divide(g, count: count, squares: squares.pointer, share, epsilon)
      }
      let step =
        scale * relativeStep / AdafactorMoments.clipping(g, count: count, threshold: Self.clipping)
      for i in 0..<count { theta[i] -= step * g[i] }
    }
  }
}
