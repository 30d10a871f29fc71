import Checkpoints
import Foundation
import TensorModule

/// How an optimiser of Adam's kind goes from its moments to a step.
struct AdamSettings {
  var betas: (Double, Double)
  var epsilon: Double
  /// Of the step that comes.
  var step: Double
  /// Where the largest second moments are kept, if they bound the step.
  var maximum: String?

  /// `m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)` with both moments advanced by
  /// `gradient`; 0 where there never was a gradient.
  func direction(
    _ p: ParameterStep, _ gradient: Vector<Double>
  ) throws(CheckpointError) -> Vector<Double> {
    let m = try p.moment("exp_avg")
    average(m, gradient, betas.0)
    let divisor = try divisor(p, gradient)
    let correction = biasCorrection(betas.0, step)
    for i in 0..<p.count {
      m.pointer[i] = divisor.pointer[i] > 0 ? m.pointer[i] / correction / divisor.pointer[i] : 0
    }
    return m
  }

  /// `sqrt(v / (1 - beta2^t)) + epsilon`
  func divisor(
    _ p: ParameterStep, _ gradient: Vector<Double>
  ) throws(CheckpointError) -> Vector<Double> {
    let v = try p.squares("exp_avg_sq")
    averageSquares(v, gradient, betas.1)
    if let maximum {
      let largest = try p.squares(maximum)
      for i in 0..<p.count { v.pointer[i] = max(v.pointer[i], largest.pointer[i]) }
    }
    let correction = biasCorrection(betas.1, step)
    for i in 0..<p.count { v.pointer[i] = (v.pointer[i] / correction).squareRoot() + epsilon }
    return v
  }
}

extension KnownOptimizer {
  /// `torch.optim.Adam` and `AdamW`, which differ in the weight decay alone.
  static let adam = KnownOptimizer(
    name: "adam", title: "Adam or AdamW",
    kinds: [
      GroupKind(
        settings: ["lr", "betas", "eps", "weight_decay", "amsgrad"],
        laterSettings: [
          "maximize", "foreach", "capturable", "differentiable", "fused", "decoupled_weight_decay",
        ],
        states: [
          ["step", "exp_avg", "exp_avg_sq"], ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
        ],
        shape: GroupKind.like("exp_avg"), step: adamStep)
    ])

  private static func adamStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let settings = AdamSettings(
      betas: try p.group.pair("betas"), epsilon: try p.group.number("eps", .notNegative),
      step: try p.nextStep(), maximum: try p.group.flag("amsgrad") ? "max_exp_avg_sq" : nil)
    return scaled(try settings.direction(p, p.gradient), p.learningRate)
  }

  /// `transformers.AdamW`, which Transformers had up to version 4: epsilon is added to the root
  /// before its correction.
  static let transformersAdamW = KnownOptimizer(
    name: "adam", title: "AdamW (Transformers)",
    kinds: [
      GroupKind(
        settings: ["lr", "betas", "eps", "weight_decay", "correct_bias"],
        states: [["step", "exp_avg", "exp_avg_sq"]], shape: GroupKind.like("exp_avg"),
        step: transformersStep)
    ])

  private static func transformersStep(
    _ p: ParameterStep
  ) throws(CheckpointError) -> Vector<Double> {
    let betas = try p.group.pair("betas")
    let epsilon = try p.group.number("eps", .notNegative)
    let (m, v) = (try p.moment("exp_avg"), try p.squares("exp_avg_sq"))
    average(m, p.gradient, betas.0)
    averageSquares(v, p.gradient, betas.1)
    var rate = p.learningRate
    if try p.group.flag("correct_bias") {
      let t = try p.nextStep()
      rate *= biasCorrection(betas.1, t).squareRoot() / biasCorrection(betas.0, t)
    }
    for i in 0..<p.count {
      let divisor = v.pointer[i].squareRoot() + epsilon
      m.pointer[i] = divisor > 0 ? rate * m.pointer[i] / divisor : 0
    }
    return m
  }
}
