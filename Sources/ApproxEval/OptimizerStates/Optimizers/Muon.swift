import Checkpoints
import Foundation
import TensorModule
import Updates

extension KnownOptimizer {
  /// `torch.optim.Muon`.
  static let muon = KnownOptimizer(
    name: "muon", title: "Muon",
    kinds: [
      GroupKind(
        settings: [
          "lr", "weight_decay", "momentum", "nesterov", "ns_coefficients", "eps", "ns_steps",
          "adjust_lr_fn",
        ],
        states: [["momentum_buffer"]], shape: GroupKind.like("momentum_buffer"), step: muonStep)
    ], remarks: newtonSchulzRemarks)

  /// Keller Jordan's `Muon` and `SingleDeviceMuon`, and `MuonWithAuxAdam` with Adam for groups
  /// without `use_muon`.
  static let jordanMuon = KnownOptimizer(
    name: "muon", title: "Muon (K. Jordan)",
    kinds: [
      GroupKind(
        settings: ["lr", "weight_decay", "momentum"], states: [["momentum_buffer"]],
        shape: GroupKind.like("momentum_buffer"), step: jordanStep),
      GroupKind(
        settings: ["lr", "weight_decay", "momentum", "use_muon"], states: [["momentum_buffer"]],
        shape: GroupKind.like("momentum_buffer"), step: jordanStep),
      GroupKind(
        settings: ["lr", "weight_decay", "betas", "eps", "use_muon"],
        states: [["step", "exp_avg", "exp_avg_sq"]], shape: GroupKind.like("exp_avg"),
        step: { p throws(CheckpointError) in try auxiliaryStep(p, p.nextStep()) }),
    ], remarks: newtonSchulzRemarks)

  /// pytorch_optimizer's `Muon`.
  static let kozistrMuon = KnownOptimizer(
    name: "muon", title: "Muon (pytorch_optimizer)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "weight_decay", "weight_decouple", "momentum", "nesterov", "ns_steps", "ns_coeffs",
          "ns_method", "ns_reset_steps", "use_adjusted_lr", "use_muon", "foreach", "step",
        ],
        states: [["momentum_buffer"]], shape: GroupKind.like("momentum_buffer"),
        step: kozistrStep),
      GroupKind(
        settings: [
          "lr", "weight_decay", "weight_decouple", "betas", "eps", "use_muon", "foreach", "step",
        ],
        states: [["exp_avg", "exp_avg_sq"]], shape: GroupKind.like("exp_avg"),
        step: { p throws(CheckpointError) in try auxiliaryStep(p, p.nextGroupStep()) }),
    ], remarks: newtonSchulzRemarks)

  private static func newtonSchulzRemarks(
    _: OptimizerFile
  ) throws(CheckpointError) -> [String] {
    ["Newton-Schulz iterations are in double, the optimiser's own in bfloat16."]
  }

  private static func muonStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    if p.shape.count != 2 { throw noMatrix(p, "a matrix") }
    var coefficients: [NewtonSchulz.Coefficients] = []
    for _ in 0..<(try newtonSchulzSteps(p)) {
      coefficients.append(try self.coefficients(p, "ns_coefficients"))
    }
    let iteration = NewtonSchulz(
      coefficients: coefficients, normFloor: .largest(try p.group.number("eps", .notNegative)))
    let (rows, columns) = (p.shape[0], p.shape[1])
    let factor: Double
    if p.group.isGiven("adjust_lr_fn"),
      try p.group.text("adjust_lr_fn", among: ["original", "match_rms_adamw"]) != "original"
    {
      factor = 0.2 * Double(max(rows, columns)).squareRoot()
    } else {
      factor = max(1, Double(rows) / Double(columns)).squareRoot()
    }
    let update = try momentumUpdate(p, isNesterov: p.group.flag("nesterov"))
    iteration.orthogonalize(update.pointer, rows: rows, columns: columns)
    return scaled(update, p.learningRate * factor)
  }

  private static func jordanStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    guard p.shape.count > 1 else { throw noMatrix(p, "at least two axes") }
    let update = try momentumUpdate(p, isNesterov: true)
    let iteration = NewtonSchulz(
      coefficients: .init(repeating: NewtonSchulz.original, count: 5), normFloor: .added(1e-7))
    let (height, width) = (p.shape[p.shape.count - 2], p.shape[p.shape.count - 1])
    // The kernel of a convolution is one matrix; of any other tensor the last two axes are.
    if p.shape.count == 4 {
      iteration.orthogonalize(
        update.pointer, rows: p.shape[0], columns: p.count / max(p.shape[0], 1))
    } else {
      for start in stride(from: 0, to: p.count, by: max(height * width, 1)) {
        iteration.orthogonalize(update.pointer + start, rows: height, columns: width)
      }
    }
    // Of the last two axes also where these are a window.
    return scaled(update, p.learningRate * max(1, Double(height) / Double(width)).squareRoot())
  }

  private static func kozistrStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    guard p.shape.count > 1 else { throw noMatrix(p, "at least two axes") }
    _ = try p.group.text("ns_method", among: ["newton_schulz", "gram_newton_schulz"])
    var coefficients: [NewtonSchulz.Coefficients] = []
    for step in 0..<(try newtonSchulzSteps(p)) {
      let key = "ns_coeffs.\(step)"
      // The last of a schedule stays.
      if step > 0 && !p.group.isGiven("\(key).0") {
        coefficients.append(coefficients[step - 1])
      } else {
        coefficients.append(try self.coefficients(p, key))
      }
    }
    let iteration = NewtonSchulz(coefficients: coefficients, normFloor: .largest(1e-7))
    let (rows, columns) = (p.shape[0], p.count / max(p.shape[0], 1))
    let update = try momentumUpdate(p, isNesterov: p.group.flag("nesterov"))
    iteration.orthogonalize(update.pointer, rows: rows, columns: columns)
    let factor =
      try p.group.flag("use_adjusted_lr")
      ? 0.2 * Double(max(rows, columns)).squareRoot()
      : max(1, Double(rows) / Double(columns)).squareRoot()
    return scaled(update, p.learningRate * factor)
  }

  /// The average of gradients, or Nesterov's.
  private static func momentumUpdate(
    _ p: ParameterStep, isNesterov: Bool
  ) throws(CheckpointError) -> Vector<Double> {
    let momentum = try p.group.number("momentum", .share)
    let buffer = try p.moment("momentum_buffer")
    average(buffer, p.gradient, momentum)
    if !isNesterov { return buffer }
    average(p.gradient, buffer, 1 - momentum)
    return p.gradient
  }

  private static func auxiliaryStep(
    _ p: ParameterStep, _ step: Double
  ) throws(CheckpointError) -> Vector<Double> {
    let settings = AdamSettings(
      betas: try p.group.pair("betas"), epsilon: try p.group.number("eps", .notNegative),
      step: step)
    return scaled(try settings.direction(p, p.gradient), p.learningRate)
  }

  private static func newtonSchulzSteps(_ p: ParameterStep) throws(CheckpointError) -> Int {
    let steps = try p.group.number("ns_steps", .notNegative)
    // torch.optim.Muon refuses more.
    if let count = Int(exactly: steps), count < 100 { return count }
    throw CheckpointError(
      .unexpectedValue(
        "\(p.group.place).ns_steps", found: "\(steps)", expected: "a whole number below 100"),
      at: .init(file: p.group.archive.path))
  }

  private static func coefficients(
    _ p: ParameterStep, _ key: String
  ) throws(CheckpointError) -> NewtonSchulz.Coefficients {
    (
      try p.group.number("\(key).0"), try p.group.number("\(key).1"),
      try p.group.number("\(key).2")
    )
  }

  private static func noMatrix(_ p: ParameterStep, _ expected: String) -> CheckpointError {
    CheckpointError(
      .unexpectedValue("the shape of \(p.spec.name)", found: "\(p.shape)", expected: expected),
      at: .init(file: p.group.archive.path, place: p.state.place),
      hint: "Muon steps matrices; give the parameters of its groups as \(.trainable).")
  }
}
