/// A PEFT adapter: a folder with `adapter_config.json` and the adapter's parameters.
public struct AdapterDirectory: Sendable {
  static let configFile = "adapter_config.json"
  /// Where parameters may be; the first that is there is read.
  static let weightFiles = ["adapter_model.safetensors", "adapter_model.bin"]
  /// What PEFT puts before the names of the model it wraps.
  static let prefix = "base_model.model."
  /// The one parameter of prompt tuning, which belongs to no module.
  static let promptEmbeddings = "prompt_embeddings"

  /// The path as it was given.
  public let path: String
  /// `adapter_config.json`; paths in its errors begin with `adapter_config`.
  public let config: JSONValue
  /// Parameters by name without the leading `base_model.model.`; none read yet.
  public let tensors: [String: StoredTensor]

  /// Whether the folder holds an adapter.
  public static func isAdapter(_ path: String, files: InputFiles = InputFiles()) -> Bool {
    files.isFolder(path) && (try? Folder(path, files: files))?.first([configFile]) != nil
  }

  /// - Throws: `CheckpointError`: of the folder, of a file in it, or naming the tensor that has
  ///   no place in an adapter.
  public static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> AdapterDirectory {
    try AdapterDirectory(Folder(path, files: files))
  }

  init(_ folder: Folder) throws(CheckpointError) {
    path = folder.path
    config = try folder.json(
      Self.configFile,
      hint: "An adapter's folder holds adapter_config.json and adapter_model.safetensors.")
    _ = try config.keys()
    guard let name = folder.first(Self.weightFiles) else {
      throw CheckpointError(
        .missingFiles(Self.weightFiles, what: "file of adapter parameters"),
        at: .init(file: path), hint: "Save the adapter with save_pretrained().")
    }
    let type = try config["peft_type"].string()
    var tensors: [String: StoredTensor] = [:]
    for (name, tensor) in try folder.tensors(name).tensors.sorted(by: { $0.key < $1.key }) {
      tensors[try Self.bare(name, tensor, type)] = tensor
    }
    self.tensors = tensors
  }

  /// The name in the base model's terms.
  private static func bare(
    _ name: String, _ tensor: StoredTensor, _ type: String
  ) throws(CheckpointError) -> String {
    if name.hasPrefix(prefix) && name != prefix && name != prefix + promptEmbeddings {
      return String(name.dropFirst(prefix.count))
    }
    let isPrompt = type == "PROMPT_TUNING"
    if isPrompt && name == promptEmbeddings { return name }
    // Of kinds that are not read the names are not known: it is the kind that is refused.
    if !isPrompt && type != "LORA" { return name }
    throw CheckpointError(
      .unexpectedTensor(near: []), at: tensor.location,
      hint: isPrompt
        ? "Prompt tuning has the tensor \(promptEmbeddings)."
        : "The names of an adapter's parameters begin with \(prefix)")
  }
}

extension AdapterDirectory {
  /// The parameter of this name, given without the leading `base_model.model.`.
  ///
  /// - Throws: `missingTensor` with the names that come near.
  public func tensor(_ name: String) throws(CheckpointError) -> StoredTensor {
    if let tensor = tensors[name] { return tensor }
    throw CheckpointError(
      .missingTensor(name, near: nearMisses(name, among: tensors.keys)), at: .init(file: path))
  }
}
