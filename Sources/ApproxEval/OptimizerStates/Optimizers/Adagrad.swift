import Checkpoints
import TensorModule

extension KnownOptimizer {
  /// `torch.optim.Adagrad` (Duchi et al. 2011).
  static let adagrad = KnownOptimizer(
    name: "adagrad", title: "Adagrad",
    kinds: [
      GroupKind(
        settings: ["lr", "lr_decay", "eps", "weight_decay", "initial_accumulator_value"],
        laterSettings: ["foreach", "maximize", "differentiable", "fused"],
        states: [["step", "sum"]], shape: GroupKind.like("sum"), step: step)
    ])

  private static func step(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let epsilon = try p.group.number("eps", .notNegative)
    let decay = try p.group.number("lr_decay", .notNegative)
    let rate = p.learningRate / (1 + (try p.nextStep() - 1) * decay)
    let (sum, g) = (try p.squares("sum"), p.gradient.pointer)
    for i in 0..<p.count {
      let divisor = (sum.pointer[i] + g[i] * g[i]).squareRoot() + epsilon
      g[i] = divisor > 0 ? rate * g[i] / divisor : 0
    }
    return p.gradient
  }
}
