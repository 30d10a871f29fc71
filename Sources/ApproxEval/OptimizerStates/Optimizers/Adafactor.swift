import Checkpoints
import Foundation
import TensorModule
import Training

extension KnownOptimizer {
  /// `torch.optim.Adafactor`.
  static let adafactor = KnownOptimizer(
    name: "adafactor", title: "Adafactor",
    kinds: [
      GroupKind(
        settings: ["lr", "beta2_decay", "eps", "d", "weight_decay", "foreach", "maximize"],
        states: [["step", "row_var", "col_var"], ["step", "variance"]],
        shape: { state in
          if let shape = state.shape("variance") { return shape }
          guard let rows = state.shape("row_var"), let columns = state.shape("col_var"),
            rows.count > 1, columns.count == rows.count
          else { return nil }
          return rows.dropLast() + [columns[columns.count - 1]]
        }, step: adafactorStep)
    ])

  private static func adafactorStep(_ p: ParameterStep) throws(CheckpointError) -> Vector<Double> {
    let isFactored = p.shape.count > 1
    let moments = try p.state.tensor(isFactored ? "row_var" : "variance")
    // Without a number it is that of the parameters' type, which the moments have too.
    let precision = moments.dtype == .f64 ? 0x1p-52 : moments.dtype == .f32 ? 0x1p-23 : 0x1p-7
    let epsilon = (
      try p.group.number("eps.0", default: precision, .notNegative),
      try p.group.number("eps.1", .notNegative)
    )
    let t = try p.nextStep()
    let share = pow(t, try p.group.number("beta2_decay"))
    let g = p.gradient
    if isFactored {
      let (rows, columns) = factorShapes(p.shape)
      let (rowMeans, columnMeans) = (
        try p.state.squares("row_var", shape: rows + [1]),
        try p.state.squares(
          "col_var", shape: columns.dropLast() + [1, columns[columns.count - 1]])
      )
      AdafactorMoments.divide(
        g.pointer, .init(shape: p.shape), rows: rowMeans.pointer, columns: columnMeans.pointer,
        share, epsilon.0)
    } else {
      let squares = try p.squares("variance")
      AdafactorMoments.divide(
        g.pointer, count: g.count, squares: squares.pointer, share, epsilon.0)
    }
    let clip = AdafactorMoments.clipping(
      g.pointer, count: g.count, threshold: try p.group.number("d", .notNegative))
    let relative = min(p.learningRate, 1 / t.squareRoot())
    let scale = max(epsilon.1, rootMeanSquare(try p.readParameter()))
    return scaled(g, relative * scale / clip)
  }

  /// `transformers.Adafactor`, which is fairseq's: by the authors' paper, without a learning rate.
  static let transformersAdafactor = KnownOptimizer(
    name: "adafactor", title: "Adafactor (Transformers)",
    kinds: [
      GroupKind(
        settings: [
          "lr", "eps", "clip_threshold", "decay_rate", "beta1", "weight_decay", "scale_parameter",
          "relative_step", "warmup_init",
        ],
        states: [
          ["step", "RMS", "exp_avg_sq_row", "exp_avg_sq_col"], ["step", "RMS", "exp_avg_sq"],
          ["step", "RMS", "exp_avg_sq_row", "exp_avg_sq_col", "exp_avg"],
          ["step", "RMS", "exp_avg_sq", "exp_avg"],
        ],
        shape: { state in
          if let shape = state.shape("exp_avg_sq") { return shape }
          guard let rows = state.shape("exp_avg_sq_row"),
            let columns = state.shape("exp_avg_sq_col"), let last = columns.last
          else { return nil }
          return rows + [last]
        }, step: transformersAdafactorStep)
    ])

  private static func transformersAdafactorStep(
    _ p: ParameterStep
  ) throws(CheckpointError) -> Vector<Double> {
    let epsilon = (
      try p.group.number("eps.0", .notNegative), try p.group.number("eps.1", .notNegative)
    )
    let t = try p.nextStep()
    let share = pow(t, try p.group.number("decay_rate"))
    var rate = p.learningRate
    if try p.group.flag("relative_step") {
      rate = min(try p.group.flag("warmup_init") ? 1e-6 * t : 1e-2, 1 / t.squareRoot())
    }
    if try p.group.flag("scale_parameter") {
      rate *= max(epsilon.1, rootMeanSquare(try p.readParameter()))
    }
    let g = p.gradient
    if p.shape.count > 1 {
      let (rowShape, columnShape) = factorShapes(p.shape)
      let (rows, columns) = (
        try p.state.squares("exp_avg_sq_row", shape: rowShape),
        try p.state.squares("exp_avg_sq_col", shape: columnShape)
      )
      AdafactorMoments.divideByMeans(
        g.pointer, .init(shape: p.shape), rows: rows.pointer, columns: columns.pointer, share,
        epsilon.0)
    } else {
      let v = try p.squares("exp_avg_sq")
      AdafactorMoments.divideByMeans(
        g.pointer, count: g.count, squares: v.pointer, share, epsilon.0)
    }
    let clip = AdafactorMoments.clipping(
      g.pointer, count: g.count, threshold: try p.group.number("clip_threshold", .notNegative))
    _ = scaled(g, rate / clip)
    guard p.group.isGiven("beta1") else { return g }
    // What is averaged are steps, with their rates.
    let m = try p.moment("exp_avg")
    average(m, g, try p.group.number("beta1", .share))
    return m
  }

  /// Of means over the last axis, and over the last but one.
  private static func factorShapes(_ shape: [Int]) -> (rows: [Int], columns: [Int]) {
    (shape.dropLast(), shape.dropLast(2) + [shape[shape.count - 1]])
  }
}
