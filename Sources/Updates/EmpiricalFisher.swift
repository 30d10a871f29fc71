import Curvature
import TensorModule

/// `d = G^T (K + lambda I)^-1 b`: a weighted sum of per-sample gradients. `b = 1` is the empirical
/// Fisher (EF, Eqn 5), `b = s` with `s_n = |u_n|_2^2` the improved one (iEF, Eqn 8).
package enum EmpiricalFisher {
  package static func directions<S: EngineScalar>(
    _ gradients: BatchGradients<S>, method: Method, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    // b = targetUnit^2 target, with squares that are numbers.
    let target: [Double]
    let targetUnit: Double
    switch method {
    case .ef:
      target = [Double](repeating: 1, count: gradients.samples)
      targetUnit = 1
    case .ief:
      let norms = gradients.output.gradientNorms
      targetUnit = powerOfTwo(near: norms.max() ?? 0)
      target = norms.map { ($0 / targetUnit) * ($0 / targetUnit) }
    default: preconditionFailure("EmpiricalFisher: method \(method.name)")
    }
    let solver = try gradients.solver(for: dampings)
    let lambdas = dampings.map(gradients.lambda)
    let padding = [Double](repeating: 0, count: gradients.draws * gradients.samples)
    // c of the order of b / unit^2, or of b / lambda where that dwarfs K: without these factors
    // it is of the order of 1.
    let coefficients = lambdas.map { lambda in
      let excess = lambda.scaled > 1 ? powerOfTwo(near: lambda.scaled) : 1
      return solver.solve(target, lambda: lambda.scaled).map { $0 * excess } + padding
    }
    let unit = gradients.gram.unit
    let rowErrors = Array(gradients.rowErrors[..<gradients.samples])
    let targetErrors = zip(target, gradients.errors.squares).map { method == .ief ? $0 * $1 : 0 }
    return lambdas.indices.map { i in
      // Powers of two which need not be numbers where their product is one.
      let (value, lambda) = lambdas[i]
      let exponent =
        lambda <= 1
        ? 2 * unit.exponent : value > 0 ? value.exponent : lambda.exponent + 2 * unit.exponent
      let excess = lambda > 1 ? powerOfTwo(near: lambda) : 1
      let (form, norm) = gradients.direction(
        of: coefficients[i], exponent: 2 * targetUnit.exponent - exponent)
      let error = solver.error(
        of: coefficients[i], target.map { $0 * excess }, lambda: lambda, norm: norm,
        rowErrors: rowErrors, targetErrors: targetErrors.map { $0 * excess })
      return Direction(
        method: method, damping: dampings[i], lambda: value, form: form,
        relativeError: error / norm)
    }
  }
}
