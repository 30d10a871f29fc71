import TestSupport
import Testing

@testable import Models

/// The value of every layer type against plain loops over channels-first arrays.
struct LogitTests {
  @Test(arguments: layerCases + cases)
  func logitsAreTheOracles(_ test: Case) throws {
    let problem = Problem(test)
    let expected = (0..<problem.samples).flatMap { problem.logits($0).map(\.value) }
    let double = try EngineProblem(problem, Double.self)
    #expect(double.program.graph.outputShape == problem.outputShape)
    // Sums of at most some dozens of terms of the size of the result, and few layers.
    #expect(mismatch(double.linearize().allLogits, expected, tolerance: 1e-13) == nil)
    let single = try EngineProblem(problem, Float.self)
    // The same sums with 2^-24 for every rounding, and norms that divide by small deviations.
    #expect(mismatch(single.linearize().allLogits, expected, tolerance: 1e-5) == nil)
  }

  @Test(arguments: layerCases + cases)
  func parametersHaveTheNamesAndShapesOfPyTorch(_ test: Case) throws {
    let problem = Problem(test)
    let graph = try EngineProblem(problem, Double.self).program.graph
    let found = graph.parameters.map { "\($0.name) \($0.shape) \($0.isBuffer)" }
    let expected = problem.model.parameters.map { "\($0.name) \($0.shape) \($0.isBuffer)" }
    #expect(found == expected)
  }
}
