import Curvature
import HessianFree
import TensorModule
import Updates

/// By factorisations of `B B^T`: in the engine's precision where that gives a solution that is proved, in
/// double otherwise.
struct GramMatrixReference: ReferenceSolving {
  func solve<S: EngineScalar>(
    _ solver: ReferenceSolver<S>, _ gradients: BatchGradients<S>, of batch: BatchReference<S>
  ) throws -> ReferenceSolution<S> {
    let gram = try batch.gram()
    let (gap, tolerance, damping) = (solver.gap, solver.tolerance, solver.damping)
    if S.self != Double.self && damping == 0 {
      if let proved = gram.provedSolution(gradient: gradients.gradient, gap: gap) {
        return proved
      }
      if let exact = try batch.exactGram() {
        let solution = try exact.solve(
          gradient: ScaledVector(vector: exact.problem.gradient(), scale: 1), damping: damping,
          gap: gap, tolerance: tolerance)
        let rounded = ScaledVector<S>(rounding: solution.direction.vector)
        return ReferenceSolution(
          direction: ScaledVector(
            vector: rounded.vector, scale: rounded.scale * solution.direction.scale),
          record: solution.record, trace: [], isInDouble: true)
      }
    }
    return try gram.solve(
      gradient: gradients.gradient, damping: damping, gap: gap, tolerance: tolerance)
  }
}
