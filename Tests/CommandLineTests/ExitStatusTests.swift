import ArgumentParser
import Checkpoints
import Figures
import HessianFree
import TensorModule
import Testing

@testable import ApproxEval
@testable import eval_cli

/// The table from errors to exit codes, case by case.
@Suite struct ExitStatusTests {
  private static let place = CheckpointError.Location(file: "x")

  private static func failure(_ cause: SolveError) -> BatchFailure {
    BatchFailure(cause: cause, checkpoint: "x", batch: 0, reference: .gram)
  }

  static let table: [(any Error & Sendable, Int32)] = [
    (UsageError("x", at: "--x"), 64),
    (ValidationError("x"), 64),
    (CheckFailure(), 1),
    (ReferenceFailure(batches: 1, of: 2), 1),
    (EvaluationError.journal(.unfinished(file: "x", finished: 1, planned: 2)), 73),
    (EvaluationError.journal(.inUse(file: "x")), 73),
    (EvaluationError.journal(.removed(file: "x")), 73),
    (EvaluationError.journal(.differs(file: "x", ["x"])), 64),
    (EvaluationError.journal(.damaged(file: "x", line: 2, byte: 9, .checksum)), 65),
    (EvaluationError.journal(.foreign(file: "x")), 65),
    (CheckpointError(.fileMissing, at: place), 66),
    (CheckpointError(.isDirectory, at: place), 66),
    (CheckpointError(.cannotOpen(code: 13), at: place), 66),
    (CheckpointError(.cannotRead(code: 5), at: place), 74),
    (CheckpointError(.lost, at: place), 74),
    (CheckpointError(.changed(.replaced), at: place), 65),
    (CheckpointError(.isPipe, at: place), 66),
    (CheckpointError(.linkedOutput, at: place), 73),
    (CheckpointError(.cannotWrite(code: 28), at: place), 73),
    (CheckpointError(.truncated(found: 1, needed: 8), at: place), 65),
    (EvaluationError.checkpoint(CheckpointError(.fileMissing, at: place)), 66),
    (EvaluationError.missingBatch(checkpoint: "x"), 66),
    (EvaluationError.batchTooLarge(requested: 2, available: 1, file: "x"), 64),
    (EvaluationError.unknownUpdate(name: "x", known: [], files: ["y"]), 64),
    (EvaluationError.sharedUpdate(.updates, file: "x", checkpoints: 2), 64),
    (EvaluationError.series(.noState(folder: "x")), 64),
    (EvaluationError.merge(.noShard(folder: "x")), 64),
    (EvaluationError.merge(.missing(shards: [1], of: 2, unfinished: [])), 66),
    (EvaluationError.merge(.noJournal(folder: "x")), 66),
    (EvaluationError.journal(.finished(file: "x", batches: 1, [])), 73),
    (EvaluationError.journal(.occupied(folder: "x", files: [])), 73),
    (EvaluationError.duplicateUpdate(name: "x", first: "a", second: "b"), 64),
    (EvaluationError.notEnoughDraws(requested: 2, stored: 1, file: "x"), 64),
    (EvaluationError.noSuchParameter(pattern: "x", near: [], checkpoint: "x"), 64),
    (EvaluationError.nothingTrainable(patterns: ["x"], checkpoint: "x"), 64),
    (EvaluationError.nothingToPrune(patterns: [], checkpoint: "x"), 64),
    (EvaluationError.noFisherMatrix(method: "x", damping: "y", checkpoint: "z"), 65),
    (EvaluationError.nonFiniteLogits(checkpoint: "x", sample: 0, value: .nan), 65),
    (EvaluationError.noReferenceGradient(checkpoint: "x"), 65),
    (EvaluationError.solve(.memory(required: 2, budget: 1)), 64),
    (EvaluationError.memory(shortage(isChoice: true)), 64),
    (EvaluationError.memory(shortage(isChoice: false)), 65),
    (EvaluationError.linearAlgebra(.tooLarge(rows: 1, columns: 1)), 64),
    (EvaluationError.solve(.linearAlgebra(.outOfMemory(routine: "dsyevd"))), 74),
    (EvaluationError.solve(.nonFinite(.product, iteration: 1, index: 0)), 65),
    (EvaluationError.solve(.linearAlgebra(.nonFinite(offset: 0))), 65),
    (EvaluationError.linearAlgebra(.nonFinite(offset: 0)), 65),
    (EvaluationError.solve(.notPositiveSemidefinite), 70),
    (EvaluationError.linearAlgebra(.notConverged(routine: "dsyevd", info: 1)), 65),
    (EvaluationError.linearAlgebra(.tooLarge(rows: 1, columns: 1)), 64),
    (EvaluationError.linearAlgebra(.outOfMemory(routine: "dsyevd")), 74),
    (EvaluationError.batch(failure(.memory(required: 2, budget: 1))), 64),
    (EvaluationError.batch(failure(.linearAlgebra(.nonFinite(offset: 0)))), 65),
    (EvaluationError.batch(failure(.notPositiveSemidefinite)), 70),
    (TableError(.file(CheckpointError(.cannotRead(code: 5), at: place)), file: "x"), 74),
    (TableError(.noTables(["x"]), file: "x"), 66),
    (TableError(.unfinishedRun, file: "x"), 66),
    (TableError(.nothingToDraw([]), file: "x"), 65),
    (TableError(.missingColumns(["x"]), file: "x"), 65),
    (TableError(.openQuote, file: "x", line: 1), 65),
    (GnuplotError.missing, 69),
    (GnuplotError.incomplete(picture: "x", said: ""), 73),
    (GnuplotError.cannotStart(path: "x", reason: "y"), 69),
    (GnuplotError.failed(scripts: ["x"], folder: "y", said: ""), 69),
    (CancellationError(), 70),
  ]

  @Test func everyErrorHasItsExitCode() {
    for (error, code) in Self.table {
      #expect(ExitStatus(error).rawValue == code, "\(error)")
    }
  }

  @Test func helpIsNoError() { #expect(ExitStatus(CleanExit.helpRequest()) == .done) }
}

private func shortage(isChoice: Bool) -> MemoryShortage {
  MemoryShortage(
    subject: "a batch", path: "x", needed: 2, allowed: 1, isLimitOfProcess: false, largest: nil,
    remedies: [], isChoice: isChoice)
}

/// What messages of the libraries call settings, the command has as options.
@Suite struct SettingNameTests {
  @Test func everySettingIsAnOption() throws {
    let help =
      EvalCLI.helpMessage(for: Score.self) + EvalCLI.helpMessage(for: Train.self)
      + EvalCLI.helpMessage(for: Prune.self)
    for setting in Setting.all {
      let option = SettingNames.options(setting)
      // A flag has its inversion behind a slash.
      #expect(help.contains(" \(option) ") || help.contains(" \(option)/"), "\(option)")
    }
  }

  /// One that is added is in the list as well.
  @Test func theListHasAllSettings() throws {
    let file = Fixture.root.deletingLastPathComponent()
      .appendingPathComponent("Sources/ApproxEval/Settings.swift")
    let names = try String(contentsOf: file, encoding: .utf8)
      .matches(of: /public static let \w+ = Setting\("([a-z ]+)"\)/).map { String($0.output.1) }
    #expect(names.count > 30)
    #expect(Set(Setting.all.map(\.name)) == Set(names))
  }

  @Test func errorsAreSpelledByTheCommand() {
    let error = EvaluationError.batchTooLarge(requested: 9, available: 4, file: "x")
    #expect(error.description.hasSuffix("Give batch size 4 or less."))
    #expect(message(for: error)?.hasSuffix("Give --batch-size 4 or less.") == true)
  }
}
