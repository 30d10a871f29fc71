import Checkpoints
import TensorModule

extension KnownOptimizer {
  /// The authors' `SophiaG` (Liu et al. 2023): the average of gradients divided by the average of
  /// squared gradients of sampled labels, clipped.
  static let sophiaG = KnownOptimizer(
    name: "sophia", title: "SophiaG",
    kinds: [
      GroupKind(
        settings: ["lr", "betas", "rho", "weight_decay", "maximize", "capturable"],
        states: [["step", "exp_avg", "hessian"]], shape: GroupKind.like("exp_avg"),
        step: sophiaGStep)
    ],
    remarks: { _ throws(CheckpointError) in
      ["Its step is given the batch size, which the file does not tell: 5120, the default."]
    })

  private static func sophiaGStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let m = try p.moment("exp_avg")
    average(m, p.gradient, try p.group.pair("betas").0)
    let scale = try p.group.number("rho", .notNegative) * 5120
    let h = try p.squares("hessian")
    for i in 0..<p.count {
      let ratio = m.pointer[i] / (scale * h.pointer[i] + 1e-15)
      m.pointer[i] = p.learningRate * min(max(ratio, -1), 1)
    }
    return m
  }

  /// pytorch_optimizer's `SophiaH`: Hutchinson's estimates of the Hessian's diagonal instead.
  static let sophiaH = KnownOptimizer(
    name: "sophia", title: "SophiaH (pytorch_optimizer)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "betas", "weight_decay", "weight_decouple", "fixed_decay", "p", "eps", "step",
        ],
        laterSettings: ["foreach"],
        states: [["momentum", "hessian_moment"], ["momentum", "hessian_moment", "hessian"]],
        shape: GroupKind.like("momentum"), step: sophiaHStep)
    ],
    remarks: { _ throws(CheckpointError) in
      [
        "The saved estimate of the Hessian is used as it is; a step that begins with a new random "
          + "estimate would differ."
      ]
    })

  private static func sophiaHStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let m = try p.moment("momentum")
    average(m, p.gradient, try p.group.pair("betas").0)
    let bound = try p.group.number("p", .notNegative)
    let floor = try p.group.number("eps", .notNegative)
    // May be negative: an estimate of a curvature.
    let h = try p.moment("hessian_moment")
    for i in 0..<p.count {
      let divisor = max(h.pointer[i], floor)
      let ratio = divisor > 0 ? m.pointer[i] / divisor : 0
      m.pointer[i] = p.learningRate * min(max(ratio, -bound), bound)
    }
    return m
  }
}
