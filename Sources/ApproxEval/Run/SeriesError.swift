import Checkpoints

/// Why the files of a series do not belong to its checkpoints one by one.
public enum SeriesError: Error, Sendable, Equatable {
  /// Adapters belong to one model, and several checkpoints were given.
  case adapters(Int, checkpoints: Int)
  /// Another number of files than of checkpoints.
  case count(Setting, Int, checkpoints: Int)
  /// A pattern asks for what the checkpoint does not tell.
  case untold(Setting, String, place: String, checkpoint: String)
  /// A folder without a state of an optimiser, where one was looked for.
  case noState(folder: String)

  static func untold(
    _ setting: Setting, _ pattern: String, _ place: SeriesPattern.Place, checkpoint: String
  ) -> SeriesError {
    .untold(setting, pattern, place: place.rawValue, checkpoint: checkpoint)
  }
}

extension SeriesError: ExplainedError {
  public var message: ErrorMessage {
    switch self {
    case .adapters(let adapters, let checkpoints):
      ErrorMessage(
        "\(adapters) adapter\(adapters == 1 ? "" : "s") for \(checkpoints) checkpoints",
        at: "\(.adapter)", ["Give one base model, each of whose adapters is scored."])
    case .count(let setting, let files, let checkpoints):
      ErrorMessage(
        "\(files) files for \(checkpoints) checkpoint\(checkpoints == 1 ? "" : "s")",
        at: "\(setting)",
        [
          "Give one for each, in their order, or a pattern with {epoch}, {step}, {name} or "
            + "{checkpoint}."
        ])
    case .untold(let setting, let pattern, let place, let checkpoint):
      ErrorMessage(
        "\(checkpoint) does not tell its \(place)", at: "\(setting) \(pattern)",
        ["Use {name} or {checkpoint}, or save the \(place) with the checkpoint."])
    case .noState(let folder):
      ErrorMessage(
        "there is no state of an optimiser beside the weights", at: SettingText(folder),
        [
          "\(.optimizerState) auto reads optimizer.pt, as Transformers' Trainer writes it. Name the "
            + "file if it lies elsewhere."
        ])
    }
  }
}
