import ApproxEval
import ArgumentParser

/// Directions that users bring.
struct UpdateFileOptions: ParsableArguments {
  @Option(
    help: .init(
      """
      The direction or directions in this safetensors file as well; repeatable. For several \
      checkpoints one file each, in their order, or a pattern: {epoch}, {step}, {name} and \
      {checkpoint} stand for those of each.
      """, valueName: "file"), completion: .file())
  var updates: [String] = []

  @Option(
    help: .init(
      """
      The step that a PyTorch optimiser takes next on each batch: its state_dict, saved by \
      torch.save. For several checkpoints one file each, or a pattern, as for --updates; auto: \
      the state in the checkpoint's own file or folder.
      """, valueName: "file"), completion: .file())
  var optimizerState: [String] = []

  @Option(
    help: .init(
      """
      Names of the parameters in the optimiser's order, one a line, where neither its state nor \
      shapes tell which is which.
      """, valueName: "file"), completion: .file())
  var parameterOrder: String?

  /// One for each checkpoint.
  var series: SeriesFiles {
    SeriesFiles(optimizerStates: optimizerState, updates: updates)
  }

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    options.parameterOrder = parameterOrder
    if parameterOrder != nil && optimizerState.isEmpty {
      throw UsageError(
        "there is no optimiser whose parameters it could name", at: "--parameter-order",
        "Give its state as --optimizer-state.")
    }
  }
}
