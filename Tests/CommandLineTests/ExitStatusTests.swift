import ApproxEval
import ArgumentParser
import Checkpoints
import HessianFree
import TensorModule
import Testing

@testable import eval_cli

/// The table from errors to exit codes, case by case.
@Suite struct ExitStatusTests {
  private static let place = CheckpointError.Location(file: "x")

  static let table: [(any Error & Sendable, Int32)] = [
    (UsageError("x", at: "--x"), 64),
    (ValidationError("x"), 64),
    (CheckFailure(), 1),
    (CheckpointError(.fileMissing, at: place), 66),
    (CheckpointError(.isDirectory, at: place), 66),
    (CheckpointError(.cannotOpen(code: 13), at: place), 66),
    (CheckpointError(.cannotRead(code: 5), at: place), 74),
    (CheckpointError(.cannotWrite(code: 28), at: place), 73),
    (CheckpointError(.truncated(found: 1, needed: 8), at: place), 65),
    (EvaluationError.checkpoint(CheckpointError(.fileMissing, at: place)), 66),
    (EvaluationError.missingBatch(checkpoint: "x"), 66),
    (EvaluationError.batchTooLarge(requested: 2, available: 1, file: "x"), 64),
    (EvaluationError.unknownUpdate(name: "x", known: []), 64),
    (EvaluationError.duplicateUpdate(name: "x", first: "a", second: "b"), 64),
    (EvaluationError.notEnoughDraws(requested: 2, stored: 1, file: "x"), 64),
    (EvaluationError.noSuchParameter(pattern: "x", near: [], checkpoint: "x"), 64),
    (EvaluationError.nothingTrainable(patterns: ["x"], checkpoint: "x"), 64),
    (EvaluationError.nonFiniteLogits(checkpoint: "x", sample: 0, value: .nan), 65),
    (EvaluationError.noReferenceGradient(checkpoint: "x"), 65),
    (EvaluationError.solve(.memory(required: 2, budget: 1)), 64),
    (EvaluationError.solve(.nonFinite(.product, iteration: 1, index: 0)), 65),
    (EvaluationError.solve(.linearAlgebra(.nonFinite(offset: 0))), 65),
    (EvaluationError.linearAlgebra(.nonFinite(offset: 0)), 65),
    (EvaluationError.solve(.notPositiveSemidefinite), 70),
    (EvaluationError.linearAlgebra(.notConverged(routine: "dsyevd", info: 1)), 70),
    (CancellationError(), 70),
  ]

  @Test func everyErrorHasItsExitCode() {
    for (error, code) in Self.table {
      #expect(ExitStatus(error).rawValue == code, "\(error)")
    }
  }

  @Test func helpIsNoError() { #expect(ExitStatus(CleanExit.helpRequest()) == .done) }
}
