import Curvature
import HessianFree
import Metrics
import TensorModule

/// The natural gradient from `B B^T`, `[m, m]`, `m = N O (C - 1)` for cross-entropy: `x = B^T y` with
/// `B B^T y = w`. B itself, `[m, P]`, is never formed: one backward pass with a cotangent per class and
/// position gives factors of its rows, the Gram formulas the products of all rows, and a weighted sum
/// of the same factors the direction.
///
/// B is taken with the root of H of full rank. Its rows are divided by their sizes, which range over
/// as many orders as the probabilities do: where B has full row rank `B x = w` has the same solution,
/// and the scaled matrix a far smaller condition number. Then a Cholesky factorisation in double
/// solves it, and the certificate proves that it has. Where B has not, as with more logits than
/// parameters, or its singular values fade, an eigen-decomposition of the unscaled `B B^T` gives the
/// solution of least norm; squared singular values below `m eps` of the largest are lost in it.
///
/// In single precision the rounding of B hides small singular values; `BatchReference` then takes the
/// batch in double.
package struct GramReference<S: EngineScalar> {
  let problem: BatchProblem<S>
  private let rows: PerSampleGradients<S>
  /// Rows that are scored and have a probability above zero.
  private let kept: [Int]
  /// `R R^T / unit^2` of the kept rows, B = diag(sizes) R.
  private let gram: Vector<Double>
  private let unit: Double
  private let sizes: [Double]
  /// w in the coordinates of these rows.
  private let target: [Double]
  private let memory: Int

  private var count: Int { kept.count }

  static func requiredMemory(_ problem: BatchProblem<S>) -> Int { requiredMemory(like: problem) }

  /// For the same batch in this precision.
  static func requiredMemory<T: EngineScalar>(like problem: BatchProblem<T>) -> Int {
    let linearization = problem.linearization
    let needs = BatchNeeds<S>(
      linearization.program, samples: linearization.samples, threads: linearization.pool.threads,
      budget: linearization.budget)
    return GramNeeds(needs, draws: problem.output.positions * problem.output.rootRank).total
  }

  /// - Throws: `SolveError.memory` before anything is allocated.
  package init(_ problem: BatchProblem<S>, memory: Int) throws(SolveError) {
    let linearization = problem.linearization
    let output = problem.output
    let required = Self.requiredMemory(problem)
    if required > memory { throw .memory(required: required, budget: memory) }
    self.problem = problem
    self.memory = memory
    let draws = output.positions * output.rootRank
    let size = linearization.logitCount
    let ones = [Double](repeating: 1, count: draws * linearization.samples)
    rows = linearization.perSampleGradients(draws: draws, scales: ones) { chunk, cotangents in
      for draw in 0..<draws {
        output.writeFullRankColumn(
          draw % output.rootRank, position: draw / output.rootRank, chunk: chunk,
          to: cotangents + draw * chunk.count * size)
      }
    }
    var sizes: [Double] = []
    var target: [Double] = []
    for position in 0..<output.positions {
      for column in 0..<output.rootRank {
        sizes += output.rootSizes(column, position: position)
        target += output.fullRankWeights(column, position: position)
      }
    }
    let whole = rows.gramMatrix()
    kept = sizes.indices.filter { sizes[$0] >= .leastNormalMagnitude }
    unit = whole.unit
    gram = kept.count == whole.count ? whole.scaled : Vector(count: kept.count * kept.count)
    if kept.count < whole.count {
      for (row, i) in kept.enumerated() {
        for (column, j) in kept.enumerated() {
          gram.pointer[row * kept.count + column] = whole.scaled(i, j)
        }
      }
    }
    self.sizes = kept.map { sizes[$0] }
    self.target = kept.map { target[$0] }
  }

  /// `(F + mu I)^-1 g`, of minimum norm for mu = 0.
  ///
  /// - Parameters:
  ///   - gradient: g, for the residual.
  ///   - gap: A gamma this close to the bound counts as the least one.
  ///   - tolerance: So does a residual this small.
  package func solve(
    gradient: ScaledVector<S>, damping mu: Double, gap: Double, tolerance: Double
  ) throws(SolveError) -> ReferenceSolution<S> {
    if mu == 0 {
      let proved = try provedSolution(gradient: gradient, gap: gap)
      if let proved { return proved }
    }
    guard let (coefficients, form) = try leastNormSolution(mu) else {
      return ReferenceSolver(EvaluationOptions()).noDirection(
        problem, kind: .gram, .overflow(isOfEngine: false))
    }
    return try solution(
      coefficients, form, gradient: gradient, damping: mu, gap: gap, tolerance: tolerance)
  }

  /// The solution by Cholesky without damping, if the certificate proves that it is one: by the
  /// matrix first and then by a product with the direction; `nil` otherwise.
  package func provedSolution(
    gradient: ScaledVector<S>, gap: Double
  ) throws(SolveError) -> ReferenceSolution<S>? {
    guard let y = scaledSolution(), gamma(y) <= (1 + 1e-6) * problem.output.gammaBound else {
      return nil
    }
    let solution = try solution(
      y, "Cholesky factorisation", gradient: gradient, damping: 0, gap: gap, tolerance: 0)
    return solution.record.isConverged ? solution : nil
  }

  private func solution(
    _ coefficients: [Double], _ form: String, gradient: ScaledVector<S>, damping mu: Double,
    gap: Double, tolerance: Double
  ) throws(SolveError) -> ReferenceSolution<S> {
    // No weights, or beyond the range of double: there is no direction.
    if count == 0 || !coefficients.allSatisfy(\.isFinite), problem.norm(gradient) > 0 {
      return ReferenceSolver(EvaluationOptions()).noDirection(problem, kind: .gram, .certainty)
    }
    var weights = [Double](repeating: 0, count: rows.count)
    for (place, row) in kept.enumerated() { weights[row] = coefficients[place] }
    let direction = rows.weightedSums([weights])[0]
    let halves = problem.quadratics([direction])[0]
    let gammaOfX = halves.unscaled.gamma
    let residual = try residual(direction, gradient: gradient, damping: mu)
    let isProved = mu == 0 && gammaOfX <= (1 + max(gap, 1e-6)) * problem.output.gammaBound
    let record = ReferenceRecord(
      kind: .gram, gamma: gammaOfX, iterations: nil, residual: residual, stop: "gram",
      explanation: "\(form) of B B^T [\(count), \(count)] in double precision, B in "
        + "\(S.self == Double.self ? "double" : "single").",
      isConverged: isProved || residual <= max(tolerance, Double(S.ulpOfOne).squareRoot()))
    return ReferenceSolution(direction: direction, record: record, trace: [])
  }

  // MARK: - Solutions, as weights of the rows R

  /// `R R^T y = w / sizes`, by Cholesky with one step of iterative refinement; `nil` where the
  /// matrix is singular to rounding.
  private func scaledSolution() -> [Double]? {
    let scaled = zip(target, sizes).map { $0 / $1 }
    guard count > 0, scaled.allSatisfy(\.isFinite) else { return nil }
    let units = unit * unit
    guard let factor = try? CholeskyFactorization(n: count, overwriting: gram.copy())
    else { return nil }
    var y = factor.solve(scaled)
    let correction = factor.solve(zip(scaled, product(y)).map { $0 - $1 })
    for i in y.indices { y[i] = (y[i] + correction[i]) / units }
    return y.allSatisfy(\.isFinite) ? y : nil
  }

  /// gamma of `R^T y`, by the Gram matrix.
  private func gamma(_ y: [Double]) -> Double {
    let image = zip(product(y), sizes).map { $0 * $1 * unit * unit }
    let size = image.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return size / abs(zip(image, target).reduce(0) { $0 + $1.0 * $1.1 })
  }

  /// `(B B^T + mu I) z = w` and `y = sizes z`, by eigen-decomposition; `nil` where mu is no number in
  /// the units of this matrix.
  private func leastNormSolution(_ mu: Double) throws(SolveError) -> ([Double], String)? {
    // In units of the largest entry of B, whose squares may leave the range of numbers.
    let largest = powerOfTwo(near: sizes.reduce(0, max))
    let size = largest * unit
    let scaledMu = mu == 0 ? 0 : mu / size / size
    guard scaledMu.isFinite else { return nil }
    let relative = sizes.map { $0 / largest }
    let matrix = gram.copy()
    for i in 0..<count {
      for j in 0..<count { matrix.pointer[i * count + j] *= relative[i] * relative[j] }
    }
    let decomposition = try GramDecomposition(
      rows: count, gram: matrix, precision: Double(S.ulpOfOne), memoryBudget: memory)
    let solution = try decomposition.solve(target: target, damping: scaledMu)
    let y = zip(solution.x, relative).map { $0 * $1 / size / unit }
    let lost = decomposition.relativeCutoff.squareRoot()
    var text = "Eigen-decomposition, rank \(solution.rank),"
    if mu == 0 && solution.rank < count {
      text =
        "Eigen-decomposition, rank \(solution.rank) as singular values of B below "
        + "\(shortened(lost, digits: 2)) of the largest are lost,"
    }
    return (y, text)
  }

  /// `R R^T y / unit^2`
  private func product(_ y: [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: count)
    BLAS.gemm(m: count, n: 1, k: count, gram.pointer, lda: count, y, ldb: 1, &result, ldc: 1)
    return result
  }

  /// `|g - (F + mu I) x| / |g|`, by a product.
  private func residual(
    _ x: ScaledVector<S>, gradient: ScaledVector<S>, damping mu: Double
  ) throws(SolveError) -> Double {
    let size = problem.operations.norm(gradient.vector)
    if size == 0 { return 0 }
    let phi = problem.output.curvatureUnit(.fisher) ?? 1
    let residual = Vector<S>(count: gradient.vector.count)
    _ = try FisherOperator(problem.linearization, problem.output, unit: phi).apply(
      x.vector, into: residual)
    let scale = x.scale / gradient.scale
    problem.operations.axpby(scale * mu, x.vector, scale * phi, residual)
    problem.operations.axpby(1, gradient.vector, -1, residual)
    return problem.operations.norm(residual) / size
  }
}
