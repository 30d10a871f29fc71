import Curvature
import HessianFree
import Metrics
import TensorModule

extension ReferenceSolver {
  /// LSQR on `min |B x - w|^2 + mu |x|^2`, whose normal equations are `(F + mu I) x = g`.
  ///
  /// Solved is `min |B' x' - w'|` with `B = sqrt(phi) B'`, `w = s w'`, both factors powers of two:
  /// `x = s / sqrt(phi) x'` and `gamma = gamma' / s`.
  package func lsqr<S: EngineScalar>(
    _ problem: BatchProblem<S>, damping: Double? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    let damping = damping ?? self.damping
    let unit = problem.output.curvatureUnit(.fisher)
    let weights = problem.output.rootWeights()
    let largest = weights.array.reduce(0) { max($0, abs($1)) }
    // The square of w is infinite where the model gives a label no probability that double can hold.
    if largest > 0 && (unit == nil && damping == 0 || !(largest * largest).isFinite) {
      return noDirection(problem, kind: .lsqr, unit == nil ? .certainty : .missedLabel)
    }
    let phi = unit ?? 1
    let scale = powerOfTwo(near: largest)
    Kernels.axpby(0, weights.pointer, 1 / scale, weights.pointer, count: weights.count)
    let solver = LSQR(
      relativeTolerance: tolerance, maxIterations: iterations, damping: damping / phi,
      certificateGap: gap)
    let factor = FisherFactor(problem.linearization, problem.output, unit: phi)
    let workspace = LSQR.Workspace<S>(
      rows: factor.rows, columns: factor.columns, pool: problem.linearization.pool)
    let result = try solver.solve(factor, target: weights, workspace: workspace)
    let stop = result.stop.scaled(gamma: 1 / scale)
    let record = ReferenceRecord(
      kind: .lsqr, gamma: resolvedGamma(result.gamma / scale), iterations: result.iterations,
      residual: result.residual, stop: stop.label, explanation: stop.description,
      status: stop.status,
      leastGammaEstimate: result.leastGammaEstimate.map { $0 / scale })
    let trace = result.trace.map {
      TraceRow(
        iteration: $0.iteration, relativeResidual: $0.relativeResidual,
        gamma: resolvedGamma($0.gamma / scale), seconds: $0.seconds)
    }
    return ReferenceSolution(
      direction: ScaledVector(vector: result.x, scale: scale / phi.squareRoot()), record: record,
      trace: trace)
  }
}
