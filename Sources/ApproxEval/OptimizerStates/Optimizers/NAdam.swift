import Checkpoints
import Foundation
import TensorModule

extension KnownOptimizer {
  /// `torch.optim.NAdam` (Dozat 2016): part of the step is the gradient itself, in proportions that
  /// change with `momentum_decay`.
  static let nadam = KnownOptimizer(
    name: "nadam", title: "NAdam",
    kinds: [
      GroupKind(
        settings: ["lr", "betas", "eps", "weight_decay", "momentum_decay"],
        laterSettings: [
          "decoupled_weight_decay", "foreach", "maximize", "capturable", "differentiable",
        ],
        states: [["step", "mu_product", "exp_avg", "exp_avg_sq"]],
        shape: GroupKind.like("exp_avg"), step: step)
    ])

  private static func step(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let settings = AdamSettings(
      betas: try p.group.pair("betas"), epsilon: try p.group.number("eps", .notNegative),
      step: try p.nextStep())
    let decay = try p.group.number("momentum_decay")
    func mu(_ step: Double) -> Double {
      settings.betas.0 * (1 - 0.5 * pow(0.96, step * decay))
    }
    let (now, next) = (mu(settings.step), mu(settings.step + 1))
    let product = try p.state.number("mu_product", .any) * now
    let rates = (
      p.learningRate * (1 - now) / (1 - product), p.learningRate * next / (1 - product * next)
    )
    let m = try p.moment("exp_avg")
    average(m, p.gradient, settings.betas.0)
    let divisor = try settings.divisor(p, p.gradient)
    for i in 0..<p.count {
      let sum = rates.0 * p.gradient.pointer[i] + rates.1 * m.pointer[i]
      m.pointer[i] = divisor.pointer[i] > 0 ? sum / divisor.pointer[i] : 0
    }
    return m
  }
}
