import Curvature
import TensorModule

/// Sampled Fisher (SF, Eqn 47-49): `d = g - Ghat^T (Ghat Ghat^T + lambda I)^-1 Ghat g`, Ghat the
/// gradients of k sampled labels per sample divided by sqrt(k). The factor 1/lambda of the
/// Woodbury identity is left out: only the direction matters.
///
/// d is a weighted sum of true and sampled per-sample gradients. For tiny lambda it cancels.
/// `Ghat g` and the solve are in double and from the Gram matrix of the very rows that are summed,
/// so the weights are right for these rows; where they cancel, the sum is in double too.
package enum SampledFisher {
  package static func directions<S: EngineScalar>(
    _ gradients: BatchGradients<S>, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let solver = try gradients.solverOfSampled()
    let target = gradients.sampledDotGradient
    let lambdas = dampings.map { $0.lambda(largestDiagonal: gradients.largestSampledDiagonal) }
    let root = Double(gradients.draws).squareRoot()
    let ones = [Double](repeating: 1, count: gradients.samples)
    return lambdas.enumerated().map { i, lambda in
      let weights = ones + solver.solve(target, lambda: lambda).map { -$0 / root }
      // A tenth left costs one digit.
      let cancels = gradients.norm(of: weights) < 0.1 * gradients.norm(of: ones)
      return Direction(
        method: .sf, damping: dampings[i], lambda: lambda,
        scaled: gradients.perSample.weightedSums([weights], inDouble: cancels)[0],
        isBelowRounding: solver.isBelowRounding(lambda))
    }
  }
}
