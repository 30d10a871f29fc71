import Foundation
import TensorModule

/// Adafactor, as `transformers.optimization.Adafactor` with `scale_parameter=False` and
/// `relative_step=False`, which is how Transformers' Trainer and the paper have it: steps have the
/// learning rate whatever the size of the parameters, and epsilon is added to every square.
struct TransformersAdafactor: Optimizer {
  private let settings: OptimizerSettings
  private let layout: ParameterLayout
  private let operations: VectorOperations<Double>
  private let states: [AdafactorState]
  private var steps = 0

  init(
    _ settings: OptimizerSettings, _ layout: ParameterLayout,
    _ operations: VectorOperations<Double>
  ) {
    self.settings = settings
    self.layout = layout
    self.operations = operations
    states = layout.entries.map(AdafactorState.init)
  }

  mutating func step(
    _ parameters: Vector<Double>, _ direction: Vector<Double>, learningRate: Double
  ) {
    steps += 1
    let share = pow(Double(steps), settings.decayRate)
    let shrinkage = 1 - learningRate * settings.weightDecay
    let (layout, states, settings) = (layout, states, settings)
    // One task for each parameter: sums run in one order for every number of threads.
    operations.pool.run(states.count) { index, _ in
      let range = layout.entries[index].range
      let theta = parameters.pointer + range.lowerBound
      let g = direction.pointer + range.lowerBound
      let count = range.count
      switch states[index] {
      case .factored(let matrices, let rows, let columns):
        AdafactorMoments.divideByMeans(
          g, matrices, rows: rows.pointer, columns: columns.pointer, share, settings.epsilon)
      case .full(let squares):
        AdafactorMoments.divideByMeans(
          g, count: count, squares: squares.pointer, share, settings.epsilon)
      }
      let step =
        learningRate
        / AdafactorMoments.clipping(g, count: count, threshold: settings.clipThreshold)
      for i in 0..<count { theta[i] = shrinkage * theta[i] - step * g[i] }
    }
  }
}
