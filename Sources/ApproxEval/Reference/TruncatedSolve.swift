import Curvature
import HessianFree
import TensorModule

extension ReferenceSolver {
  /// A direction, and the seconds from the start of the solve to it.
  package typealias Iterate = (direction: ScaledVector<S>, seconds: Double)

  /// The iterates of Algorithm 5 on `(F + mu I) x = g` after so many iterations each, from one
  /// solve.
  ///
  /// Neither tolerance nor certificate ends it. Where rounding does (`stagnated`, no positive
  /// curvature left), more iterations give the best iterate that there is. Scaled as in
  /// `conjugateGradient`.
  package func iterates(
    _ problem: BatchProblem<S>, gradient: ScaledVector<S>, after counts: [Int]
  ) throws(SolveError) -> [Iterate] {
    let dimension = problem.linearization.parameterCount
    guard
      let units = units(problem, gradientUnit: gradient.scale, gradientIsZero: false)
    else {
      let zero = ScaledVector(vector: Vector<S>(count: dimension), scale: 1)
      return counts.map { _ in (zero, 0) }
    }
    let fisher = FisherOperator(problem.linearization, problem.output, unit: units.phi)
    let keeper = IterateKeeper<S>(counts: Set(counts))
    let limits = SolveLimits(
      relativeTolerance: 0, maxIterations: counts.max() ?? 0, estimatesError: false)
    let result = try solve(
      fisher, mu: units.mu, gradient.vector, into: Vector(count: dimension),
      workspace.vectors(problem.operations), keeper, nil, limits)
    return counts.map { count in
      let step = result.steps.last { $0.iteration <= count }
      return (
        ScaledVector(vector: keeper.kept[count] ?? result.x, scale: gradient.scale / units.phi),
        step?.seconds ?? 0
      )
    }
  }
}

/// Copies the iterates after so many steps.
private final class IterateKeeper<Scalar: EngineScalar>: SolveObserver {
  let counts: Set<Int>
  private(set) var kept: [Int: Vector<Scalar>] = [:]

  init(counts: Set<Int>) { self.counts = counts }

  func accept(_ step: SolveStep, _ x: Vector<Scalar>) -> ObserverStop? {
    if counts.contains(step.iteration) { kept[step.iteration] = x.copy() }
    return nil
  }
}
