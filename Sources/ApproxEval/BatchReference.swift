import Curvature
import HessianFree
import TensorModule
import Updates

/// The reference solver of one batch: the one that the options ask for, or that `auto` picks, with
/// what its solves at several dampings share.
final class BatchReference<S: EngineScalar> {
  private let options: EvaluationOptions
  private let problem: BatchProblem<S>
  private let budget: MemoryBudget
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
    _ problem: BatchProblem<S>, batch: Int, options: EvaluationOptions, budget: MemoryBudget,
    doubleProblem: @escaping () throws -> BatchProblem<Double>
  ) throws {
    self.options = options
    self.problem = problem
    self.doubleProblem = doubleProblem
    self.budget = budget
    var costs = ReferenceChoice.Costs(
      problem.linearization.program, samples: problem.linearization.samples,
      rank: problem.output.rootRank, options: options, budget: budget, S.self)
    costs.missesLabels = problem.output.missesLabels
    choice = ReferenceChoice(options, memory: budget.reference, costs)
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
      return try withinNumbers(.cg, damping, metric) {
        try ReferenceSolver(options).conjugateGradient(
          problem, gradients, metric: metric, damping: damping)
      }
    }
    return try solve(gradients, settled, damping: damping, iterations: options.cgIterations)
  }

  /// The solution, or that there is none within the range of numbers.
  private func withinNumbers(
    _ kind: ReferenceKind, _ damping: Double, _ metric: OutputMetric,
    _ solve: () throws -> ReferenceSolution<S>
  ) throws -> ReferenceSolution<S> {
    let none = { (isOfEngine: Bool) in
      ReferenceSolver(self.options).noDirection(
        self.problem, kind: kind, .overflow(isOfEngine: isOfEngine))
    }
    guard problem.scaled(damping: damping, metric: metric) != nil else { return none(false) }
    do {
      return try solve()
    } catch  where error.isOfNumbers {
      return none(true)
    }
  }

  private func solve(
    _ gradients: BatchGradients<S>, _ kind: ReferenceKind, damping: Double, iterations: Int
  ) throws -> ReferenceSolution<S> {
    try withinNumbers(kind == .none ? .cg : kind, damping, .fisher) {
      try solution(gradients, kind, damping: damping, iterations: iterations)
    }
  }

  private func solution(
    _ gradients: BatchGradients<S>, _ kind: ReferenceKind, damping: Double, iterations: Int
  ) throws -> ReferenceSolution<S> {
    var solver = ReferenceSolver(options)
    solver.iterations = iterations
    switch kind {
    case .dense:
      let dense = try dense ?? DenseReference(doubleProblem(), memory: budget.reference)
      self.dense = dense
      return try dense.solve(damping: damping, S.self)
    case .gram:
      let gram = try gram ?? GramReference(problem, memory: budget.reference)
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
      if let exact = try exactGram ?? makeExactGram() {
        exactGram = exact
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

  /// `nil` where there is no room for it beside the one in single precision, which is then all there is.
  private func makeExactGram() throws -> GramReference<Double>? {
    let left =
      budget.reference - GramReference.requiredMemory(problem) - budget.doubleProblem
    if left <= 0 || GramReference<Double>.requiredMemory(like: problem) > left { return nil }
    return try GramReference(doubleProblem(), memory: left)
  }
}
