import Curvature
import HessianFree
import TensorModule
import Updates

/// The reference solver of one batch: the one that the options ask for, or that `auto` picks, with
/// what its solves at several dampings share.
final class BatchReference<S: EngineScalar> {
  private let options: EvaluationOptions
  private let problem: BatchProblem<S>
  private let choice: ReferenceChoice
  /// The one that has found the reference, and so also solves at other dampings.
  private var settled: ReferenceKind
  private var dense: DenseReference?
  private var gram: GramReference<S>?
  private var exactGram: GramReference<Double>?
  private let preconditioning: Preconditioning<S>
  private let doubleProblem: () throws -> BatchProblem<Double>

  /// - Parameter doubleProblem: Makes the same batch in double.
  init(
    _ problem: BatchProblem<S>, batch: Int, options: EvaluationOptions,
    doubleProblem: @escaping () throws -> BatchProblem<Double>
  ) throws {
    self.options = options
    self.problem = problem
    self.doubleProblem = doubleProblem
    var costs = ReferenceChoice.Costs(
      problem.linearization.program, samples: problem.linearization.samples,
      rank: problem.output.rootRank, options: options, S.self)
    costs.missesLabels = problem.output.missesLabels
    choice = ReferenceChoice(options, costs)
    settled = choice.kind
    preconditioning = Preconditioning(options.cgPreconditioner, seed: options.seed, batch: batch)
  }

  /// The reference itself, with the damping of the options; `nil` if there is to be none.
  func solve(_ gradients: BatchGradients<S>) throws -> ReferenceSolution<S>? {
    if choice.kind == .none { return nil }
    var solution = try solve(
      gradients, choice.kind, damping: options.cgDamping, iterations: choice.iterations)
    var reason = choice.reason
    if !solution.record.isConverged, let fallback = choice.fallback {
      let exact = try solve(gradients, fallback, damping: options.cgDamping, iterations: 0)
      // Where neither converges, the lower gamma is the better reference.
      if exact.record.isConverged || exact.record.gamma < solution.record.gamma {
        let before = solution.record
        reason =
          "\(before.solver) not converged in \(before.iterations ?? 0) iterations, "
          + (reason ?? "")
        solution = exact
        settled = fallback
      }
    }
    solution.record.choice = reason
    return solution
  }

  /// `(F + mu I)^-1 g`, or with the identity for H.
  func solve(
    _ gradients: BatchGradients<S>, damping: Double, metric: OutputMetric = .fisher
  ) throws -> ReferenceSolution<S> {
    if metric == .identity {
      return try ReferenceSolver(options).conjugateGradient(
        problem, gradients, metric: metric, damping: damping)
    }
    return try solve(gradients, settled, damping: damping, iterations: options.cgIterations)
  }

  private func solve(
    _ gradients: BatchGradients<S>, _ kind: ReferenceKind, damping: Double, iterations: Int
  ) throws -> ReferenceSolution<S> {
    var solver = ReferenceSolver(options)
    solver.iterations = iterations
    switch kind {
    case .dense:
      let dense = try dense ?? DenseReference(doubleProblem(), memory: options.memory)
      self.dense = dense
      return try dense.solve(damping: damping, S.self)
    case .gram:
      let gram = try gram ?? GramReference(problem, memory: options.memory)
      self.gram = gram
      return try solve(gram, gradients, damping: damping)
    case .lsqr: return try solver.lsqr(problem, damping: damping)
    case .cg, .auto, .none:
      return try solver.conjugateGradient(
        problem, gradients, damping: damping,
        preconditioner: preconditioning.make(problem, damping: damping))
    }
  }

  /// In the engine's precision where that gives a solution that is proved, in double otherwise.
  private func solve(
    _ gram: GramReference<S>, _ gradients: BatchGradients<S>, damping: Double
  ) throws -> ReferenceSolution<S> {
    let (gap, tolerance) = (options.cgGap, options.cgTolerance)
    if S.self != Double.self && damping == 0 {
      if let proved = try gram.provedSolution(gradient: gradients.gradient, gap: gap) {
        return proved
      }
      let exactProblem = try doubleProblem()
      if exactGram == nil {
        do throws(SolveError) {
          exactGram = try GramReference(exactProblem, memory: options.memory)
        } catch {
          // Twice the memory: what single precision gives is all there is.
          guard case .memory = error else { throw error }
        }
      }
      if let exactGram {
        let solution = try exactGram.solve(
          gradient: ScaledVector(vector: exactProblem.gradient(), scale: 1), damping: damping,
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
