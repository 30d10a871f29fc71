import Checkpoints
import Curvature
import HessianFree
import TensorModule
import Updates

/// The reference solver of one batch: the one that the options ask for, or that `auto` picks, with
/// what its solves at several dampings share.
final class BatchReference<S: EngineScalar> {
  let options: EvaluationOptions
  let problem: BatchProblem<S>
  let budget: MemoryBudget
  private let workspace: ReferenceWorkspace<S>
  private var choice: ReferenceChoice
  private let costs: ReferenceChoice.Costs
  /// The rows that `auto` begins with, if it does.
  private let leadingRows: LeadingRows?
  /// The one that has found the reference, and so also solves at other dampings.
  private var settled: ReferenceMethod
  private var denseSolver: DenseReference?
  private var gramSolver: GramReference<S>?
  private var exactGramSolver: GramReference<Double>?
  /// What the rows of leading classes have come to where that was not enough.
  private var begun: ReferenceSolution<S>?
  private let preconditioning: Preconditioning<S>
  private let advice: ReferenceAdvice
  private let doubleProblem: () throws -> BatchProblem<Double>

  /// - Parameters:
  ///   - workspace: That of all batches.
  ///   - doubleProblem: Makes the same batch in double.
  init(
    _ problem: BatchProblem<S>, batch: Int, options: EvaluationOptions, budget: MemoryBudget,
    workspace: ReferenceWorkspace<S>, doubleProblem: @escaping () throws -> BatchProblem<Double>
  ) throws {
    self.options = options
    self.problem = problem
    self.doubleProblem = doubleProblem
    self.budget = budget
    self.workspace = workspace
    leadingRows = options.reference == .auto ? Self.leadingRows(problem, options) : nil
    var costs = ReferenceChoice.Costs(
      problem.linearization.program, samples: problem.linearization.samples,
      rank: problem.output.rootRank,
      leading: leadingRows?.count,
      leadingHoldsGradients: options.sample != .token && problem.output.leadingRowsHoldGradients,
      options: options, budget: budget, S.self)
    costs.missesLabels = problem.output.missesLabels
    self.costs = costs
    choice = ReferenceChoice(options, memory: budget.reference, costs)
    advice = ReferenceAdvice(
      options: options, costs: costs, memory: budget.reference,
      isEngineDouble: S.self == Double.self)
    settled = choice.kind
    preconditioning = Preconditioning(options.cgPreconditioner, seed: options.seed, batch: batch)
  }

  /// `nil` where the classes that lead are no few.
  private static func leadingRows(
    _ problem: BatchProblem<S>, _ options: EvaluationOptions
  ) -> LeadingRows? {
    if options.cgGap == 0 || options.cgDamping > 0 || problem.output.missesLabels { return nil }
    let most = LeadingReference<S>.mostRowsPerPosition * problem.output.scoredPositions
    return LeadingReference.rows(problem.output, gap: options.cgGap, damping: 0, most: most)
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
    if let begun, !solution.record.isConverged,
      !(solution.record.gamma <= begun.record.gamma), !begun.record.gamma.isNaN
    {
      solution = ReferenceSolution(
        form: begun.form, record: begun.record, trace: solution.trace)
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
    if options.reference == .auto, let leading = costs.leading {
      var costs = costs
      costs.leading!.forecast = forecast(gradients, upTo: leading.cost)
      choice = ReferenceChoice(options, memory: budget.reference, costs)
      if choice.beginsWithLeading, var found = try leadingSolution(gradients) {
        found.record.choice = choice.reason
        if found.record.isConverged { return found }
        begun = found
      }
    }
    return try solve(
      gradients, choice.kind, damping: options.cgDamping, iterations: choice.iterations,
      outlook: choice.outlook)
  }

  /// How many iterations the gradients foretell; `nil` where no number of them would cost so much.
  private func forecast(_ gradients: BatchGradients<S>, upTo cost: Double) -> Int? {
    if costs.iterations(IterationForecast.most) < cost { return nil }
    let gram = gradients.gramOfTrueRows
    return IterationForecast.iterations(
      squares: gradients.output.certificates, gap: options.cgGap
    ) { gram.scaled($0, $1) }
  }

  /// `nil` where there is no direction, or memory turns out too small after all.
  private func leadingSolution(
    _ gradients: BatchGradients<S>
  ) throws -> ReferenceSolution<S>? {
    let most = LeadingReference<S>.mostRowsPerPosition * problem.output.scoredPositions
    let result = Result { () throws(SolveError) in
      try LeadingReference(problem, gradients: gradients, memory: budget.reference).solve(
        gradient: gradients.gradient, damping: 0, gap: options.cgGap,
        tolerance: options.cgTolerance, first: leadingRows,
        most: min(most, 2 * (leadingRows?.count ?? 0)))
    }
    switch result {
    case .success(let found): return found.record.gamma.isNaN ? nil : found
    case .failure(.memory): return nil
    case .failure(let error):
      if error.isOfNumbers { return nil }
      throw error
    }
  }

  /// A direction that was found in single precision, with what this one makes of it; `nil` where the
  /// certificate does not prove it, unless it was given up for a direct solver, which then follows.
  private func settled(
    by first: ReferenceSolution<Float>, _ gradients: BatchGradients<S>
  ) throws -> ReferenceSolution<S>? {
    guard first.record.kind == .cg || first.record.kind == .leading,
      first.record.isConverged || first.record.stop == "abandoned" && !choice.fallbacks.isEmpty
    else { return nil }
    let found = first.direction
    let exact = Vector<Double>(count: found.vector.count)
    Kernels.toDouble(found.vector.pointer, exact.pointer, count: exact.count)
    let own = ScaledVector<S>(rounding: exact)
    let direction = ScaledVector(vector: own.vector, scale: own.scale * found.scale)
    var record = first.record
    record.gamma = problem.quadratics([direction])[0].unscaled.gamma
    record.residual = try problem.residual(direction, gradient: gradients.gradient, damping: 0)
    record.leastGammaOfShort = nil
    let isClaimed = record.isConverged
    if isClaimed {
      let isWithin = record.gamma <= (1 + options.cgGap) * problem.output.gammaBound
      record.status = isWithin ? .converged : .notConverged
    }
    let solution = problem.proved(
      ReferenceSolution(direction: direction, record: record, trace: first.trace),
      gradient: gradients.gradient, gap: options.cgGap)
    return isClaimed && !solution.record.isConverged ? nil : solution
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
    for fallback in choice.fallbacks where problem.isOpen(best.record, gap: options.cgGap) {
      switch fallback {
      case .leading:
        if let found = try leadingSolution(gradients) { keep(found) }
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
    turned.record.choice = choice.reason
    turned.record.iterationsBefore = first.record.iterations
    return turned
  }

  /// `nil` where numbers leave the range of double, or memory turns out too small after all.
  private func bracketed(_ gradients: BatchGradients<S>) throws -> ReferenceSolution<S>? {
    do {
      return try gram().bracketedSolution(gradient: gradients.gradient, gap: options.cgGap)
    } catch SolveError.memory {
      return nil
    }
  }

  /// In place of a reference the direction of a row that beats it.
  func replacement(
    of solution: ReferenceSolution<S>, by found: FoundDirection<S>, gamma: Double,
    _ gradients: BatchGradients<S>
  ) throws -> ReferenceSolution<S> {
    var record = solution.record
    let (row, direction) = (found.identity.label, found.direction)
    record.explanation =
      SettingText(
        "\(row) has a gamma of \(shortened(gamma)), "
          + (record.gamma.isNaN
            ? "and the solver has found no direction"
            : "below the \(shortened(record.gamma)) that the solver had reached")
          + ": its direction is the reference. ") + record.explanation
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
    // What was proved of directions as long as another one's.
    record.leastGammaOfShort = nil
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
    if metric == .fisher {
      return try solve(gradients, settled, damping: damping, iterations: options.cgIterations)
    }
    return try withinNumbers(.cg, damping, metric) {
      try $0.conjugateGradient(problem, gradients, metric: metric)
    }
  }

  /// The iterates of conjugate gradients after so many iterations each.
  func iterates(
    _ gradients: BatchGradients<S>, after counts: [Int], damping: Double
  ) throws(SolveError) -> [ReferenceSolver<S>.Iterate] {
    var solver = ReferenceSolver(options, workspace: workspace)
    solver.damping = damping
    return try solver.iterates(problem, gradient: gradients.gradient, after: counts)
  }

  private func solve(
    _ gradients: BatchGradients<S>, _ kind: ReferenceMethod, damping: Double, iterations: Int,
    outlook: ReferenceOutlook? = nil
  ) throws -> ReferenceSolution<S> {
    let solution = try withinNumbers(kind == .none ? .cg : kind, damping, .fisher) { solver in
      var solver = solver
      solver.iterations = iterations
      solver.outlook = outlook
      return try kind.solver.solve(solver, gradients, of: self)
    }
    if damping > 0 || options.cgGap == 0 { return solution }
    return problem.proved(solution, gradient: gradients.gradient, gap: options.cgGap)
  }

  /// The solution, or that there is none within the range of numbers.
  private func withinNumbers(
    _ kind: ReferenceMethod, _ damping: Double, _ metric: OutputMetric,
    _ solve: (ReferenceSolver<S>) throws -> ReferenceSolution<S>
  ) throws -> ReferenceSolution<S> {
    guard problem.scaled(damping: damping, metric: metric) != nil else {
      return .none(problem, by: kind, .overflow(isOfEngine: false))
    }
    do {
      var solver = ReferenceSolver(options, workspace: workspace)
      solver.damping = damping
      return try solve(solver)
    } catch  where error.isOfNumbers {
      return .none(problem, by: kind, .overflow(isOfEngine: true))
    }
  }
}

// MARK: - For the solvers: what is made once

extension BatchReference {
  func preconditioner(damping: Double) throws(SolveError) -> (any Preconditioner<S>)? {
    try preconditioning.make(problem, damping: damping)
  }

  func dense() throws -> DenseReference {
    let dense =
      try denseSolver
      ?? DenseReference(doubleProblem(), by: costs.svdRoute, memory: budget.reference)
    denseSolver = dense
    return dense
  }

  func gram() throws -> GramReference<S> {
    let gram = try gramSolver ?? GramReference(problem, memory: budget.reference)
    gramSolver = gram
    return gram
  }

  /// The same in double; `nil` where there is no room for it beside the one in single precision, which is
  /// then all there is.
  func exactGram() throws -> GramReference<Double>? {
    if let exactGramSolver { return exactGramSolver }
    let left =
      budget.reference - GramReference.requiredMemory(problem) - budget.doubleProblem
    if left <= 0 || GramReference<Double>.requiredMemory(like: problem) > left { return nil }
    let exact = try GramReference(doubleProblem(), memory: left)
    exactGramSolver = exact
    return exact
  }
}
