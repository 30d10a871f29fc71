import Checkpoints
import TensorModule

extension KnownOptimizer {
  /// Lion (Chen et al. 2023), the sign of an average: pytorch_optimizer's, and that of its authors,
  /// which lion-pytorch has as well.
  static let lion = KnownOptimizer(
    name: "lion", title: "Lion",
    kinds: [
      GroupKind(
        settings: ["lr", "betas", "weight_decay", "weight_decouple", "fixed_decay", "step"],
        laterSettings: ["foreach"], states: [["exp_avg"]], shape: GroupKind.like("exp_avg"),
        step: step),
      GroupKind(
        settings: ["lr", "betas", "weight_decay"], states: [["exp_avg"]],
        shape: GroupKind.like("exp_avg"), step: step),
    ])

  private static func step(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let m = try p.moment("exp_avg")
    average(m, p.gradient, try p.group.pair("betas").0)
    return signs(m, p.learningRate)
  }
}

/// The signs of x, times a factor.
func signs(_ x: Vector<Double>, _ factor: Double) -> Vector<Double> {
  for i in 0..<x.count {
    let value = x.pointer[i]
    x.pointer[i] = value > 0 ? factor : value < 0 ? -factor : 0
  }
  return x
}
