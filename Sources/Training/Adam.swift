import Foundation
import TensorModule

/// Adam and AdamW, as `torch.optim.Adam` and `AdamW` without amsgrad: weight decay joins the
/// gradient in the first and shrinks the parameters before the step in the second; epsilon is
/// added after the correction of the second moment's root.
struct Adam: Optimizer {
  private let isDecoupled: Bool
  private let weightDecay: Double
  private let betas: (Double, Double)
  private let epsilon: Double
  private let operations: VectorOperations<Double>
  private let mean: Vector<Double>
  private let square: Vector<Double>
  private var steps = 0

  init(
    _ settings: OptimizerSettings, _ operations: VectorOperations<Double>, isDecoupled: Bool
  ) {
    self.isDecoupled = isDecoupled
    weightDecay = settings.weightDecay
    betas = settings.betas
    epsilon = settings.epsilon
    self.operations = operations
    mean = Vector(count: operations.count)
    square = Vector(count: operations.count)
  }

  mutating func step(
    _ parameters: Vector<Double>, _ direction: Vector<Double>, learningRate: Double
  ) {
    steps += 1
    let stepSize = learningRate / (1 - pow(betas.0, Double(steps)))
    let correction = (1 - pow(betas.1, Double(steps))).squareRoot()
    let shrinkage = isDecoupled ? 1 - learningRate * weightDecay : 1
    let decay = isDecoupled ? 0 : weightDecay
    let (theta, g, m, v) = (
      parameters.pointer, direction.pointer, mean.pointer, square.pointer
    )
    let (betas, epsilon) = (betas, epsilon)
    operations.forEachBlock(parameters.count) { _, range in
      for i in range {
        let gradient = g[i] + decay * theta[i]
        m[i] += (1 - betas.0) * (gradient - m[i])
        v[i] = betas.1 * v[i] + (1 - betas.1) * gradient * gradient
        theta[i] =
          shrinkage * theta[i] - stepSize * m[i] / (v[i].squareRoot() / correction + epsilon)
      }
    }
  }
}
