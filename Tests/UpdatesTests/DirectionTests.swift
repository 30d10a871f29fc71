import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// EF and iEF where nothing damps them.
struct DirectionTests {
  /// What `weightedGradients` cannot be asked for: no damping at all.
  @Test(arguments: ["mlp", "positions", "cnn"])
  func withoutDampingTheRegularSystemIsSolved(_ name: String) throws {
    let oracle = DenseOracle(Problem(try #require(cases.first { $0.name == name })))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    for (method, target) in [(UpdateMethod.ef, oracle.ones), (.ief, oracle.squares)] {
      let direction = try gradients.directions(method, [Damping("0")!])[0]
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

extension BatchGradients {
  func directions(
    _ method: UpdateMethod, _ dampings: [Damping]
  ) throws -> [Direction<S>] {
    try method.directions(DirectionContext(self), dampings: dampings)
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
