import Checkpoints

/// The parameters of a network alone, to be taken in place of those that its model carries: a file
/// with a state_dict, or a folder with one.
struct StateDict: Sendable {
  /// As it was given.
  let path: String
  let epoch: Int?
  let step: Int?
  private let stored: [String: StoredTensor]

  /// - Throws: `otherFormat` for a checkpoint that has a model of its own.
  init(_ path: String, files: InputFiles) throws(CheckpointError) {
    self.path = path
    var (epoch, step): (Int?, Int?) = (nil, nil)
    if files.isFolder(path) {
      stored = try ModelDirectory.weights(in: path, files: files)
    } else {
      if try ExportedProgram.isProgram(files.open(path)) {
        throw Self.ownModel("a network by torch.export with its own weights", path)
      }
      let archive = try TensorArchive.open(path, files: files)
      if archive.metadata["format"] == CheckpointFile.format {
        throw Self.ownModel("a checkpoint that carries its model", path)
      }
      stored = archive.tensors
      (epoch, step) = (
        archive.metadata["epoch"].flatMap { Int($0) }, archive.metadata["step"].flatMap { Int($0) }
      )
    }
    let place = try TrainingPlace(path: path, epoch: epoch, step: step, files: files)
    (self.epoch, self.step) = (place.epoch, place.step)
  }

  private static func ownModel(_ found: String, _ path: String) -> CheckpointError {
    CheckpointError(
      .otherFormat(found: found, expected: "parameters of another network"),
      at: .init(file: path), hint: "Leave out \(.model).")
  }

  /// By the names of the network: a state_dict may lie in a dictionary, as training scripts save it
  /// beside other things, and have the names that wrappers of the network give.
  func tensors(named names: some Collection<String>) -> [String: StoredTensor] {
    if names.contains(where: { stored[$0] != nil }) { return stored }
    let wrappers: Set<Substring> = [
      "model", "module", "_orig_mod", "state_dict", "model_state_dict", "network", "net",
    ]
    for name in names.sorted() {
      let found = stored.keys.filter { $0.hasSuffix("." + name) }.map { $0.dropLast(name.count) }
      let prefixes = found.filter { prefix in
        prefix.split(separator: ".").allSatisfy(wrappers.contains)
      }
      guard let prefix = prefixes.min(by: { ($0.count, $0) < ($1.count, $1) }) else { continue }
      return Dictionary(
        uniqueKeysWithValues: stored.filter { $0.key.hasPrefix(prefix) }
          .map { (String($0.key.dropFirst(prefix.count)), $0.value) })
    }
    return stored
  }
}
