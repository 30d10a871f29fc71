import Curvature
import TensorModule
import Updates

/// How gamma of one direction answers to errors of what it is computed from, sample by sample. With
/// `q = J d`, `log gamma = 1/2 log q^T H q - log |u . q|` changes by `y . dq` for a change of q and by
/// `H q . dz / (u . q)` for one of the logits, where `y = H q / (q^T H q) - u / (u . q)`.
package struct GammaSensitivity: Sendable {
  /// `|y_n|_2`, of the direction without its scale.
  let tangents: [Double]
  /// `|H_n q_n|_2 / |u . q|`
  let logits: [Double]
  /// `q^T H q`
  let quadratic: Double
}

/// Estimates of the relative error that arithmetic has left in gamma (Documentation/accuracy.md): what
/// rounding does to the tangents, to the logits, and to the direction itself.
package struct GammaErrorEstimate {
  /// Gammas that may be further off are marked.
  package static var limit: Double { 1e-3 }

  /// `|J_n|`, as far as the labels at hand tell.
  private let jacobianNorms: [Double]
  private let largestLogits: [Double]
  /// `sum_n tr H_n |J_n|^2`: no unit direction has a larger `d^T F d`, as far as they tell.
  private let largestQuadratic: Double
  private let schedule: Schedule

  init<S: EngineScalar>(_ gradients: BatchGradients<S>) {
    jacobianNorms = gradients.jacobianNorms
    largestLogits = gradients.output.largestLogits
    schedule = gradients.linearization.schedule
    let (traces, norms) = (gradients.output.hessianTraces, jacobianNorms)
    largestQuadratic = schedule.sum { traces[$0] * norms[$0] * norms[$0] }
  }

  /// - Parameters:
  ///   - norm: `|d|_2`, without its scale.
  ///   - relativeError: Of d.
  ///   - unitRoundoff: Of the arithmetic of the tangents and the logits.
  func error(
    _ sensitivity: GammaSensitivity, norm: Double, relativeError: Double, unitRoundoff: Double
  ) -> Double {
    let tangents = schedule.sum {
      let own = sensitivity.tangents[$0] * jacobianNorms[$0] * norm
      return own * own
    }
    let logits = schedule.sum {
      let moved = sensitivity.logits[$0] * largestLogits[$0]
      return moved * moved
    }
    let first =
      tangents.squareRoot() * (Rounding.pass * unitRoundoff + relativeError)
      + logits.squareRoot() * Rounding.logits * unitRoundoff
    // What the error of d adds to d^T F d counts where to first order nothing does.
    let share = relativeError * norm
    let second = largestQuadratic / sensitivity.quadratic * share * share / 2
    let error = first + second
    return error.isNaN ? .infinity : error
  }
}
