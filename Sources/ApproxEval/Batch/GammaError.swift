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
  /// `|u_n|` and `tr H_n`
  private let gradientNorms: [Double]
  private let hessianTraces: [Double]
  /// `sum_n tr H_n |J_n|^2`: no unit direction has a larger `d^T F d`, as far as they tell.
  private let largestQuadratic: Double
  private let schedule: Schedule

  /// Of the samples that responses are of, `|u|` and the sample here that each is a part of.
  private let parts: (gradientNorms: [Double], samples: [Int])

  /// - Parameters:
  ///   - sequences: Per sample of the gradients the one of the batch that it is a position of; `nil` where
  ///     the two are the same.
  ///   - output: Of the batch.
  init<S: EngineScalar>(
    _ gradients: BatchGradients<S>, _ sequences: [Int]?, _ output: OutputState<S>
  ) {
    let samples = sequences ?? Array(0..<gradients.samples)
    parts = (gradients.output.gradientNorms, samples)
    // J of a position is a part of that of its sequence.
    var norms = [Double](repeating: 0, count: output.samples)
    for (sample, norm) in zip(samples, gradients.jacobianNorms) {
      norms[sample] = max(norms[sample], norm)
    }
    jacobianNorms = norms
    largestLogits = output.largestLogits
    schedule = output.schedule
    gradientNorms = output.gradientNorms
    hessianTraces = output.hessianTraces
    let traces = hessianTraces
    largestQuadratic = schedule.sum { traces[$0] * norms[$0] * norms[$0] }
  }

  /// - Parameters:
  ///   - norm: `|d|_2`, without its scale.
  ///   - relativeError: Of d.
  ///   - response: What it does to the samples along their gradients, or to positions, where it was measured.
  ///   - unitRoundoff: Of the arithmetic of the tangents and the logits.
  func error(
    _ sensitivity: GammaSensitivity, norm: Double, relativeError: Double,
    response: [Double]? = nil, unitRoundoff: Double
  ) -> Double {
    let tangents = schedule.sum {
      let own = sensitivity.tangents[$0] * jacobianNorms[$0] * norm
      return own * own
    }
    let logits = schedule.sum {
      let moved = sensitivity.logits[$0] * largestLogits[$0]
      return moved * moved
    }
    let rounding =
      tangents.squareRoot() * Rounding.pass * unitRoundoff
      + logits.squareRoot() * Rounding.logits * unitRoundoff
    // What the error of d adds to d^T F d counts where to first order nothing does.
    let share = relativeError * norm
    var first = tangents.squareRoot() * relativeError
    var second = largestQuadratic / sensitivity.quadratic * share * share / 2
    if let moved = moved(response) {
      first = min(first, schedule.sum { sensitivity.tangents[$0] * moved[$0] })
      let square = schedule.sum { hessianTraces[$0] * moved[$0] * moved[$0] }
      second = min(second, square / sensitivity.quadratic / 2)
    }
    let error = rounding + first + second
    return error.isNaN ? .infinity : error
  }

  /// By how much logits move along the directions that the gradients tell of, `[N]`: of a sample at least what
  /// all of them show as a share of `|J_n|`, as one by itself may happen to show nothing.
  ///
  /// - Returns: `nil` where they are too few to tell.
  private func moved(_ response: [Double]?) -> [Double]? {
    guard let response,
      zip(gradientNorms, jacobianNorms).count(where: { $0 > 0 && $1 > 0 }) >= Self.fewestSamples
    else { return nil }
    let own = moves(response).map { Self.caution * $0 }
    let (shown, all) = (
      schedule.sum { own[$0] * own[$0] }, schedule.sum { jacobianNorms[$0] * jacobianNorms[$0] }
    )
    let share = all > 0 ? (shown / all).squareRoot() : 0
    return zip(own, jacobianNorms).map { max($0, share * $1) }
  }

  /// `|J_n e|` as far as the gradients tell: of several positions of a sample, all together.
  private func moves(_ response: [Double]) -> [Double] {
    var moves = [Double](repeating: 0, count: jacobianNorms.count)
    for (part, own) in response.enumerated() where parts.gradientNorms[part] > 0 {
      let (sample, move) = (parts.samples[part], own / parts.gradientNorms[part])
      let known = moves[sample]
      moves[sample] = known == 0 ? move : (known * known + move * move).squareRoot()
    }
    return moves
  }

  /// Errors of real arithmetic are no random numbers: where units are saturated they are larger, and many have a
  /// common cause.
  private static var caution: Double { 8 }

  /// Samples that tell anything. Fewer show too little of an error. More are no independent numbers: where one
  /// singular value makes most of an error, all have its one random factor in common, which is why the larger
  /// of two such errors is taken.
  private static var fewestSamples: Int { 8 }
}
