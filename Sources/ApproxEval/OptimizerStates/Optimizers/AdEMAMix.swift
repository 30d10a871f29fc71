import Checkpoints
import Foundation
import TensorModule

extension KnownOptimizer {
  /// pytorch_optimizer's AdEMAMix (Pagliardini et al. 2024): Adam's average of gradients plus
  /// `alpha` times a slow one.
  static let ademamix = KnownOptimizer(
    name: "ademamix", title: "AdEMAMix (pytorch_optimizer)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "betas", "weight_decay", "weight_decouple", "fixed_decay", "alpha",
          "t_alpha_beta3", "eps", "step",
        ],
        laterSettings: ["foreach"], states: [["exp_avg", "exp_avg_sq", "exp_avg_slow"]],
        shape: GroupKind.like("exp_avg"), step: kozistrStep)
    ])

  private static func kozistrStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let t = try p.nextGroupStep()
    let beta1 = try p.group.number("betas.0", .share)
    var alpha = try p.group.number("alpha", .notNegative)
    var slow = try p.group.number("betas.2", .share)
    if p.group.isGiven("t_alpha_beta3") {
      let share = t / (try p.group.number("t_alpha_beta3", .notNegative))
      alpha = min(share * alpha, alpha)
      let logs = (log(beta1), log(slow))
      slow = min(exp(logs.0 * logs.1 / ((1 - share) * logs.1 + share * logs.0)), slow)
    }
    return try step(p, step: t, fast: "exp_avg", alpha: alpha, slow: slow)
  }

  /// Apple's own, with warm-ups of its two constants.
  static let authorsAdEMAMix = KnownOptimizer(
    name: "ademamix", title: "AdEMAMix (Apple)",
    kinds: [
      GroupKind(
        settings: ["lr", "betas", "eps", "alpha", "beta3_warmup", "alpha_warmup", "weight_decay"],
        states: [["step", "exp_avg_fast", "exp_avg_slow", "exp_avg_sq"]],
        shape: GroupKind.like("exp_avg_slow"), step: authorsStep)
    ])

  private static func authorsStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let t = try p.nextStep()
    let beta1 = try p.group.number("betas.0", .share)
    var alpha = try p.group.number("alpha", .notNegative)
    var slow = try p.group.number("betas.2", .share)
    if p.group.isGiven("alpha_warmup") {
      alpha *= min(t / (try p.group.number("alpha_warmup", .notNegative)), 1)
    }
    if p.group.isGiven("beta3_warmup") {
      let share = t / (try p.group.number("beta3_warmup", .notNegative))
      // Linear in half-lives.
      func halfLife(_ beta: Double) -> Double { log(0.5) / log(beta + 1e-8) - 1 }
      if share < 1 {
        slow = pow(0.5, 1 / ((1 - share) * halfLife(beta1) + share * halfLife(slow) + 1))
      }
    }
    return try step(
      p, step: t, fast: p.state.isGiven("exp_avg_fast") ? "exp_avg_fast" : nil, alpha: alpha,
      slow: slow)
  }

  /// - Parameter fast: Where Adam's average is; `nil` where the gradient takes its place.
  private static func step(
    _ p: ParameterStep, step: Double, fast: String?, alpha: Double, slow: Double
  ) throws(CheckpointError) -> Vector<Double> {
    let settings = AdamSettings(
      betas: (try p.group.number("betas.0", .share), try p.group.number("betas.1", .share)),
      epsilon: try p.group.number("eps", .notNegative), step: step)
    let slowMean = try p.moment("exp_avg_slow")
    average(slowMean, p.gradient, slow)
    let divisor = try settings.divisor(p, p.gradient)
    var m = p.gradient
    if let fast {
      m = try p.moment(fast)
      average(m, p.gradient, settings.betas.0)
    }
    let correction = biasCorrection(settings.betas.0, step)
    for i in 0..<p.count {
      let sum = m.pointer[i] / correction + alpha * slowMean.pointer[i]
      m.pointer[i] = divisor.pointer[i] > 0 ? p.learningRate * sum / divisor.pointer[i] : 0
    }
    return m
  }
}
