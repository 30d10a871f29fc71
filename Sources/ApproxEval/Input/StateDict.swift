import Checkpoints
import GraphModule

/// Tensors by the names of a network, as training scripts save them: perhaps in a dictionary beside other
/// things, perhaps under the names that wrappers of the network give.
struct StateDict {
  let tensors: [String: StoredTensor]
  let epoch: Int?
  let step: Int?
  let bytes: Int

  /// - Parameter names: Those of the network, as far as they are known.
  init(
    _ path: String, of names: some Collection<String>, _ files: InputFiles
  ) throws(CheckpointError) {
    if files.isFolder(path) {
      tensors = Self.unwrapped(try ModelDirectory.weights(in: path, files: files), of: names)
      (epoch, step) = (nil, nil)
    } else {
      if try ExportedProgram.isProgram(files.open(path)) {
        throw Self.ownModel("a network by torch.export with its own weights", path)
      }
      let archive = try TensorArchive.open(path, files: files)
      if archive.metadata["format"] == CheckpointFile.format {
        throw Self.ownModel("a checkpoint that carries its model", path)
      }
      tensors = Self.unwrapped(archive.tensors, of: names)
      epoch = Self.number(["epoch", "epochs"], archive.metadata)
      step = Self.number(["step", "global_step", "steps"], archive.metadata)
    }
    bytes = tensors.values.reduce(0) { $0 + $1.byteCount }
  }

  private static func number(_ keys: [String], _ metadata: [String: String]) -> Int? {
    keys.lazy.compactMap { metadata[$0].flatMap { Int($0) } }.first
  }

  private static func ownModel(_ found: String, _ path: String) -> CheckpointError {
    CheckpointError(
      .otherFormat(found: found, expected: "parameters of another network"),
      at: .init(file: path), hint: "Leave out \(.model).")
  }

  private static func unwrapped(
    _ tensors: [String: StoredTensor], of names: some Collection<String>
  ) -> [String: StoredTensor] {
    if names.contains(where: { tensors[$0] != nil }) { return tensors }
    let wrappers: Set<Substring> = [
      "model", "module", "_orig_mod", "state_dict", "model_state_dict", "network", "net",
    ]
    for name in names.sorted() {
      let found = tensors.keys.filter { $0.hasSuffix("." + name) }.map { $0.dropLast(name.count) }
      let prefixes = found.filter { prefix in
        prefix.split(separator: ".").allSatisfy(wrappers.contains)
      }
      guard let prefix = prefixes.min(by: { ($0.count, $0) < ($1.count, $1) }) else { continue }
      return Dictionary(
        uniqueKeysWithValues: tensors.filter { $0.key.hasPrefix(prefix) }
          .map { (String($0.key.dropFirst(prefix.count)), $0.value) })
    }
    // The network was exported in a wrapper, and saved without it.
    for wrapper in wrappers.sorted() where names.allSatisfy({ $0.hasPrefix(wrapper + ".") }) {
      if names.contains(where: { tensors[String($0.dropFirst(wrapper.count + 1))] != nil }) {
        return Dictionary(
          uniqueKeysWithValues: tensors.map { (wrapper + "." + $0.key, $0.value) })
      }
    }
    return tensors
  }

  /// Everything in which it is not of a network, as PyTorch says it: all at once.
  ///
  /// - Parameters:
  ///   - parameters: Of the graph.
  ///   - others: Names that may be there.
  static func check(
    _ tensors: [String: StoredTensor], _ parameters: [ParameterSpec], others: Set<String>,
    path: String
  ) throws(CheckpointError) {
    let missing = parameters.map(\.name).filter { tensors[$0] == nil }.sorted()
    let known = Set(parameters.map(\.name)).union(others)
    let unexpected = tensors.keys.filter { !known.contains($0) }.sorted()
    let misshapen = parameters.filter { spec in
      tensors[spec.name].map { $0.shape != spec.shape } ?? false
    }
    if missing.isEmpty && unexpected.isEmpty && misshapen.isEmpty { return }
    throw CheckpointError(
      .otherStateDict(
        missing: missing, unexpected: unexpected,
        misshapen: misshapen.map {
          .init(name: $0.name, found: tensors[$0.name]?.shape ?? [], expected: $0.shape)
        }), at: .init(file: path),
      hint: "It is the state_dict of another network, or of another version of it.")
  }
}
