import Checkpoints
import Curvature
import HessianFree
import TensorModule
import Updates

/// By the SVD of B, which is decomposed once for all dampings of a batch.
struct FactorReference: ReferenceSolving {
  func solve<S: EngineScalar>(
    _ solver: ReferenceSolver<S>, _ gradients: BatchGradients<S>, of batch: BatchReference<S>
  ) throws -> ReferenceSolution<S> {
    try batch.dense().solve(damping: solver.damping, S.self)
  }
}

/// The natural gradient by the SVD of `B = A^T J` (`F = B^T B`, `g = B^T w`): exact to rounding,
/// for small problems and checks. Always in double: in single precision the least singular values
/// of B would be noise.
///
/// A B of more rows than columns may have been folded into a triangular factor, whose singular values are
/// those of B.
package struct DenseReference {
  private let problem: BatchProblem<Double>
  private let route: FactorRoute
  private let decomposition: DenseDecomposition
  /// w, or what the decomposition's matrix has in its place.
  private let target: [Double]

  /// - Throws: `SolveError.memory` before anything is allocated.
  package init(
    _ problem: BatchProblem<Double>, by route: FactorRoute = .rows, memory: Int
  ) throws(SolveError) {
    (self.problem, self.route) = (problem, route)
    let linearization = problem.linearization
    let required = FactorCosts(
      route,
      BatchNeeds<Double>(
        linearization.program, samples: linearization.samples, threads: linearization.pool.threads,
        budget: linearization.budget),
      ProductCounts(linearization.program, samples: linearization.samples, scalar: 8)
    ).memory.value
    if required > memory { throw .memory(required: required, budget: memory) }
    switch route {
    case .rows: (decomposition, target) = try Self.decomposedRows(problem, memory: memory)
    case .columns:
      let factor = try problem.triangularFactor(hasTarget: !problem.output.missesLabels)
      target = factor.target
      decomposition = try DenseLeastSquares(memoryBudget: memory).decompose(
        rows: factor.columns, columns: factor.columns, factor.matrix)
    }
  }

  private static func decomposedRows(
    _ problem: BatchProblem<Double>, memory: Int
  ) throws(SolveError) -> (DenseDecomposition, target: [Double]) {
    let linearization = problem.linearization
    let output = problem.output
    let columns = linearization.parameterCount
    let rows = linearization.samples * linearization.logitCount
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
    let decomposition = try DenseLeastSquares(memoryBudget: memory).decompose(
      rows: rows, columns: columns, matrix)
    return (decomposition, target)
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
    let rows = problem.linearization.samples * problem.linearization.logitCount
    let residual = try residual(exact, unit: unit, damping: damping)
    var record = ReferenceRecord(
      kind: .dense, gamma: halves.unscaled.gamma, iterations: nil, residual: residual,
      stop: "dense",
      explanation:
        "Singular value decomposition of B [\(rows), \(exact.count)] in double precision"
        + (route == .columns ? ", by its columns and their triangular factor" : "")
        + ": rank \(solution.rank), as far as singular values are above "
        + "\(shortened(decomposition.cutoff, digits: 2)) of the largest."
        + (hasTarget
          ? SettingText("") : " Solved from g, as a label has next to no probability."),
      // Where it cannot be solved from w, what F has lost of g shows as a residual. At 1, or NaN,
      // nothing of g was in reach: H has underflowed on labels that the model rules out.
      status: problem.operations.norm(problem.gradient()) == 0
        ? .zeroGradient : residual < (hasTarget ? 1 : 1e-6) ? .exact : .notConverged)
    if damping == 0, hasTarget, solution.rank > 0 {
      let slack = BatchProblem<Double>.residualRounding
      record.leastGamma = ReferenceProof(image: halves.fisherQuadratic.squareRoot()).least(
        residual: (residual + slack) * problem.operations.norm(problem.gradient()),
        leastSingularValue: solution.singularValues[solution.rank - 1])
    }
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
