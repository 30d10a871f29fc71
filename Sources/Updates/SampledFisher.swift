import Curvature
import TensorModule

/// Sampled Fisher (SF, Eqn 47-49): `d = g - Ghat^T (Ghat Ghat^T + lambda I)^-1 Ghat g`, Ghat the
/// gradients of k sampled labels per sample divided by sqrt(k). The factor 1/lambda of the
/// Woodbury identity is left out: only the direction matters.
///
/// For tiny lambda the difference cancels. `Ghat g` and the solve are in double, from the same
/// Gram matrix, and the difference is taken in logit space, in double, before one backward pass:
/// `d = J^T (u - sum_i c_i u_i)`.
package enum SampledFisher {
  package static func directions<S: EngineScalar>(
    _ gradients: BatchGradients<S>, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let solver = try gradients.solverOfSampled()
    let target = gradients.sampledDotGradient
    let lambdas = dampings.map { $0.lambda(largestDiagonal: gradients.largestSampledDiagonal) }
    let samples = gradients.samples
    let root = Double(gradients.draws).squareRoot()
    let ones = [Double](repeating: 1, count: samples)
    let weights = lambdas.map { lambda in
      let solution = solver.solve(target, lambda: lambda)
      return [ones]
        + (0..<gradients.draws).map { d in
          solution[d * samples..<(d + 1) * samples].map { -$0 / root }
        }
    }
    let logits = [gradients.output.gradient] + gradients.sampled
    let linearization = gradients.linearization
    let unit = powerOfTwo(
      near: gradients.output.gradientSquares.reduce(0) { max($0, $1.squareRoot()) })
    let vectors = lambdas.map { _ in Vector<S>(count: linearization.parameterCount) }
    linearization.vjp(into: vectors) { chunk, cotangents in
      let size = chunk.count * linearization.logitCount
      for (r, weights) in weights.enumerated() {
        gradients.output.writeCombination(
          logits, weights: weights, chunk: chunk, unit: unit, to: cotangents + r * size)
      }
    }
    return vectors.indices.map { i in
      Direction(
        method: .sf, damping: dampings[i], lambda: lambdas[i],
        scaled: ScaledVector(vector: vectors[i], scale: unit),
        isBelowRounding: solver.isBelowRounding(lambdas[i]))
    }
  }
}
