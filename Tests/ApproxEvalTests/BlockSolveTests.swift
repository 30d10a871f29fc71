import Checkpoints
import Foundation
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// `layer-ng` where the matrices of its blocks are too large: 130 samples of 64 classes have 8320 rows of B.
struct BlockSolveTests {
  private static var problem: Problem {
    Problem(
      Case(
        "many rows", input: [6],
        linear("a", 6, 5) + #", {"type": "tanh"}, "# + linear("b", 5, 64),
        trainable: ["a.weight", "a.bias"], samples: 130))
  }

  private func score(
    _ change: (inout EvaluationOptions) -> Void
  ) throws -> (results: [BatchResult], estimate: ResourceEstimate, note: String?) {
    let folder = try TestFolder()
    let path = folder.path("many.bin")
    try Self.problem.write(to: path)
    var options = EvaluationOptions()
    options.methods = [.sgd, .layerNG]
    options.dampings = [Damping("rel:1e-3")!]
    options.precision = .float64
    options.reference = .none
    change(&options)
    let evaluation = Evaluation(options)
    let entry = Report.Entry(
      try evaluation.describe(checkpoint: path), try evaluation.score(checkpoint: path))
    return (entry.results, try evaluation.resources(checkpoint: path), entry.blockSolvesNote)
  }

  @Test func iterationsFindTheLayerwiseOracle() throws {
    let found = try score { $0.cgTolerance = 1e-10 }
    let row = try #require(found.results[0].scores.first { $0.method == "layer-ng" })
    let solves = try #require(row.solves)
    #expect(solves.blocks == 1 && solves.unconverged == 0)
    #expect(!row.isMarked)
    #expect(found.note?.contains("all have converged") == true)
    let oracle = DenseOracle(Self.problem)
    let entries = oracle.moduleEntries[0]
    let expected = DenseOracle.blockSolve(
      oracle.root, entries, lambda: row.lambda!, oracle.gradient)
    // A residual of 1e-10 times a condition number of 1e3 moves gamma by their product at the most.
    #expect(mismatch(row.gamma, oracle.gamma(expected), tolerance: 1e-7) == nil)
    // Shapes say the most that it may take, here of iterations that end long before.
    let measured = found.results[0].costs.reduce(0) { $0 + $1.measured.operations }
    #expect(measured <= found.estimate.batchOperations)
  }

  /// One iteration is told, marked, and covered by its own error.
  @Test func whatHasNotConvergedIsMarked() throws {
    let found = try score { $0.cgIterations = 1 }
    let row = try #require(found.results[0].scores.first { $0.method == "layer-ng" })
    #expect(row.solves?.unconverged == 1 && row.solves?.iterations == 1)
    #expect(row.isMarked)
    #expect(found.note?.contains("1 has not converged") == true)
    let oracle = DenseOracle(Self.problem)
    let expected = oracle.gamma(
      DenseOracle.blockSolve(
        oracle.root, oracle.moduleEntries[0], lambda: row.lambda!, oracle.gradient))
    #expect(abs(row.gamma / expected - 1) <= row.gammaError!)
    // In single precision more digits would not help: nothing is done again.
    let single = try score {
      ($0.cgIterations, $0.precision) = (1, .auto)
    }
    #expect(single.results.allSatisfy { !$0.isRepeated })
  }

  /// Each iteration is in the estimate.
  @Test func theEstimateCountsIterations() throws {
    let few = try score { $0.cgIterations = 10 }.estimate.batchOperations
    let many = try score { $0.cgIterations = 20 }.estimate.batchOperations
    let none = try score { $0.methods = [.sgd] }.estimate.batchOperations
    // Products of the block beside the rest, which does not depend on iterations.
    #expect(many - none > 1.9 * (few - none) - none)
    #expect(few > none)
  }

  /// Methods that only a set has named give way where their solves are out of proportion, and only there.
  @Test func solvesOutOfProportionGiveWay() throws {
    let folder = try TestFolder()
    let path = folder.path("many.bin")
    try Self.problem.write(to: path)
    var options = EvaluationOptions()
    options.methods = [.sgd, .layerNG, .muon]
    options.reference = .none
    let evaluation = Evaluation(options)
    let inputs = [CheckpointInput(path: path)]
    let found = try #require(
      evaluation.disproportionate([.layerNG, .muon], inputs, fewOperations: 0))
    #expect(found.methods == [.layerNG])
    #expect(found.operations > 10 * found.otherOperations && found.otherOperations > 0)
    #expect(found.note.contains("layer-ng") && found.note.contains("layer-sf"))
    // Seconds are worth it whatever the rest takes.
    #expect(evaluation.disproportionate([.layerNG], inputs) == nil)
    #expect(evaluation.disproportionate([.muon], inputs, fewOperations: 0) == nil)
    // Matrices take no iterations.
    let small = [CheckpointInput(path: fixture("golden/mlp_tanh.bin"))]
    #expect(evaluation.disproportionate([.layerNG], small, fewOperations: 0) == nil)
    // A few iterations are not out of proportion.
    options.cgIterations = 5
    #expect(
      Evaluation(options).disproportionate([.layerNG], inputs, fewOperations: 0) == nil)
  }

  /// What does not fit is refused with what it would take, and what would do.
  @Test func tooLittleMemoryIsRefused() throws {
    var memory = try score { $0.methods = [.layerNG] }.estimate.memory.total
    // With less, forward values are computed again, until that does not help any more.
    while memory > 1000 {
      memory -= memory / 10
      do {
        _ = try score { $0.memory = memory }
      } catch EvaluationError.memory(let shortage) {
        #expect(shortage.needed > memory && shortage.allowed == memory)
        #expect(!shortage.remedies.isEmpty && shortage.isChoice)
        return
      }
    }
    Issue.record("1 kB is not enough")
  }
}
