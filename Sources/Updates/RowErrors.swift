import Curvature
import TensorModule

/// What rounding leaves in the rows of a batch: how far each per-sample gradient may be from that of
/// exact arithmetic, as a share of its norm (Documentation/accuracy.md).
package struct RowErrors: Sendable {
  /// `[R N]`, of the rows of all labels.
  package let relative: [Double]
  /// `[N]`, of `|u_n|^2`, the right-hand side of iEF.
  package let squares: [Double]

  init<S: EngineScalar>(_ output: OutputState<S>, draws: Int) {
    let unit = S.unitRoundoff
    // d|u| <= |H| |dz|, and dz is relative to the logits: as a share of u it is theirs where u goes
    // down with H, as it does for a label that is one class. Squared errors, and those of labels that
    // are spread over classes, are differences that vanish while H does not.
    let logits = zip(output.largestLogits, zip(output.hessianNorms, output.gradientNorms)).map {
      size, sizes in
      let share = sizes.1 > 0 ? sizes.0 / sizes.1 : 0
      switch output.gradient {
      case .softmax: return size
      case .centred: return size * max(1, share)
      case .elementwise:
        return size * (output.loss == .squaredError ? share : max(1, share))
      }
    }
    let passes = Rounding.pass
    let own = logits.map { unit * (passes + Rounding.logits * $0) }
    let drawn = RowErrors.ofDraws(output)
    relative = own + (0..<draws).flatMap { _ in drawn }
    squares = logits.map { 2 * unit * (1 + Rounding.logits * $0) }
  }

  /// Of gradients of drawn labels and of columns of the root of H, `[N]`. Squared errors of drawn labels
  /// are the draws themselves; of all others each is one class.
  static func ofDraws<S: EngineScalar>(_ output: OutputState<S>) -> [Double] {
    let unit = S.unitRoundoff
    return output.largestLogits.map {
      output.loss == .squaredError
        ? unit * Rounding.pass : unit * (Rounding.pass + Rounding.logits * $0)
    }
  }
}

/// Relative errors of the engine's passes in units of its roundoff, found by comparison with exact
/// arithmetic (Documentation/accuracy.md).
package enum Rounding {
  /// Of a per-sample gradient, and of a tangent, beside the size of what it is summed from.
  package static var pass: Double { 4 }
  /// Of logits, beside the largest of a sample.
  package static var logits: Double { 4 }

  /// How far errors of rows line up with a given direction among so many parameters: those of a layer
  /// are as independent as its units, of which there are some sqrt(P).
  package static func alignment(_ parameters: Int) -> Double {
    1 / Double(max(parameters, 1)).squareRoot().squareRoot()
  }
}

extension EngineScalar {
  /// The largest relative error of one rounding.
  package static var unitRoundoff: Double { Double(ulpOfOne) / 2 }
}
