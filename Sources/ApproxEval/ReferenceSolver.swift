import Curvature
import HessianFree
import Metrics
import TensorModule
import Updates

/// A natural-gradient direction with what is known of it.
package struct ReferenceSolution<S: EngineScalar> {
  package let form: DirectionForm<S>
  package var record: ReferenceRecord
  package let trace: [TraceRow]
  /// Whether gamma of the record comes from double precision, of which the direction is a rounding.
  package let isInDouble: Bool
  /// Whether there is none: the damping, or what it takes to solve, is beyond the range of numbers.
  package fileprivate(set) var overflows = false
  /// Whether that is for want of range in the arithmetic of the solve.
  package fileprivate(set) var overflowsInEngine = false

  package init(
    form: DirectionForm<S>, record: ReferenceRecord, trace: [TraceRow], isInDouble: Bool = false
  ) {
    self.form = form
    self.record = record
    self.trace = trace
    self.isInDouble = isInDouble
  }

  package init(
    direction: ScaledVector<S>, record: ReferenceRecord, trace: [TraceRow],
    isInDouble: Bool = false
  ) {
    self.init(
      form: .explicit(direction), record: record, trace: trace, isInDouble: isInDouble)
  }

  /// The vector itself, formed at every call where it is not kept.
  package var direction: ScaledVector<S> { form.vector() }

  /// As the row of a method.
  func direction(damping: Damping? = nil, lambda: Double? = nil) -> Direction<S> {
    if overflows {
      return .beyondNumbers(
        damping: damping, count: direction.vector.count, isOfEngine: overflowsInEngine)
    }
    return Direction(damping: damping, lambda: lambda, form: form)
  }
}

/// Solves `F x = g` for one batch.
package struct ReferenceSolver: Sendable {
  package var iterations: Int
  package var tolerance: Double
  package var gap: Double
  package var damping: Double
  /// Where another solver could take over.
  var outlook: ReferenceOutlook?

  package init(_ options: EvaluationOptions) {
    iterations = options.cgIterations
    tolerance = options.cgTolerance
    gap = options.cgGap
    damping = options.cgDamping
  }

  /// Linear conjugate gradients, Algorithm 5, on `(F + mu I) x = g`: on vectors of length P, or in
  /// logit space where the batch keeps its directions as combinations.
  package func conjugateGradient<S: EngineScalar>(
    _ problem: BatchProblem<S>, _ gradients: BatchGradients<S>, metric: OutputMetric = .fisher,
    damping: Double? = nil, preconditioner: (any Preconditioner<S>)? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    // Preconditioners are of vectors of length P.
    if gradients.usesCombinations && preconditioner == nil {
      return try conjugateGradientOfLogits(problem, metric: metric, damping: damping)
    }
    return try conjugateGradient(
      problem, gradient: gradients.gradient, metric: metric, damping: damping,
      preconditioner: preconditioner)
  }

  /// Solved is `F' x' = b` with `F = phi F'`, `g = unit b`, both factors powers of two, so that
  /// nothing leaves the range of single precision: `x = unit / phi x'` and
  /// `gamma = sqrt(phi) / unit gamma'`.
  package func conjugateGradient<S: EngineScalar>(
    _ problem: BatchProblem<S>, gradient: ScaledVector<S>, metric: OutputMetric = .fisher,
    damping: Double? = nil, preconditioner: (any Preconditioner<S>)? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    guard
      let units = units(
        problem, metric: metric, damping: damping, gradientUnit: gradient.scale,
        gradientIsZero: problem.norm(gradient) == 0)
    else { return noDirection(problem, kind: .cg, .certainty) }
    let workspace = ConjugateGradient.Workspace<S>(
      dimension: problem.linearization.parameterCount, pool: problem.linearization.pool)
    let fisher = FisherOperator(
      problem.linearization, problem.output, metric: metric, unit: units.phi)
    let result = try solve(fisher, gradient.vector, workspace, units, preconditioner)
    return solution(
      result, units,
      form: .explicit(ScaledVector(vector: result.x, scale: gradient.scale / units.phi)))
  }

  /// The same on combinations of rows of J (`LogitFisherOperator`).
  package func conjugateGradientOfLogits<S: EngineScalar>(
    _ problem: BatchProblem<S>, metric: OutputMetric = .fisher, damping: Double? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    let largest = problem.output.gradientNorms.max() ?? 0
    let gradientUnit = powerOfTwo(near: largest)
    guard
      let units = units(
        problem, metric: metric, damping: damping, gradientUnit: gradientUnit,
        gradientIsZero: largest == 0)
    else { return noDirection(problem, kind: .cg, .certainty) }
    let fisher = LogitFisherOperator(
      problem.linearization, problem.output, metric: metric, unit: units.phi)
    let workspace = fisher.workspace()
    let b = fisher.rightHandSide(unit: gradientUnit)
    let result = try solve(fisher, b, workspace, units)
    return solution(
      result, units,
      form: .combination(
        fisher.combination(
          result.x, scale: gradientUnit / units.phi,
          norm: workspace.operations.norm(result.x))))
  }

  /// The factors of a solve, in powers of two.
  private struct Units {
    let phi: Double
    let mu: Double
    /// Of gamma.
    let gamma: Double
    /// No direction has a smaller gamma', if that is known.
    let bound: Double?
  }

  /// - Returns: `nil` if g is not zero and yet nothing of F is left.
  private func units<S: EngineScalar>(
    _ problem: BatchProblem<S>, metric: OutputMetric, damping: Double?, gradientUnit: Double,
    gradientIsZero: Bool
  ) -> Units? {
    let damping = damping ?? self.damping
    let unit = problem.output.curvatureUnit(metric)
    if unit == nil && damping == 0 && !gradientIsZero { return nil }
    let phi = unit ?? 1
    let gammaUnit = phi.squareRoot() / gradientUnit
    let mu = damping / phi
    // The certificate speaks of F itself.
    let bound = metric == .fisher && mu == 0 ? problem.output.gammaBound / gammaUnit : nil
    return Units(phi: phi, mu: mu, gamma: gammaUnit, bound: bound)
  }

  private func solve<A: LinearOperator>(
    _ fisher: A, _ b: Vector<A.Scalar>, _ workspace: ConjugateGradient.Workspace<A.Scalar>,
    _ units: Units, _ preconditioner: (any Preconditioner<A.Scalar>)? = nil
  ) throws(SolveError) -> SolveResult<A.Scalar> {
    let solver = ConjugateGradient(
      relativeTolerance: tolerance, maxIterations: iterations, gammaBound: units.bound,
      certificateGap: gap)
    if units.mu == 0 {
      return try solver.solve(
        fisher, rhs: b, preconditioner: preconditioner, workspace: workspace,
        proceeding: units.bound.flatMap(proceeding))
    }
    return try solver.solve(
      DampedOperator(fisher, mu: units.mu, operations: workspace.operations), rhs: b,
      preconditioner: preconditioner, workspace: workspace)
  }

  /// Asks the outlook every few iterations.
  private func proceeding(bound: Double) -> ((TraceEntry) -> Bool)? {
    guard let outlook else { return nil }
    var excesses: [Double] = []
    return { entry in
      excesses.append(entry.gamma / bound - 1)
      guard excesses.count >= ReferenceOutlook.fewest, excesses.count % 8 == 0 else { return true }
      return outlook.isWorthwhile(excesses)
    }
  }

  private func solution<Scalar: EngineScalar, S: EngineScalar>(
    _ result: SolveResult<Scalar>, _ units: Units, form: DirectionForm<S>
  ) -> ReferenceSolution<S> {
    let stop = result.stop.scaled(gamma: units.gamma)
    let record = ReferenceRecord(
      kind: .cg, gamma: resolvedGamma(result.gamma * units.gamma), iterations: result.iterations,
      residual: result.residual, stop: stop.label, explanation: stop.description,
      status: stop.status,
      leastGammaEstimate: result.leastGammaEstimate.map { $0 * units.gamma })
    let trace = result.trace.map {
      TraceRow(
        iteration: $0.iteration, relativeResidual: $0.relativeResidual,
        gamma: resolvedGamma($0.gamma * units.gamma), seconds: $0.seconds)
    }
    return ReferenceSolution(form: form, record: record, trace: trace)
  }
}

extension ReferenceSolver {
  /// Why a solver finds no direction.
  enum Obstacle {
    /// g lies in the range of F and yet nothing of F is left.
    case certainty
    /// The solver needs a w that no number is large enough for.
    case missedLabel
    /// Numbers have left their range on the way, that of the engine's arithmetic or that of double.
    case overflow(isOfEngine: Bool)

    var stop: String {
      switch self {
      case .certainty, .missedLabel: "underflow"
      case .overflow: "overflow"
      }
    }

    var explanation: String {
      switch self {
      case .certainty:
        "The model is so sure of every sample that the probabilities of all other classes are below "
          + "1e-308."
      case .missedLabel:
        "The model gives a label a probability below 1e-308, and this solver starts from its "
          + "inverse; --reference cg does not."
      case .overflow:
        "The damping, or products with F, are beyond the range of double: use a smaller damping, "
          + "or look for extreme weights or inputs."
      }
    }
  }

  /// There is no direction.
  func noDirection<S: EngineScalar>(
    _ problem: BatchProblem<S>, kind: ReferenceKind, _ obstacle: Obstacle
  ) -> ReferenceSolution<S> {
    let record = ReferenceRecord(
      kind: kind, gamma: .nan, iterations: [.dense, .gram].contains(kind) ? nil : 0, residual: 1,
      stop: obstacle.stop, explanation: obstacle.explanation, status: .notConverged)
    let zero = Vector<S>(count: problem.linearization.parameterCount)
    var solution = ReferenceSolution(
      direction: ScaledVector(vector: zero, scale: 1), record: record, trace: [])
    if case .overflow(let isOfEngine) = obstacle {
      solution.overflows = true
      solution.overflowsInEngine = isOfEngine
    }
    return solution
  }
}

extension StopReason {
  var status: ReferenceStatus {
    if self == .zeroRightHandSide { return .zeroGradient }
    return isConverged ? .converged : .notConverged
  }

  /// The same in other units of gamma.
  func scaled(gamma unit: Double) -> StopReason {
    guard case .certificate(let gamma, let bound, let gap) = self else { return self }
    return .certificate(gamma: gamma * unit, bound: bound * unit, gap: gap)
  }
}

/// The natural gradient by the SVD of `B = A^T J` (`F = B^T B`, `g = B^T w`): exact to rounding,
/// for small problems and checks. Always in double: in single precision the least singular values
/// of B would be noise.
package struct DenseReference {
  private let problem: BatchProblem<Double>
  private let decomposition: DenseDecomposition
  private let target: [Double]

  /// - Throws: `SolveError.memory` before anything is allocated.
  package init(_ problem: BatchProblem<Double>, memory: Int) throws(SolveError) {
    self.problem = problem
    let linearization = problem.linearization
    let output = problem.output
    let columns = linearization.parameterCount
    let rows = linearization.samples * linearization.logitCount
    let required = DenseLeastSquares.requiredMemory(rows: rows, columns: columns)
    if required > memory { throw .memory(required: required, budget: memory) }
    let matrix = Vector<Double>(count: rows * columns)
    var target: [Double] = []
    let ones = [Double](repeating: 1, count: linearization.samples)
    for position in 0..<output.positions {
      for column in 0..<output.classes {
        let gradients = linearization.perSampleGradients(draws: 1, scales: ones) {
          chunk, cotangents in
          output.writeRootColumn(
            position: position, class: column, chunk: chunk, to: cotangents)
        }
        let first = target.count
        for n in 0..<linearization.samples {
          gradients.row(n, into: matrix.pointer + (first + n) * columns)
        }
        target += output.rootWeights(position: position, class: column)
      }
    }
    self.target = target
    decomposition = try DenseLeastSquares(memoryBudget: memory).decompose(
      rows: rows, columns: columns, matrix)
  }

  /// `(F + mu I)^-1 g`, of minimum norm for mu = 0.
  package func solve<S: EngineScalar>(
    damping: Double, _: S.Type
  ) throws(SolveError) -> ReferenceSolution<S> {
    // The rounding of B, times a w that is so large, would drown the solution: it is taken from g.
    let hasTarget = !problem.output.missesLabels
    let solution =
      hasTarget
      ? try decomposition.solve(target: target, damping: damping)
      : try decomposition.solve(gradient: problem.gradient().array, damping: damping)
    let exact = Vector(solution.x)
    let rounded = ScaledVector<S>(rounding: exact)
    let unit = rounded.scale
    let halves = problem.quadratics([ScaledVector(vector: exact, scale: unit)])[0]
    let rows = target.count
    let residual = try residual(exact, unit: unit, damping: damping)
    let record = ReferenceRecord(
      kind: .dense, gamma: halves.unscaled.gamma, iterations: nil, residual: residual,
      stop: "dense",
      explanation:
        "Singular value decomposition of B [\(rows), \(exact.count)] in double precision: rank "
        + "\(solution.rank)."
        + (hasTarget ? "" : " Solved from g, as a label has next to no probability."),
      // Where it cannot be solved from w, what F has lost of g shows as a residual. At 1, or NaN,
      // nothing of g was in reach: H has underflowed on labels that the model rules out.
      status: problem.operations.norm(problem.gradient()) == 0
        ? .zeroGradient : residual < (hasTarget ? 1 : 1e-6) ? .exact : .notConverged)
    return ReferenceSolution(direction: rounded, record: record, trace: [], isInDouble: true)
  }

  /// `|g - (F + mu I) x| / |g|`
  private func residual(
    _ x: Vector<Double>, unit: Double, damping: Double
  ) throws(SolveError) -> Double {
    let product = Vector<Double>(count: x.count)
    _ = try FisherOperator(problem.linearization, problem.output).apply(x, into: product)
    let gradient = problem.gradient()
    let size = problem.operations.norm(gradient)
    problem.operations.axpby(damping, x, 1, product)
    problem.operations.axpby(-unit, product, 1, gradient)
    return size > 0 ? problem.operations.norm(gradient) / size : 0
  }
}
