import TensorModule
import TestSupport

@testable import ApproxEval

/// The first batch of a fixture with its forward pass.
func fixtureProblem<S: EngineScalar>(
  _ name: String, _ precision: Precision = .float64
) throws -> BatchProblem<S> {
  var options = EvaluationOptions()
  options.precision = precision
  let evaluation = Evaluation(options, pool: WorkerPool(threads: 2))
  let checkpoint = try LoadedCheckpoint(path: fixture(name + ".bin"), options: options)
  let budget = try evaluation.budget(
    checkpoint, evaluation.source(checkpoint), .selfCheck, S.self)
  return try evaluation.problem(checkpoint, batch: 0, budget, S.self)
}
