import Curvature
import HessianFree
import TensorModule

extension ReferenceSolver {
  /// A direction, and the seconds from the start of the solve to it.
  package typealias Iterate<S: EngineScalar> = (direction: ScaledVector<S>, seconds: Double)

  /// The iterates of Algorithm 5 on `(F + mu I) x = g` after so many iterations each, from one
  /// solve.
  ///
  /// Neither tolerance nor certificate ends it. Where rounding does (`stagnated`, no positive
  /// curvature left), more iterations give the best iterate that there is. Scaled as in
  /// `conjugateGradient`.
  package func iterates<S: EngineScalar>(
    _ problem: BatchProblem<S>, gradient: ScaledVector<S>, after counts: [Int], damping: Double
  ) throws(SolveError) -> [Iterate<S>] {
    let dimension = problem.linearization.parameterCount
    let unit = problem.output.curvatureUnit(.fisher)
    if unit == nil && damping == 0 {
      let zero = ScaledVector(vector: Vector<S>(count: dimension), scale: 1)
      return counts.map { _ in (zero, 0) }
    }
    let phi = unit ?? 1
    let scale = gradient.scale / phi
    let solver = ConjugateGradient(
      relativeTolerance: 0, maxIterations: counts.max() ?? 0, certificateGap: 0)
    let workspace = ConjugateGradient.Workspace<S>(
      dimension: dimension, pool: problem.linearization.pool)
    let fisher = FisherOperator(
      problem.linearization, problem.output, metric: .fisher, unit: phi)
    var kept: [Int: Vector<S>] = [:]
    func keep(_ iteration: Int, _ x: Vector<S>) {
      guard counts.contains(iteration) else { return }
      let copy = Vector<S>(count: dimension)
      workspace.operations.copy(x, to: copy)
      kept[iteration] = copy
    }
    let mu = damping / phi
    let result =
      mu == 0
      ? try solver.solve(fisher, rhs: gradient.vector, workspace: workspace, visiting: keep)
      : try solver.solve(
        DampedOperator(fisher, mu: mu, operations: workspace.operations), rhs: gradient.vector,
        workspace: workspace, visiting: keep)
    return counts.map { count in
      let entry = result.trace.last { $0.iteration <= count }
      return (
        ScaledVector(vector: kept[count] ?? result.x, scale: scale), entry?.seconds ?? 0
      )
    }
  }
}
