import Curvature
import HessianFree
import Metrics
import TensorModule

/// A natural-gradient direction with what is known of it.
package struct ReferenceSolution<S: EngineScalar> {
  package let direction: ScaledVector<S>
  package let record: ReferenceRecord
  package let trace: [TraceRow]
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
  /// The right-hand side is g without its power-of-two scale: with `F x = unit b`, `x = unit x_b`
  /// and `gamma = gamma_b / unit`, and nothing leaves the range of single precision.
  package func conjugateGradient<S: EngineScalar>(
    _ problem: BatchProblem<S>, gradient: ScaledVector<S>, metric: OutputMetric = .fisher,
    damping: Double? = nil
  ) throws(SolveError) -> ReferenceSolution<S> {
    let unit = gradient.scale
    let mu = damping ?? self.damping
    // The certificate speaks of F itself.
    let bound = metric == .fisher && mu == 0 ? problem.output.gammaBound * unit : nil
    let solver = ConjugateGradient(
      relativeTolerance: tolerance, maxIterations: iterations, gammaBound: bound,
      certificateGap: gap)
    let dimension = problem.linearization.parameterCount
    let workspace = ConjugateGradient.Workspace<S>(
      dimension: dimension, pool: problem.linearization.pool)
    let fisher = FisherOperator(problem.linearization, problem.output, metric: metric)
    let result =
      mu == 0
      ? try solver.solve(fisher, rhs: gradient.vector, workspace: workspace)
      : try solver.solve(
        DampedOperator(fisher, mu: mu, operations: workspace.operations), rhs: gradient.vector,
        workspace: workspace)
    let record = ReferenceRecord(
      kind: .cg, gamma: result.gamma / unit, iterations: result.iterations,
      residual: result.residual, stop: result.stop.label, explanation: result.stop.description,
      isConverged: result.stop.isConverged)
    let trace = result.trace.map {
      TraceRow(
        iteration: $0.iteration, relativeResidual: $0.relativeResidual, gamma: $0.gamma / unit,
        seconds: $0.seconds)
    }
    return ReferenceSolution(
      direction: ScaledVector(vector: result.x, scale: unit), record: record, trace: trace)
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
    let record = ReferenceRecord(
      kind: .dense, gamma: halves.gamma, iterations: nil,
      residual: try residual(exact, unit: unit, damping: damping), stop: "dense",
      explanation:
        "Singular value decomposition of B [\(rows), \(exact.count)] in double precision: rank "
        + "\(solution.rank).", isConverged: true)
    return ReferenceSolution(
      direction: rounded, record: record, trace: [])
  }

  /// `|g - (F + mu I) x| / |g|`
  private func residual(
    _ x: Vector<Double>, unit: Double, damping: Double
  ) throws(SolveError) -> Double {
    let product = Vector<Double>(count: x.count)
    _ = try FisherOperator(problem.linearization, problem.output).apply(x, into: product)
    let gradient = Vector<Double>(count: x.count)
    let ones = [Double](repeating: 1, count: problem.linearization.samples)
    problem.linearization.vjp(into: [gradient]) { chunk, cotangents in
      ones.withUnsafeBufferPointer {
        problem.output.write(
          problem.output.gradient, chunk: chunk, units: $0.baseAddress!, to: cotangents)
      }
    }
    let size = problem.operations.norm(gradient)
    problem.operations.axpby(damping, x, 1, product)
    problem.operations.axpby(-unit, product, 1, gradient)
    return size > 0 ? problem.operations.norm(gradient) / size : 0
  }
}
