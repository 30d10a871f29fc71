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
  private let rows: PerSampleGradients<S>
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
    self.init(problem, .gram, rows, sizes: sizes, target: target, memory: memory)
  }

  /// - Parameters:
  ///   - rows: R
  ///   - target: w in the coordinates of these rows.
  init(
    _ problem: BatchProblem<S>, _ kind: ReferenceMethod, _ rows: PerSampleGradients<S>,
    sizes: [Double], target: [Double], memory: Int
  ) {
    (self.problem, self.kind, self.rows, self.memory) = (problem, kind, rows, memory)
    let whole = rows.gramMatrix(withSums: false)
    kept = sizes.indices.filter { sizes[$0] >= .leastNormalMagnitude }
    losesLabels = sizes.indices.contains {
      sizes[$0] < .leastNormalMagnitude && target[$0] != 0
    }
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
      let proved = provedSolution(gradient: gradient, gap: gap)
      if let proved { return proved }
    }
    guard let (coefficients, form) = try leastNormSolution(mu) else {
      return .none(problem, by: kind, .overflow(isOfEngine: false))
    }
    return solution(
      coefficients, form, gradient: gradient, damping: mu, gap: gap, tolerance: tolerance
    ).solution
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
      y, "Cholesky factorisation", gradient: gradient, damping: 0, gap: gap, tolerance: 0
    ).solution
    return solution.record.isConverged ? solution : nil
  }

  /// A direction that is proved to be within the gap, where it can be: `x = B^T z` from a Cholesky
  /// factorisation of `B B^T + mu I`, mu at ten times the level of rounding.
  ///
  /// Proved is one of two things. By the certificate, that no direction has a gamma below
  /// `gamma(x) / (1 + gap)`. Or, where B has not full row rank to rounding and no direction comes near
  /// the bound, that none does which is not `reach` times as long as x for the same `d^T g`: x maximises
  /// `(w^T B d)^2 / (|B d|^2 + mu |d|^2)`, so that with `phi = w^T B x`, which is `|B x|^2 + mu |x|^2`,
  ///
  ///     gamma(d)^2 >= 1 / phi - mu |d|^2 / (d^T g)^2
  ///                >= gamma(x)^2 - (reach^2 - 1) mu |x|^2 / phi^2
  ///
  /// for every d with `|d| / |d^T g| <= reach |x| / phi`. What is longer moves along singular values below
  /// the root of mu, which rounding has made.
  ///
  /// The rows have their sizes here: divided by them they are nearer to singular late in training, and mu
  /// would count more for rows that count for nothing.
  ///
  /// Of some rows that hold all of w the same is true: `|B d|` is no less than what they see of it.
  ///
  /// - Returns: What was reached, proved or not; `nil` where there is no factorisation.
  package func bracketedSolution(
    gradient: ScaledVector<S>, gap: Double
  ) -> ReferenceSolution<S>? {
    bracketedSolution(gradient: gradient, gap: gap, tolerance: 0)?.solution
  }

  /// With `J x` of the unscaled solution, `[N, O C]`.
  func bracketedSolution(
    gradient: ScaledVector<S>, gap: Double, tolerance: Double
  ) -> Found? {
    // Without all of w neither proof holds.
    guard count > 0, !losesLabels, target.allSatisfy(\.isFinite) else { return nil }
    let largest = powerOfTwo(near: sizes.reduce(0, max))
    let relative = sizes.map { $0 / largest }
    let diagonal = (0..<count).map { gram[$0 * (count + 1)] * relative[$0] * relative[$0] }
    // Ten times what rounding makes of the eigenvalues: below it, rounding is what x would be made of.
    var damping = 10 * .ulpOfOne * diagonal.reduce(0, +)
    var factor: CholeskyFactorization?
    for _ in 0..<3 {
      let matrix = weighted(relative)
      for i in 0..<count { matrix.pointer[i * (count + 1)] = diagonal[i] + damping }
      factor = try? CholeskyFactorization(
        n: count, overwriting: matrix, pool: problem.linearization.pool)
      if factor != nil { break }
      damping *= 100
    }
    guard let z = factor?.solve(target), z.allSatisfy(\.isFinite) else { return nil }
    let rows = zip(z, relative).map { $0 * $1 }
    let image = zip(product(rows), relative).map { $0 * $1 }
    // Both in units of |B x|^2, so that nothing of the units of B is left.
    let square = image.reduce(0) { $0 + $1 * $1 }
    let length = damping * zip(z, image).reduce(0) { $0 + $1.0 * $1.1 } / square
    let lower = (Self.reach * Self.reach - 1) * length
    let size = largest * unit
    // What the rows do not hold of w is no part of phi.
    let bound = problem.output.gammaBound
    let isWhole = target.reduce(0) { $0 + $1 * bound * $1 * bound } >= 1 - 1e-12
    return solution(
      rows.map { $0 / size / unit }, "Cholesky factorisation", gradient: gradient, damping: 0,
      gap: gap, tolerance: tolerance,
      leastOfShort: lower < 1 && isWhole ? gamma(ofImage: image) * (1 - lower).squareRoot() : 0)
  }

  /// A solution, and `J x` of the unscaled vector, `[N, O C]`.
  typealias Found = (solution: ReferenceSolution<S>, tangent: Vector<Double>?)

  /// How much longer than the reference a direction may be that is proved not to be better.
  static var reach: Double { 2 }

  private func solution(
    _ coefficients: [Double], _ form: String, gradient: ScaledVector<S>, damping mu: Double,
    gap: Double, tolerance: Double, leastOfShort: Double = 0
  ) -> Found {
    // No weights, or beyond the range of double: there is no direction.
    if count == 0 || !coefficients.allSatisfy(\.isFinite), problem.norm(gradient) > 0 {
      return (.none(problem, by: kind, .certainty), nil)
    }
    var weights = [Double](repeating: 0, count: rows.count)
    for (place, row) in kept.enumerated() { weights[row] = coefficients[place] }
    // The rows cancel where singular values fade: single precision would keep nothing of these.
    let direction = rows.weightedSums([weights], inDouble: true)[0]
    let halves = problem.quadratics([.explicit(direction)], keepsTangents: true)[0]
    let gammaOfX = halves.unscaled.gamma
    let residual = problem.residual(
      direction, tangent: halves.tangent!, gradient: gradient, damping: mu)
    let isProved = mu == 0 && gammaOfX <= (1 + max(gap, 1e-6)) * problem.output.gammaBound
    let isSolved = residual <= max(tolerance, Double(S.ulpOfOne).squareRoot())
    // Where the bracket is all that is known, it is what has ended the solve.
    let isCertified = isProved && !isSolved
    let isShortest = !isProved && gammaOfX <= (1 + gap) * leastOfShort
    let record = ReferenceRecord(
      kind: kind, gamma: gammaOfX, iterations: nil, residual: residual,
      stop: isCertified ? "certificate" : isShortest ? "length" : kind.name,
      explanation: "\(form) of \(matrix) in double precision, B in "
        + (S.self == Double.self ? "double." : "single."),
      status: problem.norm(gradient) == 0
        ? .zeroGradient
        : isSolved && !isShortest ? .exact : isCertified || isShortest ? .converged : .notConverged)
    return (
      ReferenceSolution(direction: direction, record: record, trace: []), halves.tangent
    )
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
