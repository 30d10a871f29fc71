import Curvature
import HessianFree
import TensorModule

/// The reference solver of one batch: the one that the options ask for, or that `auto` picks, with
/// what its solves at several dampings share.
final class BatchReference<S: EngineScalar> {
  private let options: EvaluationOptions
  private let problem: BatchProblem<S>
  private let batch: Int
  private let choice: ReferenceChoice
  private let dense: DenseReference?
  private let gram: GramReference<S>?
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
    self.batch = batch
    self.doubleProblem = doubleProblem
    let costs = ReferenceChoice.Costs(
      problem.linearization.program, samples: problem.linearization.samples,
      rank: problem.output.rootRank, options: options, S.self)
    choice = ReferenceChoice(options, costs)
    dense =
      choice.kind == .dense ? try DenseReference(doubleProblem(), memory: options.memory) : nil
    gram = choice.kind == .gram ? try GramReference(problem, memory: options.memory) : nil
    preconditioning = Preconditioning(options.cgPreconditioner, seed: options.seed, batch: batch)
  }

  /// The reference itself, with the damping of the options; `nil` if there is to be none.
  func solve(_ gradient: ScaledVector<S>) throws -> ReferenceSolution<S>? {
    if choice.kind == .none { return nil }
    var solution = try solve(gradient, damping: options.cgDamping)
    solution.record.choice = choice.reason
    return solution
  }

  /// `(F + mu I)^-1 g`, or with the identity for H.
  func solve(
    _ gradient: ScaledVector<S>, damping: Double, metric: OutputMetric = .fisher
  ) throws -> ReferenceSolution<S> {
    let solver = ReferenceSolver(options)
    if metric == .fisher {
      if let dense { return try dense.solve(damping: damping, S.self) }
      if let gram { return try solve(gram, gradient, damping: damping) }
      if choice.kind == .lsqr { return try solver.lsqr(problem, damping: damping) }
    }
    let preconditioner =
      metric == .fisher ? try preconditioning.make(problem, damping: damping) : nil
    return try solver.conjugateGradient(
      problem, gradient: gradient, metric: metric, damping: damping,
      preconditioner: preconditioner)
  }

  /// In the engine's precision where that gives a solution that is proved, in double otherwise.
  private func solve(
    _ gram: GramReference<S>, _ gradient: ScaledVector<S>, damping: Double
  ) throws -> ReferenceSolution<S> {
    let (gap, tolerance) = (options.cgGap, options.cgTolerance)
    if S.self != Double.self && damping == 0 {
      if let proved = try gram.provedSolution(gradient: gradient, gap: gap) { return proved }
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
    return try gram.solve(gradient: gradient, damping: damping, gap: gap, tolerance: tolerance)
  }
}
