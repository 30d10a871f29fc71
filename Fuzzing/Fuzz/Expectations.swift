import ApproxEval
import Checkpoints
import Figures

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
    switch error {
    case .solve(.memory), .solve(.nonFinite), .solve(.linearAlgebra(.nonFinite)),
      .linearAlgebra(.nonFinite):
      break
    case .solve, .linearAlgebra: fatalError("an error of ours, not of the input: \(error)")
    default: break
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
