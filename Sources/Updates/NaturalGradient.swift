import Curvature
import TensorModule

extension UpdateMethod {
  /// The natural gradient (Algorithm 5).
  public static let ng = UpdateMethod(
    "ng", "natural gradient, `(F + λ I)⁻¹ g`; without damping it is the reference",
    MethodNeeds(isDamped: true, solve: .solution, isWeightedSum: true),
    CurvatureSolve(metric: .fisher))

  /// Gauss-Newton (Eqn 9).
  public static let gn = UpdateMethod(
    "gn", "Gauss-Newton: as `ng`, with the identity for the Hessian at the logits",
    MethodNeeds(isDamped: true, solve: .solution, isWeightedSum: true),
    CurvatureSolve(metric: .identity))

  /// So many iterations of Algorithm 5: Hessian-free without patience.
  public static func truncated(iterations: Int) -> UpdateMethod {
    UpdateMethod(
      "ng@\(iterations)", family: ng.family, MethodFamily.truncated.summary,
      MethodNeeds(isDamped: true, solve: .iterate(after: iterations)),
      CurvatureIterate(iterations: iterations))
  }

  /// Of a solver: more than any run can take, and few enough to reckon with.
  public static let mostIterations = 1_000_000_000
}

extension MethodFamily {
  static let truncated = MethodFamily(
    prefix: "ng@", part: "iterations",
    "the iterate after so many iterations of conjugate gradients on `(F + λ I) x = g`: Hessian-free "
      + "with little patience; several come from one solve"
  ) { digits in
    guard digits.allSatisfy({ ("0"..."9").contains($0) }), digits.first != "0",
      let iterations = Int(digits), iterations <= UpdateMethod.mostIterations
    else { return nil }
    return .truncated(iterations: iterations)
  }
}

private struct CurvatureSolve: DirectionRule {
  let metric: OutputMetric

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    try dampings.map { try context.requiredSource().solution(metric, $0) }
  }
}

private struct CurvatureIterate: DirectionRule {
  let iterations: Int

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    try dampings.map { try context.requiredSource().iterate(after: iterations, $0) }
  }
}
