import Foundation
import TensorModule
import Testing

@testable import HessianFree

private struct LeastSquares {
  let matrix: [Double]
  let target: [Double]
  let rows: Int
  let columns: Int

  init(_ problem: Problem) {
    (matrix, target, rows) = leastSquares(problem)
    columns = problem.dimension
  }

  /// Every row twice with targets that differ: no x fits both.
  init(inconsistent problem: Problem) {
    let (b, w, rows) = leastSquares(problem)
    matrix = b + b
    target = w + w.enumerated().map { $1 + ($0 % 2 == 0 ? 1 : -0.5) }
    self.rows = 2 * rows
    columns = problem.dimension
  }

  func solve<S: EngineScalar>(_ solver: LSQR, _: S.Type) throws -> SolveResult<S> {
    try solver.solve(
      DenseFactor<S>(matrix, rows: rows, columns: columns), target: Vector(target),
      workspace: LSQR.Workspace(rows: rows, columns: columns))
  }

  func image(_ x: [Double]) -> [Double] {
    (0..<rows).map { i in dot(Array(matrix[i * columns..<(i + 1) * columns]), x) }
  }

  /// `|B^T (w - B x) - mu x| / |B^T w|`, in double, outside the solver.
  func residual(_ x: [Double], damping mu: Double = 0) -> Double {
    let left = zip(target, image(x)).map { $0 - $1 }
    let residual = zip(transposedProduct(matrix, left, columns), x).map { $0 - mu * $1 }
    return norm(residual) / norm(transposedProduct(matrix, target, columns))
  }

  func gamma(_ x: [Double]) -> Double { norm(image(x)) / abs(dot(image(x), target)) }

  func dense(damping mu: Double = 0) throws -> [Double] {
    try DenseLeastSquares(memoryBudget: 1 << 30).decompose(
      rows: rows, columns: columns, Vector(matrix)
    )
    .solve(target: target, damping: mu).x
  }
}

@Suite struct LSQRTests {
  private let tight = LSQR(SolveLimits(relativeTolerance: 1e-10, maxIterations: 200))
  private let single = LSQR(SolveLimits(relativeTolerance: 1e-4, maxIterations: 200))

  // MARK: - Outcome

  @Test(arguments: Problem.solvable)
  func solvableProblemsReachTheMinimumNormSolution(problem: Problem) throws {
    let system = LeastSquares(problem)
    let result = try system.solve(tight, Double.self)
    #expect(result.stop.label == "tolerance", "\(result.stop)")
    #expect(system.residual(result.x.array) <= 11 * tight.limits.relativeTolerance)
    let expected = try system.dense()
    // Condition number of the normal equations times their residual.
    let nonzero = problem.spectrum.filter { $0 != 0 }
    let condition = nonzero.max()! / nonzero.min()!
    let error = distance(result.x.array, expected) / norm(expected)
    #expect(error <= condition * 11 * tight.limits.relativeTolerance, "\(error)")
    #expect(result.products == result.iterations + result.checks.count)
    #expect(result.steps.map(\.iteration) == Array(1...result.iterations))
    // Single precision: rounding of B, 6e-8, times the root of that condition number.
    let rounded = try system.solve(single, Float.self)
    #expect(rounded.stop.label == "tolerance", "\(rounded.stop)")
    #expect(
      system.residual(rounded.x.array.map(Double.init)) <= 11 * single.limits.relativeTolerance)
  }

  @Test(arguments: Problem.solvable)
  func iteratesAreThoseOfConjugateGradients(problem: Problem) throws {
    let system = LeastSquares(problem)
    let b = Vector(transposedProduct(system.matrix, system.target, system.columns))
    let gradients = try ConjugateGradient(SolveLimits(relativeTolerance: 1e-10, maxIterations: 200))
      .solve(
        problem.factored(Double.self), rhs: b, workspace: workspace(problem.dimension))
    let result = try system.solve(tight, Double.self)
    #expect(abs(result.iterations - gradients.iterations) <= 1)
    for (mine, other) in zip(result.steps, gradients.steps) {
      // The gamma of conjugate gradients comes from a difference that cancels to 1e5 eps here.
      #expect(abs(mine.gamma / other.gamma - 1) <= 1e5 * 30 * Double.ulpOfOne)
      // Residuals near the end are small differences of the same size.
      let error = abs(mine.relativeResidual - other.relativeResidual)
      #expect(error <= 1e-6 * other.relativeResidual + 1e-11)
    }
  }

  @Test func inconsistentSystemsGiveTheLeastSquaresSolution() throws {
    for problem in [Problem.spd, .singularConsistent] {
      let system = LeastSquares(inconsistent: problem)
      let result = try system.solve(
        LSQR(SolveLimits(relativeTolerance: 1e-10, maxIterations: 200)), Double.self)
      #expect(result.stop.label == "tolerance", "\(result.stop)")
      let expected = try system.dense()
      #expect(distance(result.x.array, expected) <= 1e-7 * norm(expected))
      #expect(result.gamma * norm(system.target) > 1.001)
    }
  }

  @Test func zeroTargetsTakeNoIterations() throws {
    var system = LeastSquares(.zeroRightHandSide)
    let none = LeastSquares.zero(system)
    let result = try none.solve(tight, Double.self)
    #expect(result.stop == .zeroRightHandSide && result.products == 0)
    #expect(result.x.array.allSatisfy { $0 == 0 } && result.gamma.isNaN)
    // A target that B^T maps to zero.
    system = LeastSquares(matrix: [1, 0, 1, 0], target: [1, -1], rows: 2, columns: 2)
    #expect(try system.solve(tight, Double.self).stop == .zeroRightHandSide)
  }

  @Test func dampedSolutionsAreTheDenseOnes() throws {
    for mu in [1e-3, 0.7, 20] {
      let system = LeastSquares(.singularConsistent)
      var solver = tight
      solver.damping = mu
      let result = try system.solve(solver, Double.self)
      #expect(result.stop.label == "tolerance", "\(result.stop)")
      #expect(system.residual(result.x.array, damping: mu) <= 11e-10)
      let expected = try system.dense(damping: mu)
      #expect(distance(result.x.array, expected) <= 1e-8 * norm(expected))
      // gamma is that of the operator without damping, from sums that do not cancel.
      #expect(abs(result.gamma / system.gamma(expected) - 1) <= 1e-12)
    }
  }

  @Test func iterationLimitIsAnOutcome() throws {
    let system = LeastSquares(.spd)
    let result = try system.solve(LSQR(SolveLimits(maxIterations: 3)), Double.self)
    #expect(result.stop == .iterationLimit(3))
    #expect(result.iterate == 3 && result.products == 4)
    #expect(abs(system.residual(result.x.array) - result.residual) <= 1e-13)
    #expect(try system.solve(LSQR(SolveLimits(maxIterations: 0)), Double.self).products == 0)
  }

  // MARK: - gamma

  /// `|B x|^2 / |w|^2` is `(1 / (gamma |w|))^2`, also where the spectrum fades into rounding.
  @Test(arguments: [0.0, 4, 8, 12, 16])
  func shareOfTheTargetNeverFalls(orders: Double) throws {
    let problem =
      orders == 0 ? Problem.spd : .fading(rank: 60, zeros: 60, orders: orders, seed: 3)
    let system = LeastSquares(problem)
    func check<S: EngineScalar>(_: S.Type, _ tolerance: Double, _ limit: Double) throws {
      let solver = LSQR(SolveLimits(relativeTolerance: tolerance, maxIterations: 1000))
      let result = try system.solve(solver, S.self)
      #expect(largestRise(result.steps) <= limit, "\(S.self), \(result.stop)")
      // What the trace says is true of the direction that came out.
      let gamma = system.gamma(result.x.array.map(Double.init))
      let lowest = result.steps.map(\.gamma).min()!
      #expect(abs(gamma / lowest - 1) <= 10 * limit, "\(S.self), \(result.stop)")
      #expect(gamma >= 1 / norm(system.target) * (1 - 1e-12))
    }
    // Sums of squares in double; loss of orthogonality is what is left.
    try check(Double.self, 1e-9, 1e-9)
    try check(Float.self, 1e-4, 1e-4)
  }

  @Test func keptVectorsEndTheSolveAfterAsManyStepsAsTheRank() throws {
    let system = LeastSquares(.fading(rank: 60, zeros: 60, orders: 8, seed: 5))
    let kept = LSQR(SolveLimits(relativeTolerance: 1e-7, maxIterations: 3000))
    var plain = kept
    plain.limits.historyBytes = 0
    #expect(try system.solve(kept, Double.self).iterations <= 60)
    #expect(try system.solve(plain, Double.self).iterations >= 100)
  }

  // MARK: - Estimates of what is left

  @Test func leastRitzValueIsTheLeastEigenvalueAfterAllSteps() {
    // Steps of conjugate gradients by hand for diag(1, 3) and b = (1, 1): eigenvalues 1 and 3.
    var steps = LanczosSteps()
    // r = (1, 1), v = r: alpha = 2 / 4; r = (1/2, -1/2): |r|^2 = 1/2; v = r + v / 4 =
    // (3/4, -1/4): alpha = (1/2) / (9/16 + 3/16) = 2/3.
    steps.append(alpha: 0.5, residual: 2)
    // One step: the Rayleigh quotient 2.
    #expect(abs(steps.leastRitzValue - 2) <= 0.02 * 2)
    steps.append(alpha: 2.0 / 3, residual: 0.5)
    // Bisection stops at one percent.
    #expect(abs(steps.leastRitzValue - 1) <= 0.02)
    steps.startAgain()
    #expect(abs(steps.leastRitzValue - 1) <= 0.02)
  }

  /// With a spectrum that the solve has seen all of, the estimate encloses the least gamma.
  @Test(arguments: [Problem.spd, .singularConsistent])
  func estimatesOfTheLeastGammaComeCloseFromBelow(problem: Problem) throws {
    let system = LeastSquares(problem)
    let least = system.gamma(try system.dense())
    let b = Vector(transposedProduct(system.matrix, system.target, system.columns))
    for limit in [4, 6, 8, 10] {
      let mine = try system.solve(LSQR(SolveLimits(maxIterations: limit)), Double.self)
      let other = try ConjugateGradient(SolveLimits(maxIterations: limit)).solve(
        problem.factored(Double.self), rhs: b, workspace: workspace(problem.dimension))
      for (gamma, estimate) in [
        (mine.gamma, mine.leastGammaEstimate), (other.gamma, other.leastGammaEstimate),
      ] {
        let estimate = try #require(estimate)
        #expect(estimate < gamma && gamma > least)
        // What is missing of 1 / gamma^2, by estimate and in truth. The bound of Meurant and Tichy
        // with the least Ritz value, here at most a few times the least eigenvalue, is off by less
        // than an order of magnitude.
        let ratio = (pow(estimate, -2) - pow(gamma, -2)) / (pow(least, -2) - pow(gamma, -2))
        #expect((0.3...30).contains(ratio), "after \(limit): \(ratio)")
      }
      // The two are the same numbers by different recurrences.
      #expect(abs(mine.leastGammaEstimate! / other.leastGammaEstimate! - 1) <= 1e-6)
    }
  }

  // MARK: - Workspace and errors

  @Test func reusedWorkspaceForgetsTheSolveBefore() throws {
    let (first, second) = (LeastSquares(.spd), LeastSquares(inconsistent: .almostSingular))
    let fresh = try second.solve(tight, Double.self)
    #expect(first.rows == 30 && second.rows == 24 && second.columns == 12)
    let space = LSQR.Workspace<Double>(
      rows: second.rows, columns: second.columns)
    let operation = DenseFactor<Double>(second.matrix, rows: second.rows, columns: second.columns)
    let other = try tight.solve(
      operation, target: Vector(second.target.reversed()), workspace: space)
    let kept = other.x.array
    let again = try tight.solve(operation, target: Vector(second.target), workspace: space)
    #expect(again.x.array == fresh.x.array)
    #expect(again.steps.map(\.gamma) == fresh.steps.map(\.gamma))
    #expect(other.x.array == kept, "a result must not share the memory of the workspace")
  }

  @Test func whatIsNotFiniteOrDoesNotFitIsNamed() throws {
    let system = LeastSquares(.spd)
    let operation = DenseFactor<Double>(system.matrix, rows: 30, columns: 30)
    let space = LSQR.Workspace<Double>(rows: 30, columns: 30)
    var bad = system.target
    bad[4] = .nan
    #expect(throws: SolveError.nonFinite(.rightHandSide, iteration: 0, index: 4)) {
      try tight.solve(operation, target: Vector(bad), workspace: space)
    }
    var matrix = system.matrix
    matrix[31] = .infinity
    #expect {
      try tight.solve(
        DenseFactor<Double>(matrix, rows: 30, columns: 30), target: Vector(system.target),
        workspace: space)
    } throws: { error in
      guard case SolveError.nonFinite(.product, _, _) = error else { return false }
      return true
    }
    #expect(throws: SolveError.dimensionMismatch(what: "target", found: 3, expected: 30)) {
      try tight.solve(operation, target: Vector(count: 3), workspace: space)
    }
    #expect(
      throws: SolveError.dimensionMismatch(
        what: "columns of the workspace", found: 7, expected: 30)
    ) {
      try tight.solve(
        operation, target: Vector(system.target),
        workspace: LSQR.Workspace(rows: 30, columns: 7))
    }
  }
}

extension LeastSquares {
  fileprivate init(matrix: [Double], target: [Double], rows: Int, columns: Int) {
    (self.matrix, self.target, self.rows, self.columns) = (matrix, target, rows, columns)
  }

  fileprivate static func zero(_ system: LeastSquares) -> LeastSquares {
    LeastSquares(
      matrix: system.matrix, target: system.target.map { _ in 0 }, rows: system.rows,
      columns: system.columns)
  }
}
