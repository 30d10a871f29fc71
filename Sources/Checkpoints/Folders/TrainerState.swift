/// What the Trainer of Transformers leaves beside the weights of a checkpoint folder:
/// `trainer_state.json` and the state of its optimiser.
public struct TrainerState: Sendable {
  static let file = "trainer_state.json"
  /// Where the optimiser's state may be; the first that is there is read.
  static let optimizerFiles = ["optimizer.pt", "optimizer.bin", "optimizer.pth"]

  /// Passes through the data; `nil` in the middle of one, as where checkpoints are saved by steps.
  public let epoch: Int?
  /// Steps of the optimiser.
  public let step: Int?

  /// - Returns: `nil` where the folder has no such file.
  /// - Throws: `CheckpointError` of the file.
  public static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> TrainerState? {
    let folder = try Folder(path, files: files)
    if folder.first([file]) == nil { return nil }
    return try TrainerState(folder.json(file))
  }

  private init(_ state: JSONValue) throws(CheckpointError) {
    let passes = try state["epoch"].double(default: .nan)
    epoch = Int(exactly: passes)
    let step = try state["global_step"].integer(default: -1)
    self.step = step < 0 ? nil : step
  }

  /// The file with the optimiser's state in a checkpoint folder, `nil` if there is none.
  public static func optimizerFile(
    in path: String, files: InputFiles
  ) throws(CheckpointError) -> String? {
    try Folder(path, files: files).first(optimizerFiles).map { joined(path, $0) }
  }
}
