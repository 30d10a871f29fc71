import Checkpoints
import TensorModule

extension KnownOptimizer {
  /// `torch.optim.RMSprop`, also centred and with momentum.
  static let rmsprop = KnownOptimizer(
    name: "rmsprop", title: "RMSprop",
    kinds: [
      GroupKind(
        settings: ["lr", "alpha", "eps", "weight_decay", "momentum", "centered"],
        laterSettings: ["foreach", "maximize", "differentiable", "capturable"],
        states: [
          ["step", "square_avg"], ["step", "square_avg", "momentum_buffer"],
          ["step", "square_avg", "grad_avg"],
          ["step", "square_avg", "momentum_buffer", "grad_avg"],
        ],
        shape: GroupKind.like("square_avg"), step: step)
    ])

  private static func step(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let alpha = try p.group.number("alpha", .notNegative)
    let epsilon = try p.group.number("eps", .notNegative)
    let momentum = try p.group.number("momentum", .notNegative)
    let (squares, g) = (try p.squares("square_avg"), p.gradient.pointer)
    averageSquares(squares, p.gradient, alpha)
    if try p.group.flag("centered") {
      let mean = try p.moment("grad_avg")
      average(mean, p.gradient, alpha)
      for i in 0..<p.count {
        // Rounding may leave a variance a little below zero.
        squares.pointer[i] = max(squares.pointer[i] - mean.pointer[i] * mean.pointer[i], 0)
      }
    }
    let buffer = momentum > 0 ? try p.moment("momentum_buffer") : nil
    for i in 0..<p.count {
      let divisor = squares.pointer[i].squareRoot() + epsilon
      let quotient = divisor > 0 ? g[i] / divisor : 0
      g[i] = p.learningRate * (quotient + momentum * (buffer?.pointer[i] ?? 0))
    }
    return p.gradient
  }
}
