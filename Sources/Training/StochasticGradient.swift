import TensorModule

/// SGD with momentum, as `torch.optim.SGD` without dampening: the weight decay joins the gradient,
/// and the first momentum is the first gradient itself.
struct StochasticGradient: Optimizer {
  private let weightDecay: Double
  private let momentum: Double
  private let isNesterov: Bool
  private let operations: VectorOperations<Double>
  private var buffer: Vector<Double>?

  init(_ settings: OptimizerSettings, _ operations: VectorOperations<Double>) {
    weightDecay = settings.weightDecay
    momentum = settings.momentum
    isNesterov = settings.isNesterov
    self.operations = operations
  }

  mutating func step(
    _ parameters: Vector<Double>, _ direction: Vector<Double>, learningRate: Double
  ) {
    if weightDecay != 0 { operations.axpby(weightDecay, parameters, 1, direction) }
    guard momentum != 0 else {
      operations.axpby(-learningRate, direction, 1, parameters)
      return
    }
    if let buffer {
      operations.axpby(1, direction, momentum, buffer)
    } else {
      let made = Vector<Double>(count: direction.count)
      operations.copy(direction, to: made)
      buffer = made
    }
    if isNesterov {
      operations.axpby(momentum, buffer!, 1, direction)
      operations.axpby(-learningRate, direction, 1, parameters)
    } else {
      operations.axpby(-learningRate, buffer!, 1, parameters)
    }
  }
}
