import Checkpoints
import Curvature
import HessianFree
import Metrics
import TensorModule
import Updates

/// By linear conjugate gradients, with the preconditioner of the options.
struct ConjugateGradientReference: ReferenceSolving {
  func solve<S: EngineScalar>(
    _ solver: ReferenceSolver<S>, _ gradients: BatchGradients<S>, of batch: BatchReference<S>
  ) throws -> ReferenceSolution<S> {
    try solver.conjugateGradient(
      batch.problem, gradients, preconditioner: batch.preconditioner(damping: solver.damping))
  }
}

/// Solves `F x = g` for one batch by iterations.
package struct ReferenceSolver<S: EngineScalar> {
  package var iterations: Int
  package var tolerance: Double
  package var gap: Double
  package var damping: Double
  /// Where another solver could take over.
  var outlook: ReferenceOutlook?
  let workspace: ReferenceWorkspace<S>

  package init(
    _ options: EvaluationOptions, workspace: ReferenceWorkspace<S> = ReferenceWorkspace()
  ) {
    iterations = options.cgIterations
    tolerance = options.cgTolerance
    gap = options.cgGap
    damping = options.cgDamping
    self.workspace = workspace
  }

  /// Linear conjugate gradients, Algorithm 5, on `(F + mu I) x = g`: on vectors of length P, or in
  /// logit space where the batch keeps its directions as combinations.
  package func conjugateGradient(
    _ problem: BatchProblem<S>, _ gradients: BatchGradients<S>, metric: OutputMetric = .fisher,
    preconditioner: (any Preconditioner<S>)? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    // Preconditioners are of vectors of length P.
    if gradients.usesCombinations && preconditioner == nil {
      return try conjugateGradientOfLogits(problem, metric: metric)
    }
    return try conjugateGradient(
      problem, gradient: gradients.gradient, metric: metric, preconditioner: preconditioner)
  }

  /// Solved is `F' x' = b` with `F = phi F'`, `g = unit b`, both factors powers of two, so that
  /// nothing leaves the range of single precision: `x = unit / phi x'` and
  /// `gamma = sqrt(phi) / unit gamma'`.
  package func conjugateGradient(
    _ problem: BatchProblem<S>, gradient: ScaledVector<S>, metric: OutputMetric = .fisher,
    preconditioner: (any Preconditioner<S>)? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    guard
      let units = units(
        problem, metric: metric, gradientUnit: gradient.scale,
        gradientIsZero: problem.norm(gradient) == 0)
    else { return .none(problem, by: .cg, .certainty) }
    let fisher = FisherOperator(
      problem.linearization, problem.output, metric: metric, unit: units.phi)
    let observer = observer(fisher, units, problem.operations)
    let result = try solve(
      fisher, mu: units.mu, gradient.vector, into: Vector(count: fisher.dimension),
      workspace.vectors(problem.operations), observer, preconditioner, limits(units))
    return solution(
      result, .cg, observer,
      form: .explicit(ScaledVector(vector: result.x, scale: gradient.scale / units.phi)))
  }

  /// The same on combinations of rows of J (`LogitFisherOperator`).
  private func conjugateGradientOfLogits(
    _ problem: BatchProblem<S>, metric: OutputMetric
  ) throws(SolveError) -> ReferenceSolution<S> {
    let largest = problem.output.gradientNorms.max() ?? 0
    let gradientUnit = powerOfTwo(near: largest)
    guard
      let units = units(
        problem, metric: metric, gradientUnit: gradientUnit, gradientIsZero: largest == 0)
    else { return .none(problem, by: .cg, .certainty) }
    let fisher = LogitFisherOperator(
      problem.linearization, problem.output, metric: metric, unit: units.phi)
    let pairs = workspace.pairs(fisher)
    let observer = observer(fisher, units, pairs.workspace.operations)
    fisher.writeRightHandSide(unit: gradientUnit, to: pairs.b)
    let result = try solve(
      fisher, mu: units.mu, pairs.b, into: pairs.x, pairs.workspace, observer, nil, limits(units))
    return solution(
      result, .cg, observer,
      form: .combination(
        fisher.combination(
          result.x, scale: gradientUnit / units.phi,
          norm: pairs.workspace.operations.norm(result.x))))
  }

  /// - Returns: `nil` if g is not zero and yet nothing of F is left.
  func units(
    _ problem: BatchProblem<S>, metric: OutputMetric = .fisher, gradientUnit: Double,
    gradientIsZero: Bool
  ) -> SolveUnits? {
    let unit = problem.output.curvatureUnit(metric)
    if unit == nil && damping == 0 && !gradientIsZero { return nil }
    let phi = unit ?? 1
    let gammaUnit = phi.squareRoot() / gradientUnit
    let mu = damping / phi
    // The certificate speaks of F itself.
    let bound = metric == .fisher && mu == 0 ? problem.output.gammaBound / gammaUnit : nil
    return SolveUnits(phi: phi, mu: mu, gamma: gammaUnit, bound: bound)
  }

  private func observer<A: LinearOperator>(
    _ fisher: A, _ units: SolveUnits, _ operations: VectorOperations<A.Scalar>
  ) -> GammaObserver<A.Scalar> {
    GammaObserver(
      units, gap: gap, outlook: outlook, mu: units.mu, rounding: fisher.rounding, operations)
  }

  func limits(_ units: SolveUnits) -> SolveLimits {
    SolveLimits(
      relativeTolerance: tolerance, maxIterations: iterations, estimatesError: units.mu == 0)
  }

  /// `(F + mu I) x = b`
  func solve<A: LinearOperator>(
    _ fisher: A, mu: Double, _ b: Vector<A.Scalar>, into x: Vector<A.Scalar>,
    _ workspace: ConjugateGradient.Workspace<A.Scalar>, _ observer: any SolveObserver<A.Scalar>,
    _ preconditioner: (any Preconditioner<A.Scalar>)? = nil, _ limits: SolveLimits
  ) throws(SolveError) -> SolveResult<A.Scalar> {
    let solver = ConjugateGradient(limits)
    if mu == 0 {
      return try solver.solve(
        fisher, rhs: b, into: x, preconditioner: preconditioner, workspace: workspace,
        observer: observer)
    }
    return try solver.solve(
      DampedOperator(fisher, mu: mu, operations: workspace.operations), rhs: b, into: x,
      preconditioner: preconditioner, workspace: workspace, observer: observer)
  }

  func solution<Scalar: EngineScalar>(
    _ result: SolveResult<Scalar>, _ kind: ReferenceMethod, _ observer: GammaObserver<Scalar>,
    form: DirectionForm<S>
  ) -> ReferenceSolution<S> {
    let gamma = observer.gamma(result.terms, result.x)
    let least = result.errorEstimate.flatMap {
      GammaObserver<Scalar>.least(below: gamma, missing: $0)
    }
    let isZero = result.stop == .zeroRightHandSide
    let record = ReferenceRecord(
      kind: kind, gamma: observer.units.unscaled(gamma), iterations: result.iterations,
      residual: result.residual,
      stop: isZero ? ReferenceStatus.zeroGradient.rawValue : result.stop.label,
      explanation: SettingText(result.stop.description),
      status: isZero ? .zeroGradient : result.stop.isConverged ? .converged : .notConverged,
      leastGammaEstimate: least.map { $0 * observer.units.gamma })
    return ReferenceSolution(form: form, record: record, trace: observer.trace)
  }
}

/// The factors of a solve, in powers of two.
struct SolveUnits {
  let phi: Double
  let mu: Double
  /// Of gamma.
  let gamma: Double
  /// No direction has a smaller gamma', if that is known.
  let bound: Double?

  func unscaled(_ gamma: Double) -> Double { resolvedGamma(gamma * self.gamma) }
}
