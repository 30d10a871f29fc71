import Checkpoints
import Foundation
import TensorModule

extension KnownOptimizer {
  /// `torch.optim.RAdam` (Liu et al. 2020): without second moments while they rest on too few
  /// steps, then rectified.
  ///
  /// PyTorch before 1.12 wrote no `foreach`: its keys are those of many other optimisers.
  static let radam = KnownOptimizer(
    name: "radam", title: "RAdam",
    kinds: [
      GroupKind(
        settings: ["lr", "betas", "eps", "weight_decay", "foreach"],
        laterSettings: ["decoupled_weight_decay", "maximize", "capturable", "differentiable"],
        states: [["step", "exp_avg", "exp_avg_sq"]], shape: GroupKind.like("exp_avg"), step: step)
    ])

  private static func step(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let betas = try p.group.pair("betas")
    let epsilon = try p.group.number("eps", .notNegative)
    let t = try p.nextStep()
    let (m, v) = (try p.moment("exp_avg"), try p.squares("exp_avg_sq"))
    average(m, p.gradient, betas.0)
    averageSquares(v, p.gradient, betas.1)
    let rate = p.learningRate / biasCorrection(betas.0, t)
    let correction = biasCorrection(betas.1, t)
    // The longest simple average that an exponential one can stand for, and the present one.
    let longest = 2 / (1 - betas.1) - 1
    let length = longest - 2 * t * pow(betas.1, t) / correction
    guard length > 5 else { return scaled(m, rate) }
    let rectified =
      (correction * (length - 4) * (length - 2) * longest
      / ((longest - 4) * (longest - 2) * length)).squareRoot()
    for i in 0..<p.count {
      let divisor = v.pointer[i].squareRoot() + epsilon
      m.pointer[i] = divisor > 0 ? rate * rectified * m.pointer[i] / divisor : 0
    }
    return m
  }
}
