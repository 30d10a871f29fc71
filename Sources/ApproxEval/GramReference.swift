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
        problem, kind: .gram, overflows: true)
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

  /// A direction that the certificate proves to be within the gap, where it can: from a Cholesky
  /// factorisation of `B B^T + mu I`, mu at the level of rounding. What is lost with singular values
  /// below the root of mu is far less than a gap of 1e-3 as long as B has full row rank, if only in
  /// exact arithmetic. The rows have their sizes here: divided by them they are nearer to singular late in
  /// training, and a small mu would weigh rows of no weight.
  ///
  /// - Returns: What was reached, proved or not; `nil` where there is no factorisation.
  package func bracketedSolution(
    gradient: ScaledVector<S>, gap: Double
  ) throws(SolveError) -> ReferenceSolution<S>? {
    guard count > 0, target.allSatisfy(\.isFinite) else { return nil }
    let largest = powerOfTwo(near: sizes.reduce(0, max))
    let relative = sizes.map { $0 / largest }
    let size = largest * unit
    let matrix = weighted(relative)
    let mean = (0..<count).reduce(0) { $0 + matrix[$1 * (count + 1)] } / Double(count)
    var factor: CholeskyFactorization?
    for multiple in [0.25, 25, 2500] where factor == nil {
      let damped = matrix.copy()
      let mu = multiple * Double(count) * .ulpOfOne * mean
      for i in 0..<count { damped.pointer[i * (count + 1)] += mu }
      factor = try? CholeskyFactorization(n: count, overwriting: damped)
    }
    guard let factor else { return nil }
    var z = [Double](repeating: 0, count: count)
    var rest = target
    let limit = problem.output.gammaBound * (1 + gap)
    // Refined while the matrix does not prove it: each step takes out a part of what mu has changed.
    for _ in 0..<3 {
      z = zip(z, factor.solve(rest)).map(+)
      let image = product(matrix, z)
      if gamma(ofImage: image) <= limit { break }
      rest = zip(target, image).map { $0 - $1 }
    }
    guard z.allSatisfy(\.isFinite) else { return nil }
    return try solution(
      zip(z, relative).map { $0 * $1 / size / unit }, "Cholesky factorisation",
      gradient: gradient, damping: 0, gap: gap, tolerance: 0)
  }

  private func solution(
    _ coefficients: [Double], _ form: String, gradient: ScaledVector<S>, damping mu: Double,
    gap: Double, tolerance: Double
  ) throws(SolveError) -> ReferenceSolution<S> {
    // No weights, or beyond the range of double: there is no direction.
    if count == 0 || !coefficients.allSatisfy(\.isFinite), problem.norm(gradient) > 0 {
      return ReferenceSolver(EvaluationOptions()).noDirection(problem, kind: .gram)
    }
    var weights = [Double](repeating: 0, count: rows.count)
    for (place, row) in kept.enumerated() { weights[row] = coefficients[place] }
    let direction = rows.weightedSums([weights])[0]
    let halves = problem.quadratics([direction])[0]
    let gammaOfX = halves.unscaled.gamma
    let residual = try problem.residual(direction, gradient: gradient, damping: mu)
    let isProved = mu == 0 && gammaOfX <= (1 + max(gap, 1e-6)) * problem.output.gammaBound
    let isSolved = residual <= max(tolerance, Double(S.ulpOfOne).squareRoot())
    // Where the bracket is all that is known, it is what has ended the solve.
    let isCertified = isProved && !isSolved
    let record = ReferenceRecord(
      kind: .gram, gamma: gammaOfX, iterations: nil, residual: residual,
      stop: isCertified ? "certificate" : "gram",
      explanation: "\(form) of B B^T [\(count), \(count)] in double precision, B in "
        + "\(S.self == Double.self ? "double" : "single").",
      status: problem.norm(gradient) == 0
        ? .zeroGradient : isSolved ? .exact : isCertified ? .converged : .notConverged)
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
    let correction = factor.solve(zip(scaled, product(gram, y)).map { $0 - $1 })
    for i in y.indices { y[i] = (y[i] + correction[i]) / units }
    return y.allSatisfy(\.isFinite) ? y : nil
  }

  /// gamma of `R^T y`, by the Gram matrix.
  private func gamma(_ y: [Double]) -> Double {
    gamma(ofImage: zip(product(gram, y), sizes).map { $0 * $1 * unit * unit })
  }

  /// gamma of x, given `B x`, in units of one's choice.
  private func gamma(ofImage image: [Double]) -> Double {
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
    let decomposition = try GramDecomposition(
      rows: count, gram: weighted(relative), precision: Double(S.ulpOfOne), memoryBudget: memory)
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

  /// `D R R^T D / unit^2`
  private func weighted(_ d: [Double]) -> Vector<Double> {
    let matrix = gram.copy()
    problem.linearization.pool.run(count) { i, _ in
      let row = matrix.pointer + i * count
      for j in 0..<count { row[j] *= d[i] * d[j] }
    }
    return matrix
  }

  /// Of a symmetric matrix with a vector.
  private func product(_ matrix: Vector<Double>, _ y: [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: count)
    BLAS.multiply(rows: count, columns: count, matrix.pointer, stride: count, y, into: &result)
    return result
  }
}
