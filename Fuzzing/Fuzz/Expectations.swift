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

private func expectText(_ description: String) {
  precondition(!description.isEmpty, "an error without a word")
}
