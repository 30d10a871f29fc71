import Curvature
import TensorModule

/// `d = G^T (K + lambda I)^-1 b`: a weighted sum of per-sample gradients, for every damping from
/// one eigen-decomposition. `b = 1` is the empirical Fisher (EF, Eqn 5), `b = s` with
/// `s_n = |u_n|_2^2` the improved one (iEF, Eqn 8).
package enum EmpiricalFisher {
  package static func directions<S: EngineScalar>(
    _ gradients: BatchGradients<S>, method: Method, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let target: [Double]
    switch method {
    case .ef: target = [Double](repeating: 1, count: gradients.samples)
    case .ief: target = gradients.output.gradientSquares
    default: preconditionFailure("EmpiricalFisher: method \(method.name)")
    }
    let solver = try gradients.solver()
    let lambdas = dampings.map { $0.lambda(largestDiagonal: gradients.largestDiagonal) }
    let padding = [Double](repeating: 0, count: gradients.draws * gradients.samples)
    let coefficients = lambdas.map { solver.solve(target, lambda: $0) + padding }
    let sums = gradients.perSample.weightedSums(coefficients)
    return sums.indices.map { i in
      Direction(
        method: method, damping: dampings[i], lambda: lambdas[i], scaled: sums[i],
        isBelowRounding: solver.isBelowRounding(lambdas[i]))
    }
  }
}
