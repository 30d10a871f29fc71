import Foundation
import HessianFree
import TensorModule
import Testing

private func solve<Scalar>(
  _ problem: Problem, _: Scalar.Type, _ solver: ConjugateGradient
) throws -> SolveResult<Scalar> {
  try solver.solve(
    problem.dense(Scalar.self), rhs: problem.rightHandSide(Scalar.self),
    workspace: workspace(problem.dimension))
}

@Suite struct ConjugateGradientTests {
  private let tight = ConjugateGradient(SolveLimits(relativeTolerance: 1e-10, maxIterations: 200))
  private let single = ConjugateGradient(SolveLimits(relativeTolerance: 1e-4, maxIterations: 200))

  // MARK: - Outcome

  @Test(arguments: Problem.solvable)
  func solvableProblemsReachTheToleranceInDouble(problem: Problem) throws {
    let result = try solve(problem, Double.self, tight)
    #expect(result.stop.label == "tolerance", "\(result.stop)")
    let residual = relativeResidual(problem, result.x.array)
    // The recurrence may differ from the true residual by 10 x tolerance at most.
    #expect(residual <= 11 * tight.limits.relativeTolerance)
    // Both residuals carry the rounding of one product, |A| |x| / |b| <= 1.2e6 of it here.
    #expect(abs(residual - result.residual) <= 1.2e6 * 30 * Double.ulpOfOne)
  }

  @Test(arguments: [Problem.spd, .singularConsistent, .clusteredSpectrum])
  func wellConditionedProblemsReachTheToleranceInFloat(problem: Problem) throws {
    let result = try solve(problem, Float.self, single)
    #expect(result.stop.label == "tolerance", "\(result.stop)")
    #expect(relativeResidual(problem, result.x.array.map(Double.init)) <= 11 * 1e-4)
  }

  @Test(arguments: Problem.solvable)
  func solutionIsTheOneOfMinimumNorm(problem: Problem) throws {
    let result = try solve(problem, Double.self, tight)
    let expected = problem.minimumNormSolution
    // |x - A^+ b| <= |A^+| |r|, and |b| <= |A| |x|: condition number times residual.
    let nonzero = problem.spectrum.filter { $0 != 0 }
    let condition = (nonzero.max() ?? 1) / (nonzero.min() ?? 1)
    let error = distance(result.x.array, expected) / norm(expected)
    #expect(error <= condition * 11 * tight.limits.relativeTolerance, "\(error)")
    if problem.rank < problem.dimension {
      // No component outside the range: the norm cannot exceed the least one.
      #expect(abs(norm(result.x.array) / norm(expected) - 1) <= 1e-9)
    }
  }

  @Test func productsAreIterationsAndChecksAndOneForTheFinalResidual() throws {
    for problem in Problem.solvable {
      let a = problem.dense(Double.self)
      let result = try tight.solve(
        a, rhs: problem.rightHandSide(Double.self), workspace: workspace(problem.dimension))
      #expect(result.products == a.counter.products)
      #expect(result.products == result.iterations + result.checks.count)
      #expect(result.steps.map(\.iteration) == Array(1...result.iterations))
      #expect(result.checks.last?.iteration == result.iterations)
    }
  }

  @Test func iterationsAreAtMostTheDistinctEigenvalues() throws {
    let problem = Problem.clusteredSpectrum
    let result = try solve(problem, Double.self, tight)
    #expect(result.iterations == problem.distinctEigenvalues)
    let singular = Problem(
      name: "two eigenvalues and zero", spectrum: (0..<25).map { [0, 1, 3][$0 % 3] }, seed: 8)
    #expect(try solve(singular, Double.self, tight).iterations == 2)
  }

  @Test func zeroRightHandSideTakesNoProducts() throws {
    let problem = Problem.zeroRightHandSide
    let result = try solve(problem, Double.self, tight)
    #expect(result.stop == .zeroRightHandSide)
    #expect(result.stop.label == "zero")
    #expect(result.products == 0 && result.iterations == 0 && result.steps.isEmpty)
    #expect(result.x.array.allSatisfy { $0 == 0 })
    #expect(result.residual == 0)
    #expect(result.gamma.isNaN)
  }

  @Test func iterationLimitIsAnOutcomeWithTheLastIterate() throws {
    let problem = Problem.spd
    let result = try solve(
      problem, Double.self,
      ConjugateGradient(SolveLimits(relativeTolerance: 1e-10, maxIterations: 3)))
    #expect(result.stop == .iterationLimit(3))
    #expect(result.iterations == 3 && result.iterate == 3 && result.products == 4)
    #expect(abs(relativeResidual(problem, result.x.array) - result.residual) <= 1e-13)
    let none = try solve(
      problem, Double.self,
      ConjugateGradient(SolveLimits(relativeTolerance: 1e-10, maxIterations: 0)))
    #expect(none.products == 0 && none.residual == 1 && none.gamma.isNaN)
  }

  @Test func indefiniteOperatorThatDeclaresOtherwiseStopsOnCurvature() throws {
    let result = try solve(Problem.indefinite, Double.self, tight)
    guard case .curvature(let quadratic, let threshold, let iteration) = result.stop else {
      Issue.record("\(result.stop)")
      return
    }
    #expect(quadratic <= threshold)
    #expect(iteration == result.iterations + 1)
    #expect(result.stop.label == "curvature")
  }

  @Test func operatorThatDoesNotDeclareItselfSemidefiniteIsRefused() {
    var a = Problem.indefinite.dense(Double.self)
    a.isPositiveSemidefinite = false
    #expect(throws: SolveError.notPositiveSemidefinite) {
      try tight.solve(
        a, rhs: Problem.indefinite.rightHandSide(Double.self),
        workspace: workspace(Problem.indefinite.dimension))
    }
  }

  @Test func inconsistentProblemEndsWithItsResidualAndGammaKeepsFalling() throws {
    // With a component of b outside the range no minimum exists: phi falls without end, and gamma
    // goes to 0 as x grows along that component.
    let problem = Problem.inconsistent
    let result = try solve(problem, Double.self, tight)
    #expect(!result.stop.isConverged, "\(result.stop)")
    let outside = norm(zip(problem.components, problem.spectrum).map { $1 == 0 ? $0 : 0 })
    #expect(result.residual >= outside / norm(problem.components) * (1 - 1e-9))
    #expect(largestRise(result.steps) <= 1e-9)
  }

  // MARK: - gamma

  @Test(arguments: Problem.solvable)
  func gammaOfEachIterateIsThatOfTheIterate(problem: Problem) throws {
    let full = try solve(problem, Double.self, tight)
    for entry in full.steps {
      let result = try solve(
        problem, Double.self,
        ConjugateGradient(SolveLimits(relativeTolerance: 1e-10, maxIterations: entry.iteration)))
      let expected = gamma(problem, result.x.array)
      // x^T r cancels to rounding of |x| |b|, which is at most 1e5 x^T b here.
      #expect(abs(entry.gamma / expected - 1) <= 1e5 * 30 * Double.ulpOfOne)
      #expect(abs(result.gamma / expected - 1) <= 1e5 * 30 * Double.ulpOfOne)
    }
  }

  @Test(arguments: Problem.solvable)
  func gammaEndsAtItsMinimumAndNeverRises(problem: Problem) throws {
    let result = try solve(problem, Double.self, tight)
    // 1 / sqrt(b^T A^+ b)
    let least = 1 / dot(problem.rightHandSide, problem.minimumNormSolution).squareRoot()
    // Second order in the error of x.
    #expect(abs(result.gamma / least - 1) <= 1e-8)
    #expect(largestRise(result.steps) <= 1e-9)
    #expect(try largestRise(solve(problem, Float.self, single).steps) <= 1e-4)
  }

  /// What LoRA models look like: the spectrum fades into rounding, where 3000 iterations run into
  /// it, and a solver that wanders there shows it in gamma. (In float32 the dense matrices over 8
  /// orders and more are indefinite by rounding alone.)
  @Test(arguments: zip([4.0, 8, 12, 16], [UInt64(1), 2, 1, 2]))
  func gammaNeverRisesAtTheLevelOfRounding(orders: Double, seed: UInt64) throws {
    let problem = Problem.fading(rank: 60, zeros: 60, orders: orders, seed: seed)
    let double = ConjugateGradient(SolveLimits(relativeTolerance: 1e-9, maxIterations: 3000))
    let float = ConjugateGradient(SolveLimits(relativeTolerance: 1e-4, maxIterations: 3000))
    func check<A: LinearOperator>(_ a: A, _ solver: ConjugateGradient, _ limit: Double) throws {
      let result = try solver.solve(
        a, rhs: problem.rightHandSide(A.Scalar.self), workspace: workspace(problem.dimension))
      let rise = largestRise(result.steps)
      let kind = "\(A.self), \(result.stop)"
      #expect(rise <= limit, "\(kind)")
      let x = result.x.array.map(Double.init)
      // What the operator's own quadratic form can be off by: eps |A| |x|^2 of x^T A x, |A| = 1.
      let quadratic = pow(result.gamma * dot(x, problem.rightHandSide), 2)
      let resolution = Double(A.Scalar.ulpOfOne) * dot(x, x) / quadratic
      let lowest = result.steps.map(\.gamma).min() ?? .nan
      #expect(result.gamma <= lowest * (1 + limit + resolution), "\(kind), \(resolution)")
    }
    try check(problem.dense(Double.self), double, 1e-9)
    try check(problem.factored(Double.self), double, 1e-9)
    try check(problem.dense(Float.self), float, 1e-4)
    try check(problem.factored(Float.self), float, 1e-4)
  }

  /// Starting again at every drift beyond 10 x the tolerance ended at 1.09 and 1.04.
  @Test func recurrenceThatStillGainsIsLeftAloneHoweverItDrifts() throws {
    func ratio<A: LinearOperator>(_ problem: Problem, _ a: A, _ tolerance: Double) throws -> Double
    {
      let solver = ConjugateGradient(SolveLimits(relativeTolerance: tolerance, maxIterations: 3000))
      let result = try solver.solve(
        a, rhs: problem.rightHandSide(A.Scalar.self), workspace: workspace(problem.dimension))
      let least = 1 / dot(problem.rightHandSide, problem.minimumNormSolution).squareRoot()
      return gamma(problem, result.x.array.map(Double.init)) / least
    }
    // Found 1.0019 and 1.0003; rounding of another machine decides the digits after.
    let twelve = Problem.fading(rank: 60, zeros: 60, orders: 12, seed: 1)
    #expect(try ratio(twelve, twelve.factored(Double.self), 1e-9) <= 1.01)
    let eight = Problem.fading(rank: 60, zeros: 60, orders: 8, seed: 1)
    #expect(try ratio(eight, eight.factored(Float.self), 1e-4) <= 1.01)
  }

  @Test func dampedOperatorIsSolved() throws {
    let problem = Problem.singularConsistent
    let space: ConjugateGradient.Workspace<Double> = workspace(problem.dimension)
    let damped = DampedOperator(problem.dense(Double.self), mu: 0.3, operations: space.operations)
    let twice = DampedOperator(damped, mu: 0.4, operations: space.operations)
    let result = try tight.solve(twice, rhs: problem.rightHandSide(Double.self), workspace: space)
    #expect(result.stop.label == "tolerance")
    #expect(relativeResidual(problem, result.x.array, damping: 0.7) <= 11 * 1e-10)
    // The terms are those of the operator that is solved, damping included.
    let x = result.x.array
    let quadratic = pow(gamma(problem, x) * dot(x, problem.rightHandSide), 2) + 0.7 * dot(x, x)
    #expect(abs(result.terms.quadratic / quadratic - 1) <= 1e-12)
  }

  // MARK: - Preconditioner

  @Test func jacobiPreconditionerSolvesABadlyScaledSystemInFewerIterations() throws {
    // D A D with scales over three orders of magnitude.
    let (base, n) = (Problem.spd, Problem.spd.dimension)
    let scale = (0..<n).map { 1 + 999 * Double($0 % 7) / 6 }
    var matrix = base.matrix
    for i in 0..<n { for j in 0..<n { matrix[i * n + j] *= scale[i] * scale[j] } }
    let a = DenseOperator<Double>(matrix, dimension: n)
    let b = base.rightHandSide(Double.self)
    let space: ConjugateGradient.Workspace<Double> = workspace(n)
    let solver = ConjugateGradient(SolveLimits(relativeTolerance: 1e-10, maxIterations: 2000))
    let plain = try solver.solve(a, rhs: b, workspace: space)
    let jacobi = try JacobiPreconditioner(
      diagonal: Vector((0..<n).map { matrix[$0 * n + $0] }), operations: space.operations)
    let preconditioned = try solver.solve(a, rhs: b, preconditioner: jacobi, workspace: space)
    #expect(preconditioned.stop.label == "tolerance", "\(preconditioned.stop)")
    #expect(preconditioned.iterations < plain.iterations)
    #expect(largestRise(preconditioned.steps) <= 1e-9)
    #expect(abs(preconditioned.gamma / plain.gamma - 1) <= 1e-9)
  }

  @Test func preconditionerOfOnesChangesNothing() throws {
    let problem = Problem.spd
    let space: ConjugateGradient.Workspace<Double> = workspace(problem.dimension)
    let ones = try JacobiPreconditioner(
      diagonal: Vector(Array(repeating: 1.0, count: problem.dimension)),
      operations: space.operations)
    let (a, b) = (problem.dense(Double.self), problem.rightHandSide(Double.self))
    let plain = try tight.solve(a, rhs: b, workspace: space)
    let same = try tight.solve(a, rhs: b, preconditioner: ones, workspace: space)
    // r^T z is summed by another kernel than r^T r; the Krylov space amplifies that rounding.
    #expect(distance(plain.x.array, same.x.array) <= 1e-9 * norm(plain.x.array))
    #expect(plain.iterations == same.iterations)
  }

  @Test func preconditionersThatAreNotPositiveAreRefused() throws {
    let space: ConjugateGradient.Workspace<Double> = workspace(2)
    #expect(throws: SolveError.invalidPreconditioner(index: 1, entry: -3)) {
      try JacobiPreconditioner(diagonal: Vector([1.0, -3]), operations: space.operations)
    }
    struct Negative: Preconditioner {
      let dimension: Int
      func apply(_ r: Vector<Double>, into z: Vector<Double>) throws(SolveError) {
        for i in 0..<dimension { z[i] = -r[i] }
      }
    }
    let problem = Problem.spd
    #expect {
      try tight.solve(
        problem.dense(Double.self), rhs: problem.rightHandSide(Double.self),
        preconditioner: Negative(dimension: problem.dimension),
        workspace: workspace(problem.dimension))
    } throws: { error in
      guard case SolveError.preconditionerNotPositive(_, iteration: 0) = error else { return false }
      return true
    }
  }

  // MARK: - Workspace

  @Test func reusedWorkspaceForgetsTheSolveBefore() throws {
    let problem = Problem.singularConsistent
    let fresh = try solve(problem, Double.self, tight)
    let space: ConjugateGradient.Workspace<Double> = workspace(problem.dimension)
    let other = Problem.inconsistent
    let first = try tight.solve(
      other.dense(Double.self), rhs: other.rightHandSide(Double.self), workspace: space)
    let kept = first.x.array
    let second = try tight.solve(
      problem.dense(Double.self), rhs: problem.rightHandSide(Double.self), workspace: space)
    #expect(second.x.array == fresh.x.array)
    #expect(second.steps.map(\.gamma) == fresh.steps.map(\.gamma))
    #expect(first.x.array == kept, "a result must not share the memory of the workspace")
  }

  // MARK: - Reorthogonalisation

  @Test func keptResidualsEndTheSolveAfterAsManyStepsAsTheRank() throws {
    // Eight orders: plain CG repeats converged eigenvalues and needs several times the rank. The
    // residual can be driven to about eps |A| |x| / |b|, 2e-8 here.
    let problem = Problem.fading(rank: 60, zeros: 60, orders: 8, seed: 5)
    let kept = ConjugateGradient(SolveLimits(relativeTolerance: 1e-7, maxIterations: 3000))
    let plain = ConjugateGradient(
      SolveLimits(relativeTolerance: 1e-7, maxIterations: 3000, historyBytes: 0))
    let result = try solve(problem, Double.self, kept)
    #expect(result.stop.label == "tolerance", "\(result.stop)")
    #expect(result.iterations <= 60, "\(result.iterations)")
    let repeated = try solve(problem, Double.self, plain)
    #expect(repeated.iterations >= 120, "\(repeated.iterations) \(repeated.stop)")
    #expect(largestRise(result.steps) <= 1e-9)
  }

  // MARK: - True residuals

  @Test func recurrenceThatDriftsIsReplacedByTheTrueResidual() throws {
    // An operator whose product is slightly off for all but the first calls.
    struct Disturbed: LinearOperator {
      let base: DenseOperator<Double>
      var dimension: Int { base.dimension }
      let isPositiveSemidefinite = true
      func apply(_ v: Vector<Double>, into product: Vector<Double>) throws(SolveError) -> Double {
        let quadratic = try base.apply(v, into: product)
        if base.counter.products == 5 { for i in 0..<dimension { product[i] *= 1 + 1e-5 } }
        return quadratic
      }
    }
    let problem = Problem.spd
    // Kept residuals would stand between the solve and what the disturbance left in their span.
    let solver = ConjugateGradient(
      SolveLimits(
        relativeTolerance: 1e-10, maxIterations: 200, residualCheckInterval: 8, historyBytes: 0))
    let result = try solver.solve(
      Disturbed(base: problem.dense(Double.self)), rhs: problem.rightHandSide(Double.self),
      workspace: workspace(problem.dimension))
    #expect(result.checks.contains { $0.restarted && $0.difference > 1e-9 })
    #expect(result.stop.label == "tolerance", "\(result.stop)")
    #expect(relativeResidual(problem, result.x.array) <= 11e-10)
    #expect(largestRise(result.steps) <= 1e-9)
  }

  @Test func toleranceBelowRoundingEndsInStagnationWithTheBestIterate() throws {
    let problem = Problem.spd
    let solver = ConjugateGradient(SolveLimits(relativeTolerance: 1e-14, maxIterations: 3000))
    let result = try solve(problem, Float.self, solver)
    #expect(result.stop.label == "stagnated", "\(result.stop)")
    #expect(result.iterations < 1000)
    // Float products are rounded once here, so the residual is that of rounding x and A: 6e-8 times
    // the condition number 11, and the dimension at worst.
    #expect(result.residual <= 30 * 11 * 6e-8)
  }

  // MARK: - Errors

  @Test func nonFiniteOperandsAreNamedWithTheirIteration() throws {
    let problem = Problem.spd
    let a = problem.dense(Double.self)
    let b = problem.rightHandSide(Double.self)
    let space: ConjugateGradient.Workspace<Double> = workspace(problem.dimension)
    let bad = problem.rightHandSide(Double.self)
    bad[17] = .nan
    #expect(throws: SolveError.nonFinite(.rightHandSide, iteration: 0, index: 17)) {
      try tight.solve(a, rhs: bad, workspace: space)
    }
    struct Failing: LinearOperator {
      let base: DenseOperator<Double>
      let call: Int
      var dimension: Int { base.dimension }
      let isPositiveSemidefinite = true
      func apply(_ v: Vector<Double>, into product: Vector<Double>) throws(SolveError) -> Double {
        let quadratic = try base.apply(v, into: product)
        guard base.counter.products == call else { return quadratic }
        product[3] = .infinity
        return .infinity
      }
    }
    #expect(throws: SolveError.nonFinite(.quadraticForm, iteration: 4, index: 3)) {
      try tight.solve(Failing(base: problem.dense(), call: 4), rhs: b, workspace: space)
    }
  }

  @Test func dimensionsThatDifferAreNamed() {
    let a = Problem.spd.dense(Double.self)
    #expect(
      throws: SolveError.dimensionMismatch(what: "right-hand side", found: 4, expected: 30)
    ) {
      try tight.solve(a, rhs: Vector(count: 4), workspace: workspace(30))
    }
    #expect(throws: SolveError.dimensionMismatch(what: "workspace", found: 7, expected: 30)) {
      try tight.solve(a, rhs: Vector(count: 30), workspace: workspace(7))
    }
  }

  @Test func everyOutcomeAndErrorHasASentence() {
    let outcomes: [(StopReason, String)] = [
      (.tolerance(relativeResidual: 1e-7, limit: 1e-6), "tolerance"),
      (.accepted(ObserverStop(label: "enough", description: "It is.")), "enough"),
      (.abandoned(ObserverStop(label: "hopeless", description: "It is.")), "hopeless"),
      (.iterationLimit(10), "iterations"),
      (.curvature(quadratic: -1, threshold: 0, iteration: 3), "curvature"),
      (.stagnated(relativeResidual: 1e-3, iteration: 100), "stagnated"),
      (.zeroRightHandSide, "zero"),
    ]
    for (stop, label) in outcomes {
      #expect(stop.label == label)
      #expect(stop.description.hasSuffix("."))
    }
    #expect(
      SolveError.nonFinite(.product, iteration: 3, index: 9).description
        == "NaN or infinity in the product A v in iteration 3, first at element 9")
  }
}
