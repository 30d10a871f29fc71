import Checkpoints
import Curvature
import HessianFree
import Metrics
import TensorModule
import Updates

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
/// In single precision the rounding of B hides small singular values; `GramMatrixReference` then takes the
/// batch in double.
package struct GramReference<S: EngineScalar> {
  let problem: BatchProblem<S>
  /// What its solutions are said to be found by.
  private let kind: ReferenceMethod
  private let rows: RowMatrix<S>
  /// Rows that are scored and have a probability above zero.
  private let kept: [Int]
  /// `R R^T / unit^2` of the kept rows, B = diag(sizes) R.
  private let gram: Vector<Double>
  private let unit: Double
  private let sizes: [Double]
  /// w in the coordinates of these rows.
  private let target: [Double]
  /// Whether a row that is left out has a weight: a label that the model rules out.
  private let losesLabels: Bool
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

  /// All rows.
  ///
  /// - Throws: `SolveError.memory` before anything is allocated.
  package init(_ problem: BatchProblem<S>, memory: Int) throws(SolveError) {
    let linearization = problem.linearization
    let output = problem.output
    let required = Self.requiredMemory(problem)
    if required > memory { throw .memory(required: required, budget: memory) }
    let draws = output.positions * output.rootRank
    let size = linearization.logitCount
    let ones = [Double](repeating: 1, count: draws * linearization.samples)
    let rows = linearization.perSampleGradients(draws: draws, scales: ones) { chunk, cotangents in
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
    self.init(problem, .gram, RowMatrix(rows), sizes: sizes, target: target, memory: memory)
  }

  /// - Parameters:
  ///   - rows: R
  ///   - target: w in the coordinates of these rows.
  init(
    _ problem: BatchProblem<S>, _ kind: ReferenceMethod, _ rows: RowMatrix<S>,
    sizes: [Double], target: [Double], memory: Int
  ) {
    (self.problem, self.kind, self.rows, self.memory) = (problem, kind, rows, memory)
    kept = sizes.indices.filter { sizes[$0] >= .leastNormalMagnitude }
    losesLabels = sizes.indices.contains {
      sizes[$0] < .leastNormalMagnitude && target[$0] != 0
    }
    unit = rows.unit
    gram = kept.count == rows.count ? rows.scaled : Vector(count: kept.count * kept.count)
    if kept.count < rows.count {
      for (row, i) in kept.enumerated() {
        for (column, j) in kept.enumerated() {
          gram.pointer[row * kept.count + column] = rows.scaled.pointer[i * rows.count + j]
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
      let proved = provedSolution(gradient: gradient, gap: gap)
      if let proved { return proved }
    }
    guard let (coefficients, form) = try leastNormSolution(mu) else {
      return .none(problem, by: kind, .overflow(isOfEngine: false))
    }
    return solution(
      coefficients, form, gradient: gradient, damping: mu, gap: gap,
      residual: max(tolerance, Self.exactness))
  }

  /// The solution by Cholesky without damping, if the certificate proves that it is one: by the
  /// matrix first and then by a product with the direction; `nil` otherwise.
  package func provedSolution(
    gradient: ScaledVector<S>, gap: Double
  ) -> ReferenceSolution<S>? {
    guard let y = scaledSolution(), gamma(y) <= (1 + 1e-6) * problem.output.gammaBound else {
      return nil
    }
    let solution = solution(
      y, "Cholesky factorisation", gradient: gradient, damping: 0, gap: gap,
      residual: Self.exactness)
    return solution.record.isConverged ? solution : nil
  }

  /// A direction that is proved to be within the gap, where it can be: `x = B^T z` from a Cholesky
  /// factorisation of `B B^T + mu I`, mu above the level of rounding.
  ///
  /// Proved is one of two things. By the certificate, that no direction has a gamma below
  /// `gamma(x) / (1 + gap)`. Or, where B has not full row rank to rounding and no direction comes near
  /// the bound, by the residual, that none does which is not `ReferenceProof.reach` times as long as x for the
  /// same `d^T g`: `g - F x` is `mu x`, but for rounding. The residual is that of a product with x. What the
  /// factorisation says of itself would not do: where w is outside of the range of B, z is so large that its
  /// rounding counts. What is longer moves along singular values below the root of mu, which rounding has made.
  ///
  /// The rows have their sizes here: divided by them they are nearer to singular late in training, and mu
  /// would count more for rows that count for nothing.
  ///
  /// - Returns: What was reached, proved or not; `nil` where there is no factorisation.
  package func bracketedSolution(
    gradient: ScaledVector<S>, gap: Double, tolerance: Double = 0
  ) -> ReferenceSolution<S>? {
    // Without all of w neither proof holds.
    guard count > 0, !losesLabels, target.allSatisfy(\.isFinite) else { return nil }
    let largest = powerOfTwo(near: sizes.reduce(0, max))
    let relative = sizes.map { $0 / largest }
    let diagonal = (0..<count).map { gram[$0 * (count + 1)] * relative[$0] * relative[$0] }
    // What rounding makes of the eigenvalues and more: below it, rounding is what x would be made of.
    var damping = rows.rounding * diagonal.reduce(0, +)
    var factor: CholeskyFactorization?
    for _ in 0..<3 {
      let matrix = weighted(relative)
      for i in 0..<count { matrix.pointer[i * (count + 1)] = diagonal[i] + damping }
      factor = try? CholeskyFactorization(
        n: count, overwriting: matrix, pool: problem.linearization.pool)
      if factor != nil { break }
      damping *= 100
    }
    guard let factor else { return nil }
    func image(_ z: [Double]) -> [Double] {
      zip(product(zip(z, relative).map { $0 * $1 }), relative).map { $0 * $1 }
    }
    var z = factor.solve(target)
    if !(gamma(ofImage: image(z)) <= (1 + gap) * problem.output.gammaBound) {
      // What w has outside of the range of B is as large as 1 / mu in z, and its rounding counts:
      // `(B B^T + mu I)^-1 B B^T` takes it out, each time to a fraction.
      var inRange = target
      for _ in 0..<8 { inRange = factor.solve(image(inRange)) }
      z = factor.solve(inRange)
    }
    guard z.allSatisfy(\.isFinite) else { return nil }
    let size = largest * unit
    let found = solution(
      zip(z, relative).map { $0 * $1 / size / unit }, "Cholesky factorisation", gradient: gradient,
      damping: 0, gap: gap, residual: tolerance)
    return problem.proved(found, gradient: gradient, gap: gap)
  }

  /// A residual at rounding.
  private static var exactness: Double { Double(S.ulpOfOne).squareRoot() }

  /// - Parameter small: A residual with which a solution is exact.
  private func solution(
    _ coefficients: [Double], _ form: String, gradient: ScaledVector<S>, damping mu: Double,
    gap: Double, residual small: Double
  ) -> ReferenceSolution<S> {
    // No weights, or beyond the range of double: there is no direction.
    if count == 0 || !coefficients.allSatisfy(\.isFinite), problem.norm(gradient) > 0 {
      return .none(problem, by: kind, .certainty)
    }
    var weights = [Double](repeating: 0, count: rows.count)
    for (place, row) in kept.enumerated() { weights[row] = coefficients[place] }
    let direction = rows.weightedSum(weights, cancels(coefficients))
    let halves = problem.quadratics([.explicit(direction)], keepsTangents: true)[0]
    let gammaOfX = halves.unscaled.gamma
    let residual = problem.residual(
      direction, tangent: halves.tangent!, gradient: gradient, damping: mu)
    let isProved = mu == 0 && gammaOfX <= (1 + max(gap, 1e-6)) * problem.output.gammaBound
    let isSolved = residual <= small
    // Where the bracket is all that is known, it is what has ended the solve.
    let isCertified = isProved && !isSolved
    let record = ReferenceRecord(
      kind: kind, gamma: gammaOfX, iterations: nil, residual: residual,
      stop: isCertified ? "certificate" : kind.name,
      explanation: "\(form) of \(matrix) in double precision, B in "
        + (S.self == Double.self ? "double." : "single."),
      status: problem.norm(gradient) == 0
        ? .zeroGradient
        : isSolved ? .exact : isCertified ? .converged : .notConverged)
    var solution = ReferenceSolution(direction: direction, record: record, trace: [])
    solution.halves = halves
    return solution
  }

  /// Whether little is left of the rows, as where singular values fade: single precision would keep nothing of them.
  private func cancels(_ coefficients: [Double]) -> Bool {
    // All rows are in double, for solutions that are exact.
    if kind == .gram { return true }
    let largest = powerOfTwo(near: coefficients.reduce(0) { max($0, abs($1)) })
    let weights = coefficients.map { $0 / largest }
    let square = dot(weights, product(weights))
    let parts = (0..<count).reduce(0.0) {
      $0 + weights[$1] * weights[$1] * gram[$1 * (count + 1)]
    }
    return !(square >= parts / 900)
  }

  private var matrix: String {
    if kind == .gram { return "B B^T [\(count), \(count)]" }
    let all = problem.linearization.samples * problem.output.rootColumns
    return "[\(count), \(count)] from \(grouped(count)) of \(grouped(all)) rows of B"
  }

  // MARK: - Solutions, as weights of the rows R

  /// `R R^T y = w / sizes`, by Cholesky with one step of iterative refinement; `nil` where the
  /// matrix is singular to rounding.
  private func scaledSolution() -> [Double]? {
    let scaled = zip(target, sizes).map { $0 / $1 }
    guard count > 0, scaled.allSatisfy(\.isFinite) else { return nil }
    let units = unit * unit
    guard
      let factor = try? CholeskyFactorization(
        n: count, overwriting: gram.copy(), pool: problem.linearization.pool)
    else { return nil }
    var y = factor.solve(scaled)
    let correction = factor.solve(zip(scaled, product(y)).map { $0 - $1 })
    for i in y.indices { y[i] = (y[i] + correction[i]) / units }
    return y.allSatisfy(\.isFinite) ? y : nil
  }

  /// gamma of `R^T y`, by the Gram matrix.
  private func gamma(_ y: [Double]) -> Double {
    gamma(ofImage: zip(product(y), sizes).map { $0 * $1 * unit * unit })
  }

  /// gamma of x, given `B x`, in units of one's choice.
  private func gamma(ofImage image: [Double]) -> Double {
    norm(image) / abs(dot(image, target))
  }

  private func dot(_ x: [Double], _ y: [Double]) -> Double {
    zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
  }

  private func norm(_ x: [Double]) -> Double { dot(x, x).squareRoot() }

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
    let matrix = Vector<Double>(unsetCount: count * count)
    problem.linearization.pool.run(count) { i, _ in
      let (row, target) = (gram.pointer + i * count, matrix.pointer + i * count)
      for j in 0..<count { target[j] = row[j] * (d[i] * d[j]) }
    }
    return matrix
  }

  /// `R R^T y / unit^2`
  private func product(_ y: [Double]) -> [Double] {
    var result = [Double](repeating: 0, count: count)
    BLAS.multiply(rows: count, columns: count, gram.pointer, stride: count, y, into: &result)
    return result
  }
}
