import Checkpoints
import TensorModule

extension KnownOptimizer {
  /// `torch.optim.SGD`: the buffer is `momentum b + (1 - dampening) g`; Nesterov's step looks one
  /// step ahead of it.
  static let sgd = KnownOptimizer(
    name: "sgd", title: "SGD",
    kinds: [
      GroupKind(
        settings: ["lr", "momentum", "dampening", "weight_decay", "nesterov"],
        laterSettings: ["maximize", "foreach", "differentiable", "fused"],
        states: [["momentum_buffer"]], mayLackState: true, shape: GroupKind.like("momentum_buffer"),
        step: step)
    ])

  private static func step(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let momentum = try p.group.number("momentum", .notNegative)
    let gradient = p.gradient
    if momentum != 0 {
      let dampening = try p.group.number("dampening")
      let isNesterov = try p.group.flag("nesterov")
      let buffer = try p.moment("momentum_buffer")
      let g = gradient.pointer
      for i in 0..<p.count {
        let next = momentum * buffer.pointer[i] + (1 - dampening) * g[i]
        g[i] = isNesterov ? g[i] + momentum * next : next
      }
    }
    return scaled(gradient, p.learningRate)
  }
}

/// x, multiplied in place.
func scaled(_ x: Vector<Double>, _ factor: Double) -> Vector<Double> {
  for i in 0..<x.count { x.pointer[i] *= factor }
  return x
}
