import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// EF, iEF and SF over the case list, against Gaussian elimination on the matrices themselves.
struct DirectionTests {
  static let dampings = ["0.1", "1e-3", "rel:1e-2", "rel:1e-5"]

  @Test(arguments: cases)
  func gramDirectionsAreTheOraclesInDouble(_ test: Case) throws {
    // K + lambda I has a condition number of at most N / 1e-5 in these cases: 1e6 times 1e-16.
    try checkGram(test, Double.self) { _ in 1e-9 }
  }

  @Test(arguments: cases)
  func gramDirectionsAreTheOraclesInSingle(_ test: Case) throws {
    // Rows with errors of 1e-6, multiplied by the same condition number.
    try checkGram(test, Float.self) { min(1, 3e-6 * max(1, 1 / $0)) }
  }

  private func checkGram<S: EngineScalar>(
    _ test: Case, _: S.Type, tolerance: (_ relativeDamping: Double) -> Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let (engine, gradients) = try batch(oracle, draws: [], S.self)
    #expect(
      mismatch(
        engine.direction(gradients.gradient), oracle.gradient, tolerance: tolerance(1)) == nil)
    let largest = oracle.perSampleGradients.map { dot($0, $0) }.max()!
    #expect(mismatch(gradients.lambda(Damping("rel:1")!).value, largest, tolerance: 1e-4) == nil)
    let dampings = DirectionTests.dampings.map { Damping($0)! }
    for (method, target) in [(Method.ef, oracle.ones), (.ief, oracle.squares)] {
      let directions = try EmpiricalFisher.directions(
        gradients, method: method, dampings: dampings)
      for (direction, damping) in zip(directions, dampings) {
        let lambda = damping.isRelative ? damping.value * largest : damping.value
        #expect(direction.method == method && direction.damping == damping)
        let used = try #require(direction.lambda)
        #expect(mismatch(used, lambda, tolerance: 1e-4) == nil)
        #expect(direction.relativeError < tolerance(lambda / largest))
        #expect(
          mismatch(
            engine.direction(direction.scaled),
            oracle.weightedGradients(target, lambda: used), tolerance: tolerance(lambda / largest))
            == nil, "\(method.name) at \(damping.text)")
      }
    }
  }

  @Test(arguments: cases, [1, 3])
  func sampledDirectionsAreTheOraclesInDouble(_ test: Case, draws: Int) throws {
    // The difference g - Ghat^T c keeps lambda / |Ghat|^2 of g at the least, here 1e-5: five digits
    // of the fifteen.
    try checkSampled(test, draws: draws, Double.self) { _ in 1e-9 }
  }

  @Test(arguments: cases, [1, 3])
  func sampledDirectionsAreTheOraclesInSingle(_ test: Case, draws: Int) throws {
    // Rows with errors of 1e-6, multiplied by the condition number.
    try checkSampled(test, draws: draws, Float.self) { min(1, 3e-6 * max(1, 1 / $0)) }
  }

  private func checkSampled<S: EngineScalar>(
    _ test: Case, draws: Int, _: S.Type, tolerance: (_ relativeDamping: Double) -> Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(draws, seed: test.seed &+ 600)
    let (engine, gradients) = try batch(oracle, draws: labels, S.self)
    let dampings = DirectionTests.dampings.map { Damping($0)! }
    let largest =
      oracle.sampledGradients(labels).map { dot($0, $0) }.max()! / Double(draws)
    for direction in try SampledFisher.directions(gradients, dampings: dampings) {
      let damping = try #require(direction.damping)
      let lambda = damping.isRelative ? damping.value * largest : damping.value
      let used = try #require(direction.lambda)
      #expect(mismatch(used, lambda, tolerance: 1e-4) == nil)
      #expect(
        mismatchUpToScale(
          engine.direction(direction.scaled), oracle.sampledFisher(labels, lambda: used),
          tolerance: tolerance(lambda / largest)) == nil, "sf at \(damping.text)")
    }
  }

  /// What `weightedGradients` cannot be asked for: no damping at all.
  @Test(arguments: ["mlp", "positions", "cnn"])
  func withoutDampingTheRegularSystemIsSolved(_ name: String) throws {
    let oracle = DenseOracle(Problem(try #require(cases.first { $0.name == name })))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    for (method, target) in [(Method.ef, oracle.ones), (.ief, oracle.squares)] {
      let direction = try EmpiricalFisher.directions(
        gradients, method: method, dampings: [Damping("0")!])[0]
      #expect(direction.lambda == 0)
      #expect(direction.relativeError < 1e-9)
      let found = engine.direction(direction.scaled)
      // Condition numbers of K here are below 1e4, of rows with errors of 1e-15.
      #expect(mismatch(found, oracle.weightedGradients(target, lambda: 0), tolerance: 1e-9) == nil)
      // Its property: the first-order change of l_n along d is the target.
      let changes = oracle.perSampleGradients.map { dot($0, found) }
      #expect(mismatch(changes, target, tolerance: 1e-9) == nil)
    }
  }
}

/// A batch with the logit gradients of these draws.
func batch<S: EngineScalar>(
  _ oracle: DenseOracle, draws: [OracleLabels], _: S.Type, dropDuplicates: Double? = nil
) throws -> (EngineProblem<S>, BatchGradients<S>) {
  try batch(oracle.problem, draws: draws, S.self, dropDuplicates: dropDuplicates)
}

func batch<S: EngineScalar>(
  _ problem: Problem, draws: [OracleLabels], _: S.Type, dropDuplicates: Double? = nil
) throws -> (EngineProblem<S>, BatchGradients<S>) {
  let engine = try EngineProblem(problem, S.self)
  let linearization = engine.linearize(threads: 2)
  let output = engine.output(linearization)
  let sampled = draws.map { output.gradient(forSampled: Labels($0), linearization: linearization) }
  return (
    engine,
    BatchGradients(linearization, output, sampled: sampled, dropDuplicates: dropDuplicates)
  )
}
