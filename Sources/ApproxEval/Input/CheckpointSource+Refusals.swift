import Checkpoints
import Models

extension CheckpointSource {
  // Options that a checkpoint has no use for.

  static func needless(_ task: LanguageTask, _ path: String) -> CheckpointError {
    CheckpointError(
      .unexpectedSetting(
        .task, found: task.rawValue, expected: "nothing: the checkpoint has its head"),
      at: .init(file: path),
      hint: "Leave it out: only folders of Hugging Face can have another head.")
  }

  static func requireNoAdapter(
    _ adapter: String?, _ program: String
  ) throws(CheckpointError) {
    if adapter == nil { return }
    throw CheckpointError(
      .otherFormat(
        found: "a network by torch.export", expected: "a Hugging Face folder under an adapter"),
      at: .init(file: program), hint: "Leave out \(.adapter): export the network with its adapter.")
  }
}
