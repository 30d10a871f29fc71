import Checkpoints
import Foundation
import Models

/// Where a model and its parameters come from: a checkpoint.bin, a Hugging Face folder with a PEFT
/// adapter on it, or a description with parameters made in memory. Everything is named tensors and a description; no number is read.
package struct CheckpointSource: Sendable {
  /// As it was given.
  package let path: String
  /// The folder of the adapter, if there is one.
  package let adapterPath: String?
  package let epoch: Int?
  package let step: Int?
  /// The name of the loss.
  package let loss: String
  /// Patterns over parameter names; `nil` where the file leaves it to the model.
  package let trainable: [Glob]?
  /// By the names of the model's state_dict, the adapter's in place of the base model's.
  package let parameters: [String: StoredTensor]
  /// Names of the parameters that the adapter's file brings.
  package let adapterParameters: Set<String>
  /// Everything under `batch.` of a checkpoint.bin.
  package let batch: [String: StoredTensor]
  package let updates: [StoredUpdate]
  /// Of the file, or of all tensors of a folder.
  package let bytes: Int
  private let description: Description

  private enum Description: Sendable {
    case file(CheckpointFile)
    case folder(type: String, config: JSONValue, adapter: JSONValue?)
    case model(JSONValue)
  }

  /// Opens what is at `path`; a folder is a Hugging Face model.
  ///
  /// - Parameter memory: Bytes that numbers may take which cannot be read where they lie.
  package init(
    path: String, adapter: String? = nil, memory: Int = .max
  ) throws(CheckpointError) {
    var isFolder: ObjCBool = false
    if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue {
      try self.init(
        folder: ModelDirectory.open(path, memory: memory), adapter: adapter, memory: memory)
      return
    }
    let file = try CheckpointFile.open(path)
    if adapter != nil {
      throw CheckpointError(
        .otherFormat(
          found: "a self-contained checkpoint", expected: "a Hugging Face folder under an adapter"),
        at: .init(file: path), hint: "Leave out --adapter, or give the folder of the base model.")
    }
    self.init(file: file, path: path, bytes: try MappedFile(path: path).bytes.count)
  }

  private init(file: CheckpointFile, path: String, bytes: Int) {
    self.path = path
    adapterPath = nil
    (epoch, step, loss) = (file.epoch, file.step, file.loss)
    trainable = file.archive.metadata["trainable"] == nil ? nil : file.trainable
    parameters = CheckpointSource.renamed(file)
    adapterParameters = []
    batch = file.batch
    updates = StoredUpdate.all(in: file)
    self.bytes = bytes
    description = .file(file)
  }

  /// A model by its description alone, before any training.
  ///
  /// - Parameter parameters: One for each of the model's, by name.
  init(
    path: String, description: JSONValue, loss: String, parameters: [String: StoredTensor]
  ) {
    self.path = path
    adapterPath = nil
    (epoch, step, self.loss) = (0, 0, loss)
    trainable = nil
    self.parameters = parameters
    adapterParameters = []
    batch = [:]
    updates = []
    bytes = parameters.values.reduce(0) { $0 + $1.byteCount }
    self.description = .model(description)
  }

  private init(
    folder: ModelDirectory, adapter path: String?, memory: Int
  ) throws(CheckpointError) {
    let type = try folder.config["model_type"].string()
    var adapter: AdapterDirectory?
    if let path { adapter = try AdapterDirectory.open(path, memory: memory) }
    var parameters = folder.tensors
    var adapterParameters: Set<String> = []
    for (name, tensor) in adapter?.tensors ?? [:] {
      guard let name = Model.parameterName(ofAdapterTensor: name, modelType: type) else { continue }
      parameters[name] = tensor
      adapterParameters.insert(name)
    }
    self.path = folder.path
    adapterPath = path
    (epoch, step, loss) = (nil, nil, "cross_entropy")
    trainable = nil
    self.parameters = parameters
    self.adapterParameters = adapterParameters
    batch = [:]
    updates = []
    bytes = parameters.values.reduce(0) { $0 + $1.byteCount }
    description = .folder(type: type, config: folder.config, adapter: adapter?.config)
  }

  /// A file of a Hugging Face model has the adapter's parameters by the names that PEFT gives them.
  private static func renamed(_ file: CheckpointFile) -> [String: StoredTensor] {
    guard let type = try? file.model["type"].string(), ["vit", "t5"].contains(type) else {
      return file.parameters
    }
    var parameters: [String: StoredTensor] = [:]
    for (name, tensor) in file.parameters {
      guard let own = Model.parameterName(ofAdapterTensor: name, modelType: type) else { continue }
      // What PEFT has wrapped counts, not the base model's parameter of that name.
      if own != name || parameters[own] == nil { parameters[own] = tensor }
    }
    return parameters
  }

  /// The batch that a checkpoint.bin carries.
  package func batchData() throws(CheckpointError) -> DataFile? {
    if batch.isEmpty { return nil }
    return try DataFile(path: path, arrays: batch, prefix: "batch.")
  }

  /// - Parameter data: For models whose graph depends on lengths.
  package func model(_ data: DataFile?) throws(CheckpointError) -> Model {
    switch description {
    case .file(let file): try Model(file.model, data: data)
    case .model(let description): try Model(description, data: data)
    case .folder(let type, let config, let adapter):
      try Model(type: type, config: config, adapter: adapter, data: data)
    }
  }

  /// The model as the metadata of a checkpoint.bin describe it.
  package func modelDescription() throws(CheckpointError) -> JSONContent {
    switch description {
    case .file(let file): return try file.model.content()
    case .model(let description): return try description.content()
    case .folder(let type, let config, let adapter):
      var members = ["type": JSONContent.string(type), "config": try config.content()]
      if let adapter { members["adapter"] = try adapter.content() }
      return .object(members)
    }
  }

  /// The parameter of this name.
  ///
  /// - Throws: `missingTensor` with the names that come near.
  package func parameter(_ name: String) throws(CheckpointError) -> StoredTensor {
    if let tensor = parameters[name] { return tensor }
    let prefix = batchPrefix
    let near = nearMisses(name, among: parameters.keys).map { prefix + $0 }
    let file = adapterPath.map { name.contains("lora_") ? $0 : path } ?? path
    throw CheckpointError(.missingTensor(prefix + name, near: near), at: .init(file: file))
  }

  private var batchPrefix: String {
    if case .file = description { "params." } else { "" }
  }
}
