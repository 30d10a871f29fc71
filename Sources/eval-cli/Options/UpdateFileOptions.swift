import ApproxEval
import ArgumentParser

/// Directions that users bring.
struct UpdateFileOptions: ParsableArguments {
  @Option(
    help: .init(
      "The direction or directions in this safetensors file as well; repeatable.",
      valueName: "file"), completion: .file())
  var updates: [String] = []

  @Option(
    help: .init(
      """
      The step that a PyTorch optimiser takes next on each batch: its state_dict, saved by \
      torch.save.
      """, valueName: "file"), completion: .file())
  var optimizerState: String?

  @Option(
    help: .init(
      """
      Names of the parameters in the optimiser's order, one a line, where neither its state nor \
      shapes tell which is which.
      """, valueName: "file"), completion: .file())
  var parameterOrder: String?

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    options.updateFiles = updates
    options.optimizerState = optimizerState
    options.parameterOrder = parameterOrder
    if parameterOrder != nil && optimizerState == nil {
      throw UsageError(
        "there is no optimiser whose parameters it could name", at: "--parameter-order",
        "Give its state as --optimizer-state.")
    }
  }
}
