import Curvature
import HessianFree
import TensorModule
import Updates

/// By LSQR on B with `F = B^T B`.
struct LSQRReference: ReferenceSolving {
  func solve<S: EngineScalar>(
    _ solver: ReferenceSolver<S>, _ gradients: BatchGradients<S>, of batch: BatchReference<S>
  ) throws -> ReferenceSolution<S> {
    try solver.lsqr(batch.problem)
  }
}

extension ReferenceSolver {
  /// LSQR on `min |B x - w|^2 + mu |x|^2`, whose normal equations are `(F + mu I) x = g`.
  ///
  /// Solved is `min |B' x' - w'|` with `B = sqrt(phi) B'`, `w = s w'`, both factors powers of two:
  /// `x = s / sqrt(phi) x'` and `gamma = gamma' / s`.
  func lsqr(_ problem: BatchProblem<S>) throws(SolveError) -> ReferenceSolution<S> {
    let unit = problem.output.curvatureUnit(.fisher)
    let weights = problem.output.rootWeights()
    let largest = weights.array.reduce(0) { max($0, abs($1)) }
    // The square of w is infinite where the model gives a label no probability that double can hold.
    if largest > 0 && (unit == nil && damping == 0 || !(largest * largest).isFinite) {
      return .none(problem, by: .lsqr, unit == nil ? .certainty : .missedLabel)
    }
    let phi = unit ?? 1
    let scale = powerOfTwo(near: largest)
    Kernels.axpby(0, weights.pointer, 1 / scale, weights.pointer, count: weights.count)
    let factor = FisherFactor(problem.linearization, problem.output, unit: phi)
    let workspace = workspace.rowsAndColumns(factor)
    let mu = damping / phi
    // No direction has a gamma' below 1 / |w'|.
    let units = SolveUnits(
      phi: phi, mu: mu, gamma: 1 / scale,
      bound: mu == 0 ? 1 / workspace.short.norm(weights) : nil)
    let observer = GammaObserver(
      units, gap: gap, outlook: outlook, rounding: Double(S.ulpOfOne), workspace.long)
    let result = try LSQR(limits(units), damping: mu).solve(
      factor, target: weights, into: Vector(count: factor.columns), workspace: workspace,
      observer: observer)
    return solution(
      result, .lsqr, observer,
      form: .explicit(ScaledVector(vector: result.x, scale: scale / phi.squareRoot())))
  }
}
