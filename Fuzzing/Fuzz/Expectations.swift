import ApproxEval
import Checkpoints
import Figures
import HessianFree

/// Runs what may refuse its input. A refusal is one of the errors that the command maps to an exit
/// code, and not the one for bugs; its message is made as well.
func expectTypedErrors(_ body: () throws -> Void) {
  do {
    try body()
  } catch let error as CheckpointError {
    expectText(error.description)
  } catch let error as TableError {
    expectText(error.description)
  } catch let error as EvaluationError {
    expectText(error.description)
    let cause: SolveError? =
      switch error {
      case .batch(let failure): failure.cause
      case .solve(let error): error
      case .linearAlgebra(let error): .linearAlgebra(error)
      default: nil
      }
    if let cause, BatchFailure.kind(of: cause) == .mistake {
      fatalError("an error of ours, not of the input: \(error)")
    }
  } catch {
    fatalError("an error without an exit code: \(error)")
  }
}

/// What, then where and how to fix it, indented: no name from a file makes a line of its own.
private func expectText(_ description: String) {
  let lines = description.split(separator: "\n", omittingEmptySubsequences: false)
  precondition(
    !description.isEmpty && lines.dropFirst().allSatisfy { $0.hasPrefix("  ") },
    "not a message: \(description)")
}
