import Checkpoints
import Foundation
import TensorModule
import Updates

extension KnownOptimizer {
  /// pytorch_optimizer's MARS (Yuan et al. 2024): a gradient corrected by its difference from the
  /// last one, clipped to length 1, in the step of AdamW, Lion or Muon; vectors as by AdamW.
  static let mars = KnownOptimizer(
    name: "mars", title: "MARS (pytorch_optimizer)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "lr_1d", "lr_1d_factor", "betas", "betas_1d", "mars_type", "gamma", "optimize_1d",
          "weight_decay", "weight_decay_1d", "weight_decouple", "fixed_decay", "ams_bound",
          "cautious", "eps", "step",
        ],
        laterSettings: ["foreach"],
        states: [
          ["exp_avg", "exp_avg_sq", "last_grad"],
          ["exp_avg", "exp_avg_sq", "last_grad", "max_exp_avg_sq"],
        ],
        shape: GroupKind.like("exp_avg"), step: kozistrStep)
    ])

  private static func kozistrStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let isMatrix = p.shape.count > 1
    let isCorrected = isMatrix ? true : try p.group.flag("optimize_1d")
    let type = try p.group.text("mars_type", among: ["adamw", "lion", "shampoo"])
    return try step(
      p,
      MARSStep(
        type: isMatrix || type != "shampoo" ? type : "adamw", isCorrected: isCorrected,
        betas: try p.group.pair(isCorrected ? "betas" : "betas_1d"),
        epsilon: try p.group.number("eps", .notNegative), squareEpsilon: 1e-15,
        correctsEpsilon: true,
        step: try p.nextGroupStep(),
        maximum: try p.group.flag("ams_bound") ? "max_exp_avg_sq" : nil,
        isCautious: try p.group.flag("cautious"),
        rate: try isCorrected
          ? p.learningRate : p.learningRate * p.group.number("lr_1d_factor", .notNegative),
        normFloor: { .largest($0) }))
  }

  /// The authors' own.
  static let authorsMARS = KnownOptimizer(
    name: "mars", title: "MARS (AGI-Arena)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "betas", "eps", "weight_decay", "amsgrad", "mars_type", "gamma", "optimize_1d",
          "weight_decay_1d",
        ],
        states: [
          ["step", "exp_avg", "exp_avg_sq", "last_grad"],
          ["step", "exp_avg", "exp_avg_sq", "last_grad", "max_exp_avg_sq"],
        ],
        shape: GroupKind.like("exp_avg"), step: authorsStep)
    ],
    remarks: { file throws(CheckpointError) in
      try requireOneRate(file)
      return [
        "Rate and averages of parameters that are no matrices are not in the file: 3e-3 at the "
          + "start and (0.9, 0.95), the defaults."
      ]
    })

  /// Vectors have a multiple of their group's rate that only one rate for all groups tells.
  private static func requireOneRate(_ file: OptimizerFile) throws(CheckpointError) {
    var rates: Set<Double> = []
    for group in file.groups {
      rates.insert(try firstRate(GroupSettings(file, group: group.number)))
    }
    if rates.count == 1 { return }
    throw CheckpointError(
      .unexpectedValue(
        "the learning rate", found: "another in each of \(file.groups.count) groups",
        expected: "one: how vectors are stepped depends on that of the constructor"),
      at: .init(file: file.path, place: "\(file.prefix)param_groups"))
  }

  private static func firstRate(_ group: GroupSettings) throws(CheckpointError) -> Double {
    try group.number("initial_lr", default: group.number("lr", .notNegative), .notNegative)
  }

  private static func authorsStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let isMatrix = p.shape.count == 2
    let isCorrected = isMatrix ? true : try p.group.flag("optimize_1d")
    let type = String(
      try p.group.text("mars_type", among: ["mars-adamw", "mars-lion", "mars-shampoo"])
        .dropFirst("mars-".count))
    let first = try firstRate(p.group)
    return try step(
      p,
      MARSStep(
        type: isMatrix || type != "shampoo" ? type : "adamw", isCorrected: isCorrected,
        betas: isCorrected ? try p.group.pair("betas") : (0.9, 0.95),
        epsilon: try p.group.number("eps", .notNegative), squareEpsilon: 0,
        correctsEpsilon: false,
        step: try p.nextStep(), maximum: try p.group.flag("amsgrad") ? "max_exp_avg_sq" : nil,
        isCautious: false,
        rate: isCorrected || first == 0 ? p.learningRate : p.learningRate * 3e-3 / first,
        normFloor: { .added($0) }))
  }

  /// What its programs do alike.
  private struct MARSStep {
    let type: String
    /// Whether the difference from the last gradient counts; AdamW's step otherwise.
    let isCorrected: Bool
    let betas: (Double, Double)
    let epsilon: Double
    /// Under the root.
    let squareEpsilon: Double
    /// Whether epsilon is divided by the correction of the root as well.
    let correctsEpsilon: Bool
    let step: Double
    let maximum: String?
    /// Only entries that have the gradient's sign.
    let isCautious: Bool
    let rate: Double
    let normFloor: (Double) -> NewtonSchulz.NormFloor
  }

  private static func step(
    _ p: ParameterStep, _ s: MARSStep
  ) throws(CheckpointError) -> Vector<Double> {
    let g = Vector<Double>(count: p.count)
    Kernels.copy(UnsafePointer(p.gradient.pointer), g.pointer, count: p.count)
    if s.isCorrected {
      let factor = try p.group.number("gamma") * s.betas.0 / (1 - s.betas.0)
      let last = try p.moment("last_grad")
      for i in 0..<p.count { g.pointer[i] += factor * (g.pointer[i] - last.pointer[i]) }
      let norm = rootMeanSquare(g) * Double(p.count).squareRoot()
      if norm > 1 { _ = scaled(g, 1 / norm) }
    }
    let m = try p.moment("exp_avg")
    average(m, g, s.betas.0)
    if s.isCautious { keepSigns(m, of: p.gradient) }
    if s.isCorrected && s.type == "lion" { return signs(m, s.rate) }
    if s.isCorrected && s.type == "shampoo" {
      let (rows, columns) = (p.shape[0], p.count / max(p.shape[0], 1))
      _ = scaled(m, 1 / (1 - s.betas.0))
      NewtonSchulz(
        coefficients: .init(repeating: NewtonSchulz.original, count: 5),
        normFloor: s.normFloor(s.epsilon)
      ).orthogonalize(m.pointer, rows: rows, columns: columns)
      return scaled(m, s.rate * max(1, Double(p.shape[0]) / Double(p.shape[1])).squareRoot())
    }
    let v = try p.squares("exp_avg_sq")
    averageSquares(v, g, s.betas.1)
    if let maximum = s.maximum {
      let largest = try p.squares(maximum)
      for i in 0..<p.count { v.pointer[i] = max(v.pointer[i], largest.pointer[i]) }
    }
    let root = biasCorrection(s.betas.1, s.step).squareRoot()
    let rate = s.rate / biasCorrection(s.betas.0, s.step)
    let epsilon = s.correctsEpsilon ? s.epsilon / root : s.epsilon
    for i in 0..<p.count {
      let divisor = (v.pointer[i] + s.squareEpsilon).squareRoot() / root + epsilon
      m.pointer[i] = divisor > 0 ? rate * m.pointer[i] / divisor : 0
    }
    return m
  }

  /// Zero where the sign is not the gradient's, the others enlarged to make up for it.
  private static func keepSigns(_ m: Vector<Double>, of gradient: Vector<Double>) {
    var kept = 0
    for i in 0..<m.count {
      if m.pointer[i] * gradient.pointer[i] > 0 { kept += 1 } else { m.pointer[i] = 0 }
    }
    _ = scaled(m, Double(m.count) / Double(kept + 1))
  }
}
