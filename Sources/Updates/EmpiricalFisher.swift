import Curvature
import TensorModule

extension UpdateMethod {
  /// Empirical Fisher (Eqn 5).
  public static let ef = UpdateMethod(
    "ef", "empirical Fisher, `Gᵀ (K + λ I)⁻¹ 1` with `K = G Gᵀ`", EmpiricalFisher.needs,
    EmpiricalFisher(target: .ones))

  /// Improved empirical Fisher (Eqn 8).
  public static let ief = UpdateMethod(
    "ief", "improved empirical Fisher, `Gᵀ (K + λ I)⁻¹ s` with `s_n = ‖u_n‖²`",
    EmpiricalFisher.needs, EmpiricalFisher(target: .squares))
}

/// `d = G^T (K + lambda I)^-1 b`: a weighted sum of per-sample gradients. `b = 1` is the empirical
/// Fisher (EF, Eqn 5), `b = s` with `s_n = |u_n|_2^2` the improved one (iEF, Eqn 8).
struct EmpiricalFisher: DirectionRule {
  static let needs = MethodNeeds(isDamped: true, gram: .whole, isWeightedSum: true)

  let target: EmpiricalTarget

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    // With squares that are numbers.
    let target = target.values(gradients)
    let solver = try gradients.solver(for: dampings)
    let lambdas = dampings.map { gradients.lambda($0) }
    let padding = [Double](repeating: 0, count: gradients.draws * gradients.samples)
    // c of the order of b / unit^2, or of b / lambda where that dwarfs K: without these factors
    // it is of the order of 1.
    let coefficients = lambdas.map { lambda in
      let excess = lambda.scaled > 1 ? powerOfTwo(near: lambda.scaled) : 1
      return solver.solve(target.values, lambda: lambda.scaled).map { $0 * excess } + padding
    }
    let unit = gradients.gram.unit
    let rowErrors = Array(gradients.rowErrors[..<gradients.samples])
    return lambdas.indices.map { i in
      // Powers of two which need not be numbers where their product is one.
      let (value, lambda) = lambdas[i]
      let exponent =
        lambda <= 1
        ? 2 * unit.exponent : value > 0 ? value.exponent : lambda.exponent + 2 * unit.exponent
      let excess = lambda > 1 ? powerOfTwo(near: lambda) : 1
      let (form, norm) = gradients.direction(
        of: coefficients[i], exponent: target.exponent - exponent)
      let error = solver.error(
        of: coefficients[i], target.values.map { $0 * excess }, lambda: lambda, norm: norm,
        rowErrors: rowErrors, targetErrors: target.errors.map { $0 * excess })
      return Direction(
        damping: dampings[i], lambda: value, form: form, relativeError: error / norm)
    }
  }
}
