import HessianFree
import TensorModule
import Testing

private let ample = DenseLeastSquares(memoryBudget: 1 << 30)

/// `B = diag(sqrt(spectrum)) Q` and a w, so that `B^T w` is in the range of `B^T B`.
func leastSquares(_ problem: Problem) -> (b: [Double], w: [Double], rows: Int) {
  var random = CounterRandom(seed: problem.seed, batch: 2, sample: 0, stream: .vectors)
  return (problem.factor, (0..<problem.rank).map { _ in random.normal() }, problem.rank)
}

func transposedProduct(_ b: [Double], _ w: [Double], _ columns: Int) -> [Double] {
  (0..<columns).map { j in (0..<w.count).reduce(0) { $0 + b[$1 * columns + j] * w[$1] } }
}

@Suite struct DenseLeastSquaresTests {
  @Test(arguments: Problem.solvable)
  func agreesWithConjugateGradients(problem: Problem) throws {
    let (b, w, rows) = leastSquares(problem)
    let dense = try ample.solve(rows: rows, columns: problem.dimension, Vector(b), target: w)
    #expect(dense.rank == problem.rank)
    let solver = ConjugateGradient(SolveLimits(relativeTolerance: 1e-10, maxIterations: 500))
    let iterative = try solver.solve(
      problem.factored(Double.self), rhs: Vector(transposedProduct(b, w, problem.dimension)),
      workspace: workspace(problem.dimension))
    #expect(iterative.stop.label == "tolerance")
    // Residual times condition number (at most 1.2e8), which the two share through A.
    let nonzero = problem.spectrum.filter { $0 != 0 }
    let condition = (nonzero.max() ?? 1) / (nonzero.min() ?? 1)
    let error = distance(dense.x, iterative.x.array) / norm(dense.x)
    #expect(error <= 11e-10 * condition, "\(error)")
  }

  @Test func solvesOverTwelveOrdersOfSquaredSingularValues() throws {
    // Singular values over 6 orders: the normal equations have condition 1e12, B only 1e6.
    let problem = Problem.fading(rank: 20, zeros: 15, orders: 12, seed: 31)
    let (b, w, rows) = leastSquares(problem)
    let dense = try ample.solve(rows: rows, columns: problem.dimension, Vector(b), target: w)
    // B has full row rank: the residual B x - w is zero up to the rounding of |B| |x|.
    let image = (0..<rows).map { i in
      (0..<problem.dimension).reduce(0) { $0 + b[i * problem.dimension + $1] * dense.x[$1] }
    }
    #expect(distance(image, w) <= 100 * Double.ulpOfOne * norm(dense.x))
    #expect(dense.rank == 20)
  }

  /// From g what lies below the root of the precision is noise and is left out, where w would give it.
  @Test func fromTheGradientSmallSingularValuesAreLeftOut() throws {
    let decomposition = try ample.decompose(
      rows: 3, columns: 3, Vector([1, 0, 0, 0, 1e-3, 0, 0, 0, 1e-9]))
    let solution = try decomposition.solve(gradient: [2, 3e-6, 1])
    #expect(solution.rank == 2)
    // A division by a square each.
    #expect(distance(solution.x, [2, 3, 0]) <= 10 * Double.ulpOfOne * 3)
    #expect(try decomposition.solve(target: [2, 3e-3, 1]).rank == 3)
  }

  @Test func solutionOfARankDeficientSystemHasMinimumNorm() throws {
    // Two equal rows and one of zeros: rank 1, so x is along the row.
    let b: [Double] = [1, 2, 2, 1, 2, 2, 0, 0, 0]
    let dense = try ample.solve(rows: 3, columns: 3, Vector(b), target: [1, 3, 5])
    #expect(dense.rank == 1)
    // mean(1, 3) / |row|^2 times the row; a dozen roundings.
    #expect(distance(dense.x, [2.0 / 9, 4.0 / 9, 4.0 / 9]) <= 12 * Double.ulpOfOne)
  }

  @Test func dampedSolutionsSolveTheDampedEquations() throws {
    let problem = Problem.singularConsistent
    let (b, w, rows) = leastSquares(problem)
    let n = problem.dimension
    let right = transposedProduct(b, w, n)
    let dampings = [0, 1e-9, 1e-3, 1, 1e6]
    let decomposition = try ample.decompose(rows: rows, columns: n, Vector(b))
    let gram = (0..<rows * rows).map { ij in
      (0..<n).reduce(0) { $0 + b[ij / rows * n + $1] * b[ij % rows * n + $1] }
    }
    let throughGram = try GramDecomposition(rows: rows, gram: Vector(gram), memoryBudget: 1 << 30)
    for mu in dampings {
      let x = try decomposition.solve(target: w, damping: mu).x
      // The same from g; S^2 has a condition number of 7.
      let fromGradient = try decomposition.solve(gradient: right, damping: mu)
      #expect(distance(fromGradient.x, x) <= 1e-13 * norm(x), "mu \(mu)")
      let image = (0..<rows).map { i in dot(Array(b[i * n..<(i + 1) * n]), x) }
      let left = zip(transposedProduct(b, image, n), x).map { $0 + mu * $1 }
      // Backward stable: rounding of (|A| + mu) |x|, some hundred times.
      #expect(distance(left, right) <= 100 * Double.ulpOfOne * (10 + mu) * norm(x), "mu \(mu)")
      let y = try throughGram.solve(target: w, damping: mu).x
      // The condition number of this B B^T is 7; sums of 30.
      #expect(distance(transposedProduct(b, y, n), x) <= 1e-13 * norm(x), "mu \(mu)")
    }
  }

  @Test func gramRouteLosesWhatItSaysItLoses() throws {
    // Squared singular values over 24 orders: those below m eps of the largest are gone.
    let problem = Problem.fading(rank: 25, zeros: 5, orders: 24, seed: 32)
    let (b, w, rows) = leastSquares(problem)
    let n = problem.dimension
    let gram = (0..<rows * rows).map { ij in
      (0..<n).reduce(0) { $0 + b[ij / rows * n + $1] * b[ij % rows * n + $1] }
    }
    let route = try GramDecomposition(rows: rows, gram: Vector(gram), memoryBudget: 1 << 30)
    let resolved = problem.spectrum.filter { $0 > route.relativeCutoff }.count
    #expect(abs(route.rank - resolved) <= 1, "\(route.rank) of \(resolved)")
    #expect(try route.solve(target: w).rank == route.rank)
    #expect(try ample.solve(rows: rows, columns: n, Vector(b), target: w).rank >= 24)
  }

  @Test func zeroMatrixHasRankZeroAndTheZeroSolution() throws {
    let zero = [Double](repeating: 0, count: 6)
    let dense = try ample.solve(rows: 2, columns: 3, Vector(zero), target: [1, 2])
    #expect(dense.rank == 0 && dense.x == [0, 0, 0])
    #expect(
      try ample.decompose(rows: 2, columns: 3, Vector(zero)).solve(target: [1, 2], damping: 1).x
        == [0, 0, 0])
    let gram = try GramDecomposition(rows: 2, gram: Vector([0, 0, 0, 0]), memoryBudget: 1 << 20)
    #expect(try gram.solve(target: [1, 2]).x == [0, 0])
  }

  @Test func moreMemoryThanAllowedIsRefusedBeforeAnythingIsComputed() {
    let required = DenseLeastSquares.requiredMemory(rows: 100, columns: 1000)
    // At least B, its copy and V.
    #expect(required >= 3 * 8 * 100 * 1000)
    let solver = DenseLeastSquares(memoryBudget: required - 1)
    #expect(throws: SolveError.memory(required: required, budget: required - 1)) {
      try solver.decompose(
        rows: 100, columns: 1000, Vector(count: 100_000))
    }
    #expect(throws: SolveError.memory(required: 320_000, budget: 1000)) {
      try GramDecomposition(
        rows: 100, gram: Vector(count: 10_000), memoryBudget: 1000)
    }
  }

  @Test func nonFiniteMatrixIsNamed() {
    #expect(throws: SolveError.linearAlgebra(.nonFinite(offset: 2))) {
      try ample.solve(rows: 2, columns: 2, Vector([1, 2, .nan, 4]), target: [1, 1])
    }
  }
}
