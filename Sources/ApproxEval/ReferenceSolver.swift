import Curvature
import HessianFree
import Metrics
import TensorModule

/// A natural-gradient direction with what is known of it.
package struct ReferenceSolution<S: EngineScalar> {
  package let direction: ScaledVector<S>
  package var record: ReferenceRecord
  package let trace: [TraceRow]
  /// Whether gamma of the record comes from double precision, of which the direction is a rounding.
  package var isInDouble = false
}

/// Solves `F x = g` for one batch.
package struct ReferenceSolver: Sendable {
  package var iterations: Int
  package var tolerance: Double
  package var gap: Double
  package var damping: Double

  package init(_ options: EvaluationOptions) {
    iterations = options.cgIterations
    tolerance = options.cgTolerance
    gap = options.cgGap
    damping = options.cgDamping
  }

  /// Linear conjugate gradients, Algorithm 5, on `(F + mu I) x = g`.
  ///
  /// Solved is `F' x' = b` with `F = phi F'`, `g = unit b`, both factors powers of two, so that
  /// nothing leaves the range of single precision: `x = unit / phi x'` and
  /// `gamma = sqrt(phi) / unit gamma'`.
  package func conjugateGradient<S: EngineScalar>(
    _ problem: BatchProblem<S>, gradient: ScaledVector<S>, metric: OutputMetric = .fisher,
    damping: Double? = nil, preconditioner: (any Preconditioner<S>)? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    let damping = damping ?? self.damping
    let unit = problem.output.curvatureUnit(metric)
    if unit == nil && damping == 0 && problem.norm(gradient) > 0 {
      return underflow(problem, kind: .cg)
    }
    let phi = unit ?? 1
    let gammaUnit = phi.squareRoot() / gradient.scale
    let mu = damping / phi
    // The certificate speaks of F itself.
    let bound = metric == .fisher && mu == 0 ? problem.output.gammaBound / gammaUnit : nil
    let solver = ConjugateGradient(
      relativeTolerance: tolerance, maxIterations: iterations, gammaBound: bound,
      certificateGap: gap)
    let dimension = problem.linearization.parameterCount
    let workspace = ConjugateGradient.Workspace<S>(
      dimension: dimension, pool: problem.linearization.pool)
    let fisher = FisherOperator(
      problem.linearization, problem.output, metric: metric, unit: phi)
    let result =
      mu == 0
      ? try solver.solve(
        fisher, rhs: gradient.vector, preconditioner: preconditioner, workspace: workspace)
      : try solver.solve(
        DampedOperator(fisher, mu: mu, operations: workspace.operations), rhs: gradient.vector,
        preconditioner: preconditioner, workspace: workspace)
    let stop = result.stop.scaled(gamma: gammaUnit)
    // The certificate and what the steps tell of the least gamma are of F.
    let estimate = metric == .fisher ? result.leastGammaEstimate.map { $0 * gammaUnit } : nil
    let record = ReferenceRecord(
      kind: .cg, gamma: resolvedGamma(result.gamma * gammaUnit), iterations: result.iterations,
      residual: result.residual, stop: stop.label, explanation: stop.description,
      isConverged: stop.isConverged, leastGammaEstimate: estimate)
    let trace = result.trace.map {
      TraceRow(
        iteration: $0.iteration, relativeResidual: $0.relativeResidual,
        gamma: resolvedGamma($0.gamma * gammaUnit), seconds: $0.seconds)
    }
    return ReferenceSolution(
      direction: ScaledVector(vector: result.x, scale: gradient.scale / phi), record: record,
      trace: trace)
  }
}

extension ReferenceSolver {
  /// g lies in the range of F and yet nothing of F is left: there is no direction.
  func underflow<S: EngineScalar>(
    _ problem: BatchProblem<S>, kind: ReferenceKind
  ) -> ReferenceSolution<S> {
    let record = ReferenceRecord(
      kind: kind, gamma: .nan, iterations: 0, residual: 1, stop: "underflow",
      explanation: "The model is so sure of every sample that the probabilities of all other "
        + "classes are below 1e-308.", isConverged: false)
    let zero = Vector<S>(count: problem.linearization.parameterCount)
    return ReferenceSolution(
      direction: ScaledVector(vector: zero, scale: 1), record: record, trace: [])
  }
}

extension StopReason {
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
    var matrix = [Double](repeating: 0, count: rows * columns)
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
        matrix.withUnsafeMutableBufferPointer { matrix in
          for n in 0..<linearization.samples {
            gradients.row(n, into: matrix.baseAddress! + (first + n) * columns)
          }
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
    let solution = try decomposition.solve(target: target, damping: damping)
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
        + "\(solution.rank).",
      // At 1, or NaN, nothing of g was in reach: H has underflowed on labels that the model rules
      // out.
      isConverged: residual < 1)
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
