import Checkpoints

/// Why the files of a series do not belong to its checkpoints one by one.
public enum SeriesError: Error, Sendable, Equatable {
  case adapters(Int, checkpoints: Int)
  case count(String, Int, checkpoints: Int)
  /// A pattern asks for what the checkpoint does not tell.
  case untold(String, String, place: String, checkpoint: String)
  case noState(folder: String)

  static func untold(
    _ option: String, _ pattern: String, _ place: SeriesPattern.Place, checkpoint: String
  ) -> SeriesError {
    .untold(option, pattern, place: place.rawValue, checkpoint: checkpoint)
  }
}

extension SeriesError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .adapters(let adapters, let checkpoints):
      errorText(
        "\(adapters) adapter\(adapters == 1 ? "" : "s") for \(checkpoints) checkpoints",
        at: "--adapter",
        ["Give one base model, each of whose adapters is scored."])
    case .count(let option, let files, let checkpoints):
      errorText(
        "\(files) files for \(checkpoints) checkpoint\(checkpoints == 1 ? "" : "s")", at: option,
        [
          "Give one for each, in their order, or a pattern with {epoch}, {step}, {name} or "
            + "{checkpoint}."
        ])
    case .untold(let option, let pattern, let place, let checkpoint):
      errorText(
        "\(checkpoint) does not tell its \(place)", at: "\(option) \(pattern)",
        ["Use {name} or {checkpoint}, or save the \(place) with the checkpoint."])
    case .noState(let folder):
      errorText(
        "there is no state of an optimiser beside the weights", at: folder,
        [
          "--optimizer-state auto reads optimizer.pt, as Transformers' Trainer writes it. "
            + "Name the file if it lies elsewhere."
        ])
    }
  }
}
