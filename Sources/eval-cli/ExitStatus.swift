import ApproxEval
import ArgumentParser
import Checkpoints
import Figures
import HessianFree

/// The exit codes of cli.md; those from 64 on are those of sysexits.h.
enum ExitStatus: Int32 {
  case done = 0
  /// `check` found a property that does not hold, `--strict` a reference that did not converge, or
  /// training diverged.
  case checkFailed = 1
  case usage = 64
  case badData = 65
  case missingInput = 66
  /// Another program that is needed is not there or does not work.
  case unavailable = 69
  case bug = 70
  case cannotWrite = 73
  case inputOutput = 74
  /// By SIGINT or SIGTERM; whole batches are kept.
  case interrupted = 130
}

extension ExitStatus {
  /// The one table from errors to exit codes.
  init(_ error: any Error) {
    switch error {
    case is CheckFailure, is ReferenceFailure: self = .checkFailed
    case let error as FailedCheckpoints: self.init(error.failures[0].error)
    case is UsageError: self = .usage
    case let error as CheckpointError: self.init(error)
    case let error as EvaluationError: self.init(error)
    case let error as TableError: self.init(error)
    case GnuplotError.incomplete: self = .cannotWrite
    case is GnuplotError: self = .unavailable
    default:
      switch EvalCLI.exitCode(for: error) {
      case .success: self = .done
      case .validationFailure: self = .usage
      default: self = .bug
      }
    }
  }

  private init(_ error: CheckpointError) {
    switch error.category {
    case .badData: self = .badData
    case .missingInput: self = .missingInput
    case .cannotWrite: self = .cannotWrite
    case .inputOutput: self = .inputOutput
    }
  }

  private init(_ error: TableError) {
    switch error.problem {
    case .file(let error): self.init(error)
    case .noTables, .unfinishedRun: self = .missingInput
    default: self = .badData
    }
  }

  private init(_ error: EvaluationError) {
    switch error {
    case .checkpoint(let error): self.init(error)
    case .diverged: self = .checkFailed
    case .journal(let error): self.init(error)
    case .merge(.noJournal), .merge(.missing): self = .missingInput
    case .merge: self = .usage
    case .memory(let shortage): self = shortage.isChoice ? .usage : .badData
    case .batch(let failure): self.init(BatchFailure.kind(of: failure.cause))
    case .batchTooLarge, .unknownUpdate, .sharedUpdate, .series, .duplicateUpdate,
      .notEnoughDraws,
      .noSuchParameter, .nothingTrainable, .nothingToPrune, .noSplit:
      self = .usage
    case .missingBatch: self = .missingInput
    // NaN and infinity come from the numbers of the checkpoint or batch.
    case .nonFiniteLogits, .startOverflows, .noReferenceGradient, .noFisherMatrix: self = .badData
    case .solve(let cause): self.init(BatchFailure.kind(of: cause))
    case .linearAlgebra(let cause): self.init(BatchFailure.kind(of: .linearAlgebra(cause)))
    }
  }
}

extension ExitStatus {
  private init(_ kind: BatchFailure.Kind) {
    switch kind {
    case .tooLarge: self = .usage
    case .exhausted: self = .inputOutput
    case .numbers: self = .badData
    case .mistake: self = .bug
    }
  }

  private init(_ error: JournalError) {
    switch error {
    case .unfinished, .finished, .occupied, .inUse, .removed: self = .cannotWrite
    case .differs: self = .usage
    case .damaged, .foreign: self = .badData
    }
  }
}

/// A property that `check` found not to hold; the table has said which.
struct CheckFailure: Error {}

/// References that did not converge in a run with `--strict`.
struct ReferenceFailure: Error, Equatable, CustomStringConvertible {
  var batches: Int
  var total: Int

  init(batches: Int, of total: Int) {
    self.batches = batches
    self.total = total
  }

  var description: String {
    """
    the reference did not converge in \(batches) of \(total) batch\(total == 1 ? "" : "es")
      at --strict
      See reference_status in batches.csv; what would help stands below each table.
    """
  }
}

/// Checkpoints that a run with `--keep-going` has left out; it ends as the first of them would have
/// ended it.
struct FailedCheckpoints: Error, CustomStringConvertible {
  /// One at least.
  var failures: [CheckpointFailure]

  var description: String {
    let count = failures.count
    return "\(count) checkpoint\(count == 1 ? "" : "s") could not be scored to the end\n"
      + failures.map { failure in
        let place = failure.checkpoint + (failure.batch.map { ", batch \($0)" } ?? "")
        return "\(place): \(failure.error.message.text(.options))"
      }.joined(separator: "\n")
  }
}

/// What follows `error:`, `nil` if everything has been said.
func message(for error: any Error) -> String? {
  switch error {
  case is CheckFailure: return nil
  case let error as ReferenceFailure: return error.description
  case let error as FailedCheckpoints: return error.description
  case let error as UsageError: return error.description
  case let error as any ExplainedError: return error.message.text(.options)
  case let error as TableError: return error.description
  case let error as GnuplotError: return error.description
  default:
    let text = argumentsShown(in: EvalCLI.fullMessage(for: error))
    return text.hasPrefix("Error: ") ? String(text.dropFirst(7)) : text
  }
}

/// A message of the argument parser, which repeats arguments, or the part before or behind their
/// equals sign, as they are.
private func argumentsShown(in message: String) -> String {
  let words = CommandLine.arguments.flatMap { argument in
    [argument] + argument.split(separator: "=", maxSplits: 1).map(String.init)
  }
  return words.filter { $0.unicodeScalars.contains(where: isUnprintable) }
    .reduce(message) { $0.replacing($1, with: printable($1)) }
}
