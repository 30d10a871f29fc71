import Checkpoints
import Foundation
import TensorModule

extension KnownOptimizer {
  /// `schedulefree.AdamWScheduleFree` (Defazio et al. 2024): parameters at which gradients are
  /// taken, y, move towards the average of the iterates and with the step of these, z.
  static let scheduleFree = KnownOptimizer(
    name: "schedule-free", title: "AdamWScheduleFree",
    kinds: [
      // From version 1.3 on.
      GroupKind(
        settings: scheduleFreeSettings.union(["scheduled_lr"]), laterSettings: ["inner_momentum"],
        states: [["z", "exp_avg_sq"], ["z", "exp_avg_sq", "exp_avg"]], shape: GroupKind.like("z"),
        step: { p throws(CheckpointError) in try step(p, correctsRate: false) }),
      GroupKind(
        settings: scheduleFreeSettings, states: [["z", "exp_avg_sq"]], shape: GroupKind.like("z"),
        step: { p throws(CheckpointError) in try step(p, correctsRate: true) }),
    ])

  private static let scheduleFreeSettings: Set<String> = [
    "lr", "betas", "eps", "r", "k", "warmup_steps", "train_mode", "weight_sum", "lr_max",
    "weight_lr_power", "weight_decay", "foreach",
  ]

  /// - Parameter correctsRate: Whether the correction of the second moments is part of the rate
  ///   (and so of the averages' weights, and without effect on epsilon).
  private static func step(
    _ p: ParameterStep, correctsRate: Bool
  ) throws(CheckpointError) -> Vector<Double> {
    let betas = try p.group.pair("betas")
    let t = try p.group.number("k", .notNegative) + 1
    let warmup = try p.group.number("warmup_steps", .notNegative)
    let correction = biasCorrection(betas.1, t)
    let factor = min(1, warmup > 0 ? t / warmup : 1) * (correctsRate ? correction.squareRoot() : 1)
    let epsilon = try p.group.number("eps", .notNegative)
    var m = p.gradient
    let momentum = try p.group.number("inner_momentum", default: 0, .share)
    let v = try p.squares("exp_avg_sq")
    averageSquares(v, p.gradient, betas.1)
    if momentum != 0 {
      m = try p.moment("exp_avg")
      average(m, p.gradient, momentum)
      _ = scaled(m, 1 / biasCorrection(momentum, t))
    }
    for i in 0..<p.count {
      let divisor = (v.pointer[i] / (correctsRate ? 1 : correction)).squareRoot() + epsilon
      m.pointer[i] = divisor > 0 ? m.pointer[i] / divisor : 0
    }
    return try averagedStep(p, m, step: t, rateFactor: factor) { share throws(CheckpointError) in
      share
    }
  }

  /// pytorch_optimizer's `ScheduleFreeAdamW`.
  static let kozistrScheduleFree = KnownOptimizer(
    name: "schedule-free", title: "ScheduleFreeAdamW (pytorch_optimizer)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "betas", "weight_decay", "r", "weight_lr_power", "warmup_steps", "decoupling_c",
          "ams_bound", "eps", "train_mode", "weight_sum", "lr_max", "use_palm", "step",
        ],
        laterSettings: ["foreach"],
        states: [["z", "exp_avg_sq"], ["z", "exp_avg_sq", "max_exp_avg_sq"]],
        shape: GroupKind.like("z"), step: kozistrStep)
    ])

  private static func kozistrStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let betas = try p.group.pair("betas")
    let t = try p.nextGroupStep()
    let warmup = try p.group.number("warmup_steps", .notNegative)
    let correction = biasCorrection(betas.1, t)
    let epsilon = try p.group.number("eps", .notNegative)
    let (v, g) = (try p.squares("exp_avg_sq"), p.gradient.pointer)
    let largest = try p.group.flag("ams_bound") ? p.squares("max_exp_avg_sq") : nil
    for i in 0..<p.count {
      let square = (betas.1 * v.pointer[i] + (1 - betas.1) * g[i] * g[i]) / correction
      g[i] /= (max(square, largest?.pointer[i] ?? 0) + 1e-15).squareRoot() + epsilon
    }
    let decoupling = try p.group.number("decoupling_c", .notNegative)
    return try averagedStep(
      p, p.gradient, step: t, rateFactor: t < warmup ? t / warmup : 1
    ) { share throws(CheckpointError) in
      decoupling > 0 ? min(1, share * (1 - betas.0) * decoupling) : share
    }
  }

  /// `y - y'` for `y' = y + c (z - y) - rate (1 - beta1 (1 - c)) d`, c the share of this step among
  /// the weights of the average.
  private static func averagedStep(
    _ p: ParameterStep, _ direction: Vector<Double>, step: Double, rateFactor: Double,
    share: (Double) throws(CheckpointError) -> Double
  ) throws(CheckpointError) -> Vector<Double> {
    guard try p.group.flag("train_mode") else {
      throw CheckpointError(
        .unexpectedValue("\(p.group.place).train_mode", found: "False", expected: "True"),
        at: .init(file: p.group.archive.path),
        hint: "The gradient is taken at other parameters than those of evaluation: call "
          + "optimizer.train() before saving the model and the state.")
    }
    let given = try p.group.number("lr", .notNegative) * rateFactor
    let largest = max(given, try p.group.number("lr_max"))
    let weight =
      pow(step, try p.group.number("r"))
      * pow(largest, try p.group.number("weight_lr_power"))
    let sum = try p.group.number("weight_sum", .notNegative) + weight
    let c = try share(sum > 0 ? weight / sum : 0)
    let rate = given * (1 - (try p.group.number("betas.0", .share)) * (1 - c))
    let (y, z) = (try p.readParameter(), try p.moment("z"))
    for i in 0..<p.count {
      direction.pointer[i] = rate * direction.pointer[i] + c * (y.pointer[i] - z.pointer[i])
    }
    return direction
  }
}
