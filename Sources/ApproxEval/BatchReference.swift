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
  private let advice: ReferenceAdvice
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
    advice = ReferenceAdvice(
      options: options, costs: costs, memory: budget.reference,
      isEngineDouble: S.self == Double.self)
    settled = choice.kind
    preconditioning = Preconditioning(options.cgPreconditioner, seed: options.seed, batch: batch)
  }

  /// The reference itself, with the damping of the options; `nil` if there is to be none.
  ///
  /// - Parameter first: What conjugate gradients have found in single precision, in place of running
  ///   them.
  func solve(
    _ gradients: BatchGradients<S>, first: ReferenceSolution<Float>? = nil
  ) throws -> ReferenceSolution<S>? {
    if choice.kind == .none { return nil }
    var solution =
      try first.flatMap { try settled(by: $0, gradients) } ?? iterated(gradients)
    if options.reference != .auto { solution.record.choice = choice.reason }
    if !solution.record.isConverged, !choice.fallbacks.isEmpty {
      solution = try turn(from: solution, gradients)
    }
    if !solution.record.isConverged {
      solution.record.advice = advice.text(
        solution.record, trace: solution.trace, bound: problem.output.gammaBound,
        isDouble: solution.isInDouble)
    }
    return solution
  }

  /// What the first solver finds.
  func iterated(_ gradients: BatchGradients<S>) throws -> ReferenceSolution<S> {
    try solve(
      gradients, choice.kind, damping: options.cgDamping, iterations: choice.iterations,
      outlook: choice.outlook)
  }

  /// A direction that was found in single precision, with what this one makes of it; `nil` where the
  /// certificate does not prove it, unless it was given up for a direct solver, which then follows.
  private func settled(
    by first: ReferenceSolution<Float>, _ gradients: BatchGradients<S>
  ) throws -> ReferenceSolution<S>? {
    guard first.record.kind == .cg,
      first.record.isConverged || first.record.stop == "abandoned" && !choice.fallbacks.isEmpty
    else { return nil }
    let found = first.direction
    let exact = Vector<Double>(count: found.vector.count)
    Kernels.toDouble(found.vector.pointer, exact.pointer, count: exact.count)
    let own = ScaledVector<S>(rounding: exact)
    let direction = ScaledVector(vector: own.vector, scale: own.scale * found.scale)
    var record = first.record
    record.gamma = problem.quadratics([direction])[0].unscaled.gamma
    if record.isConverged {
      guard record.gamma <= (1 + options.cgGap) * problem.output.gammaBound else { return nil }
      record.status = .converged
    }
    record.residual = try problem.residual(direction, gradient: gradients.gradient, damping: 0)
    return ReferenceSolution(direction: direction, record: record, trace: first.trace)
  }

  /// What direct solvers make of it where conjugate gradients have not converged. Their iterates stay
  /// what they were.
  private func turn(
    from first: ReferenceSolution<S>, _ gradients: BatchGradients<S>
  ) throws -> ReferenceSolution<S> {
    var best = first
    // Of two that have converged the later one is the more exact, of two that have not the one with
    // the lower gamma.
    func keep(_ other: ReferenceSolution<S>) {
      let (new, old) = (other.record, best.record)
      if new.isConverged != old.isConverged {
        if new.isConverged { best = other }
      } else if new.isConverged || !(old.gamma <= new.gamma) && !new.gamma.isNaN {
        best = other
      }
    }
    // Where B has not full row rank, an exact solver that is affordable keeps rounding out of x.
    for fallback in choice.fallbacks
    where !best.record.isConverged || best.record.stop == "length" {
      switch fallback {
      case .bracket:
        if let found = try bracketed(gradients) { keep(found) }
      case .exact(let kind):
        keep(try solve(gradients, kind, damping: options.cgDamping, iterations: 0))
        if best.record.kind == kind && best.record.status == .exact { settled = kind }
      }
    }
    // Given up for a solver that has not kept what was predicted of it.
    if !best.record.isConverged && first.record.stop == "abandoned" {
      let whole = try solve(
        gradients, .cg, damping: options.cgDamping, iterations: options.cgIterations)
      keep(whole)
      if best.record.kind == .cg { return whole }
    }
    guard best.record.kind != .cg else { return first }
    var turned = ReferenceSolution(
      form: best.form, record: best.record, trace: first.trace, isInDouble: best.isInDouble)
    turned.record.choice =
      "conjugate gradients had not converged after \(first.record.iterations ?? 0) iterations; "
      + (choice.reason ?? "")
    return turned
  }

  /// `nil` where numbers leave the range of double, or memory turns out too small after all.
  private func bracketed(_ gradients: BatchGradients<S>) throws -> ReferenceSolution<S>? {
    do {
      let gram = try gram ?? GramReference(problem, memory: budget.reference)
      self.gram = gram
      return try gram.bracketedSolution(gradient: gradients.gradient, gap: options.cgGap)
    } catch SolveError.memory {
      return nil
    } catch  where error.isOfNumbers {
      return nil
    }
  }

  /// In place of a reference the direction of a row that beats it.
  func replacement(
    of solution: ReferenceSolution<S>, by direction: Direction<S>, gamma: Double,
    _ gradients: BatchGradients<S>
  ) throws -> ReferenceSolution<S> {
    var record = solution.record
    let row = direction.method.name + (direction.damping.map { " at damping \($0.text)" } ?? "")
    record.explanation =
      "\(row) has a gamma of \(shortened(gamma)), "
      + (record.gamma.isNaN
        ? "and the solver has found no direction"
        : "below the \(shortened(record.gamma)) that the solver had reached")
      + ": its direction is the reference. " + record.explanation
    let isProved =
      options.cgDamping == 0
      && gamma <= (1 + options.cgGap) * problem.output.gammaBound
    // What was converged was so within the gap; what is beaten by more was not.
    let isWithin =
      record.status == .converged && record.gamma <= gamma * (1 + max(options.cgGap, 1e-3))
    record.status = isProved || isWithin ? .converged : .notConverged
    record.stop = "row"
    record.replacement = row
    record.gamma = gamma
    if let estimate = record.leastGammaEstimate, !(estimate <= gamma) {
      record.leastGammaEstimate = nil
    }
    let form = DirectionForm.explicit(direction.scaled)
    record.residual = try problem.leastResidual(direction.scaled, gradient: gradients.gradient)
    record.advice =
      record.isConverged
      ? nil
      : solution.record.advice
        ?? advice.text(
          solution.record, trace: solution.trace, bound: problem.output.gammaBound,
          isDouble: solution.isInDouble)
    return ReferenceSolution(form: form, record: record, trace: solution.trace)
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
    _ gradients: BatchGradients<S>, _ kind: ReferenceKind, damping: Double, iterations: Int,
    outlook: ReferenceOutlook? = nil
  ) throws -> ReferenceSolution<S> {
    try withinNumbers(kind == .none ? .cg : kind, damping, .fisher) {
      try solution(
        gradients, kind, damping: damping, iterations: iterations, outlook: outlook)
    }
  }

  private func solution(
    _ gradients: BatchGradients<S>, _ kind: ReferenceKind, damping: Double, iterations: Int,
    outlook: ReferenceOutlook?
  ) throws -> ReferenceSolution<S> {
    var solver = ReferenceSolver(options)
    solver.iterations = iterations
    solver.outlook = outlook
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
