/// A Hugging Face model: a folder with `config.json` and its weights, in one file or in shards
/// that an index lists.
public struct ModelDirectory: Sendable {
  /// Where weights may be; the first that is there is read.
  static let weightFiles = [
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
    "pytorch_model.bin.index.json",
  ]

  /// The path as it was given.
  public let path: String
  /// `config.json`; paths in its errors begin with `config`.
  public let config: JSONValue
  /// Weights by the name in the model's state_dict; of all shards, none read yet.
  public let tensors: [String: StoredTensor]

  /// - Throws: `CheckpointError`: of the folder, of `config.json`, of the index or of a file of
  ///   weights; a weight that its shard lacks is `missingTensor`.
  public static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> ModelDirectory {
    try ModelDirectory(Folder(path, files: files))
  }

  init(_ folder: Folder) throws(CheckpointError) {
    path = folder.path
    let isAdapter =
      folder.first(["config.json"]) == nil
      && folder.first([AdapterDirectory.configFile]) != nil
    config = try folder.json(
      "config.json",
      hint: isAdapter
        ? "This folder holds an adapter: give the folder of its base model as \(.model)."
        : "A model's folder holds config.json and model.safetensors, as save_pretrained() writes.")
    _ = try config.keys()
    tensors = try Self.weights(folder)
  }

  /// The weights of a folder, whatever else is in it, as a Trainer may leave them without a
  /// configuration.
  public static func weights(
    in path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> [String: StoredTensor] {
    try weights(Folder(path, files: files))
  }

  private static func weights(_ folder: Folder) throws(CheckpointError) -> [String: StoredTensor] {
    guard let name = folder.first(weightFiles) else {
      throw CheckpointError(
        .missingFiles(weightFiles, what: "file of weights"), at: .init(file: folder.path),
        hint: "Save the model with save_pretrained().")
    }
    return name.hasSuffix(".json")
      ? try sharded(name, folder) : try folder.tensors(name).tensors
  }

  /// All weights that the index lists, each from its shard.
  private static func sharded(
    _ name: String, _ folder: Folder
  ) throws(CheckpointError) -> [String: StoredTensor] {
    let index = try folder.json(name)
    let map = index["weight_map"]
    var shards: [String: TensorArchive] = [:]
    var result: [String: StoredTensor] = [:]
    for weight in try map.keys() {
      let shard = try map[weight].string()
      // A shard is in the folder itself; no index leads elsewhere.
      if shard.isEmpty || shard.contains("/") || shard.contains("\0") || shard == ".." {
        throw map[weight].wrong("the name of a file in the same folder")
      }
      let archive: TensorArchive
      if let known = shards[shard] {
        archive = known
      } else {
        archive = try Self.shard(shard, folder, index: name)
        shards[shard] = archive
      }
      result[weight] = try archive.tensor(weight)
    }
    try requireUnique(result, shards)
    return result
  }

  /// A weight that two shards hold has two contents, whichever of them the index names.
  private static func requireUnique(
    _ weights: [String: StoredTensor], _ shards: [String: TensorArchive]
  ) throws(CheckpointError) {
    for (_, archive) in shards.sorted(by: { $0.key < $1.key }) {
      for (name, tensor) in archive.tensors.sorted(by: { $0.key < $1.key }) {
        guard let chosen = weights[name], chosen.file != archive.path else { continue }
        throw CheckpointError(
          .sameThing("the weight \(name)", other: "that of \(chosen.file)"), at: tensor.location,
          hint: "Save the model again with save_pretrained().")
      }
    }
  }

  private static func shard(
    _ name: String, _ folder: Folder, index: String
  ) throws(CheckpointError) -> TensorArchive {
    do throws(CheckpointError) {
      return try folder.tensors(name)
    } catch {
      throw error.problem == .fileMissing
        ? CheckpointError(
          error.problem, at: error.location,
          hint: "\(index) lists it as a shard; copy it into the folder.") : error
    }
  }
}

extension ModelDirectory {
  /// The weight of this name.
  ///
  /// - Throws: `missingTensor` with the names that come near.
  public func tensor(_ name: String) throws(CheckpointError) -> StoredTensor {
    if let tensor = tensors[name] { return tensor }
    throw CheckpointError(
      .missingTensor(name, near: nearMisses(name, among: tensors.keys)), at: .init(file: path))
  }
}
