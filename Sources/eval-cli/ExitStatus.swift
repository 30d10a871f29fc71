import ApproxEval
import ArgumentParser
import Checkpoints
import HessianFree

/// The exit codes of cli.md; those from 64 on are those of sysexits.h.
enum ExitStatus: Int32 {
  case done = 0
  /// `check` found a property that does not hold.
  case checkFailed = 1
  case usage = 64
  case badData = 65
  case missingInput = 66
  case bug = 70
  case cannotWrite = 73
  case inputOutput = 74
}

extension ExitStatus {
  /// The one table from errors to exit codes.
  init(_ error: any Error) {
    switch error {
    case is CheckFailure: self = .checkFailed
    case is UsageError: self = .usage
    case let error as CheckpointError: self.init(error)
    case let error as EvaluationError: self.init(error)
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

  private init(_ error: EvaluationError) {
    switch error {
    case .checkpoint(let error): self.init(error)
    case .batchTooLarge, .unknownUpdate, .duplicateUpdate, .notEnoughDraws, .noSuchParameter,
      .nothingTrainable,
      .solve(.memory):
      self = .usage
    case .missingBatch: self = .missingInput
    // NaN and infinity come from the numbers of the checkpoint or batch.
    case .nonFiniteLogits, .noReferenceGradient, .solve(.nonFinite), .linearAlgebra(.nonFinite),
      .solve(.linearAlgebra(.nonFinite)):
      self = .badData
    case .solve, .linearAlgebra: self = .bug
    }
  }
}

/// A property that `check` found not to hold; the table has said which.
struct CheckFailure: Error {}

/// What follows `error:`, `nil` if everything has been said.
func message(for error: any Error) -> String? {
  switch error {
  case is CheckFailure: return nil
  case let error as UsageError: return error.description
  case let error as CheckpointError: return error.description
  case let error as EvaluationError: return error.description
  default:
    let text = EvalCLI.fullMessage(for: error)
    return text.hasPrefix("Error: ") ? String(text.dropFirst(7)) : text
  }
}
