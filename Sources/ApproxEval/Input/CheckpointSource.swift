import Checkpoints
import Models

/// Where a model and its parameters come from: a checkpoint.bin, a Hugging Face folder with a PEFT
/// adapter on it, a network by torch.export with its own weights or a state_dict, or a description
/// with parameters made in memory. Everything is named tensors and a description; no number is read.
package struct CheckpointSource: Sendable {
  /// Of the model's weights, as it was given.
  package let path: String
  /// The folder of the adapter, if there is one.
  package let adapterPath: String?
  /// What the weights or the adapter are parameters of, where that lies elsewhere.
  package let base: String?
  package let epoch: Int?
  package let step: Int?
  /// The name of the loss.
  package let loss: String
  /// Whether a file names it; where none does, Transformers goes by the type of the labels.
  package let namesLoss: Bool
  /// What else the checkpoint says of it.
  package let lossSettings: LossSettings
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
    case program(ExportedProgram)
  }

  /// Opens what is at `path`: a checkpoint that carries its model, or parameters of `model`.
  ///
  /// - Parameters:
  ///   - adapter: A PEFT adapter on a Hugging Face folder at `path`.
  ///   - model: A network by torch.export, of which `path` is a state_dict, or a Hugging Face folder,
  ///     of which it is an adapter or the weights.
  ///   - loss: Its name, for what names none.
  ///   - task: What the head of a language model is for, in place of what its configuration says.
  package init(
    path: String, adapter: String? = nil, model: String? = nil, loss: String? = nil,
    task: LanguageTask? = nil, files: InputFiles = InputFiles()
  ) throws(CheckpointError) {
    if let model {
      try self.init(path: path, of: model, adapter: adapter, loss: loss, task: task, files)
    } else if let program = try Self.program(path, files) {
      try Self.requireNoAdapter(adapter, path)
      if let task { throw Self.needless(task, path) }
      try self.init(program, path: path, state: nil, loss: loss, files)
      return
    } else {
      try self.init(described: path, adapter: adapter, task: task, files: files)
    }
    if case .program = description { return }
    if let loss, loss != self.loss {
      throw CheckpointError(
        .unexpectedSetting(.loss, found: loss, expected: "the checkpoint's own, \(self.loss)"),
        at: .init(file: path), hint: "Leave it out: the checkpoint has its loss.")
    }
  }

  /// What is at `path` in place of the parameters of a model, or on them.
  private init(
    path: String, of model: String, adapter: String?, loss: String?, task: LanguageTask?,
    _ files: InputFiles
  ) throws(CheckpointError) {
    if files.isFolder(model) {
      let folder = try ModelDirectory.open(model, files: files)
      if adapter == nil && AdapterDirectory.isAdapter(path, files: files) {
        try self.init(folder: folder, adapter: path, task: task, files: files)
      } else {
        let state = try StateDict(path, files: files)
        try self.init(
          folder: folder, adapter: adapter, state: state, task: task, files: files)
      }
      return
    }
    guard let program = try Self.program(model, files) else {
      throw CheckpointError(
        .otherFormat(
          found: "no archive by torch.export.save and no folder",
          expected: "a model whose checkpoints are given"),
        at: .init(file: model),
        hint: "Leave out \(.model), or name a .pt2 file or the folder of a Hugging Face model.")
    }
    try Self.requireNoAdapter(adapter, model)
    if let task { throw Self.needless(task, model) }
    let state = try StateDict(path, files: files)
    try self.init(program, path: path, state: state, loss: loss, files)
  }

  private init(
    described path: String, adapter: String?, task: LanguageTask?, files: InputFiles
  ) throws(CheckpointError) {
    if files.isFolder(path) {
      try self.init(
        folder: ModelDirectory.open(path, files: files), adapter: adapter, task: task, files: files)
      return
    }
    if let task { throw Self.needless(task, path) }
    let file = try CheckpointFile.open(path, files: files)
    if adapter != nil {
      throw CheckpointError(
        .otherFormat(
          found: "a self-contained checkpoint", expected: "a Hugging Face folder under an adapter"),
        at: .init(file: path), hint: "Leave out \(.adapter), or give the folder of the base model.")
    }
    try self.init(file: file, path: path, files: files)
  }

  private init(
    file: CheckpointFile, path: String, files: InputFiles
  ) throws(CheckpointError) {
    if let graph = file.onnx, (try? file.model["type"].string()) != "onnx" {
      throw CheckpointError(
        .unexpectedTensor(near: []), at: graph.location,
        hint: "The metadata describe another model than this graph: leave one of the two out.")
    }
    self.path = path
    (adapterPath, base) = (nil, nil)
    let place = try TrainingPlace(path: path, epoch: file.epoch, step: file.step, files: files)
    (epoch, step) = (place.epoch, place.step)
    (loss, namesLoss) = try CheckpointSource.loss(of: file)
    lossSettings = file.lossSettings
    trainable = file.archive.metadata["trainable"] == nil ? nil : file.trainable
    parameters = try CheckpointSource.renamed(file)
    adapterParameters = []
    batch = file.batch
    updates = StoredUpdate.all(in: file)
    bytes = try files.open(path).bytes.count
    description = .file(file)
  }

  /// The network by torch.export that is at the path, if one is.
  private static func program(
    _ path: String, _ files: InputFiles
  ) throws(CheckpointError) -> ExportedProgram? {
    if files.isFolder(path) { return nil }
    if try !ExportedProgram.isProgram(files.open(path)) { return nil }
    return try ExportedProgram.open(path, files: files)
  }

  /// - Parameter state: In place of the weights of the archive.
  private init(
    _ program: ExportedProgram, path: String, state: StateDict?, loss: String?, _ files: InputFiles
  ) throws(CheckpointError) {
    self.path = path
    adapterPath = nil
    base = state == nil ? nil : program.path
    let place = try TrainingPlace(path: path, files: files)
    (epoch, step) = (state?.epoch ?? place.epoch, state?.step ?? place.step)
    (self.loss, namesLoss) = (loss ?? CheckpointFile.losses[0], loss != nil)
    lossSettings = LossSettings()
    trainable = nil
    let own = program.weights.mapValues(\.tensor)
    parameters = state.map { $0.tensors(named: own.keys) } ?? own
    adapterParameters = []
    batch = [:]
    updates = []
    bytes = parameters.values.reduce(0) { $0 + $1.byteCount }
    description = .program(program)
  }

  /// A model by its description alone, before any training.
  ///
  /// - Parameter parameters: One for each of the model's, by name.
  init(
    path: String, description: JSONValue, loss: String, parameters: [String: StoredTensor]
  ) {
    self.path = path
    (adapterPath, base) = (nil, nil)
    (epoch, step, self.loss) = (0, 0, loss)
    (namesLoss, lossSettings) = (true, LossSettings())
    trainable = nil
    self.parameters = parameters
    adapterParameters = []
    batch = [:]
    updates = []
    bytes = parameters.values.reduce(0) { $0 + $1.byteCount }
    self.description = .model(description)
  }

  /// - Parameter state: In place of the weights of the folder.
  private init(
    folder: ModelDirectory, adapter path: String?, state: StateDict? = nil, task: LanguageTask?,
    files: InputFiles
  ) throws(CheckpointError) {
    let type = try folder.config["model_type"].string()
    let family = try ModelFamily.required(type, folder.config)
    var adapter: AdapterDirectory?
    if let path { adapter = try AdapterDirectory.open(path, files: files) }
    var config = folder.config
    if let task = task ?? adapter.flatMap({ family.task(ofAdapter: $0.config) }) {
      config = try family.config(config, for: task)
    }
    let unread =
      if let adapter {
        try Model.unreadAdapterTensors(modelType: type, adapter: adapter.config)
      } else { Set<String>() }
    let adapted = try Self.ownNames(
      (adapter?.tensors ?? [:]).filter { !unread.contains($0.key) }, modelType: type)
    let weights = state.map { $0.tensors(named: folder.tensors.keys) } ?? folder.tensors
    let parameters = family.named(weights).merging(adapted) { $1 }
    let adapterParameters = Set(adapted.keys)
    self.path = state?.path ?? folder.path
    adapterPath = path
    base = state == nil && path == nil ? nil : folder.path
    let place = try TrainingPlace(
      path: path ?? self.path, epoch: state?.epoch, step: state?.step, files: files)
    (epoch, step) = (place.epoch, place.step)
    let loss = try Model.loss(type: type, config: config)
    (self.loss, namesLoss) = (loss ?? CheckpointFile.losses[0], loss != nil)
    lossSettings = LossSettings()
    trainable = nil
    self.parameters = parameters
    self.adapterParameters = adapterParameters
    batch = [:]
    updates = []
    bytes = parameters.values.reduce(0) { $0 + $1.byteCount }
    description = .folder(type: type, config: config, adapter: adapter?.config)
  }

  /// The loss of a file, by its own word or by the configuration of its Hugging Face model.
  private static func loss(
    of file: CheckpointFile
  ) throws(CheckpointError) -> (name: String, isNamed: Bool) {
    guard let type = try? file.model["type"].string(), ModelFamily.named(type) != nil else {
      return (file.loss, true)
    }
    let config = file.model["config"]
    let configured = try Model.loss(type: type, config: config)
    if !file.namesLoss { return (configured ?? file.loss, configured != nil) }
    if let configured, config["problem_type"].exists, configured != file.loss {
      throw config["problem_type"].wrong(
        "what __metadata__.loss says, \(file.loss)", hint: "Leave one of the two out.")
    }
    return (file.loss, true)
  }

  /// A file of a Hugging Face model has the adapter's parameters by the names that PEFT gives them.
  private static func renamed(
    _ file: CheckpointFile
  ) throws(CheckpointError) -> [String: StoredTensor] {
    guard let type = try? file.model["type"].string(), ModelFamily.named(type) != nil else {
      return file.parameters
    }
    // A base model's parameter and what an adapter puts in its place lie beside each other, as the
    // two files would: by the model's own name the one, by another name the other, which counts.
    let isOwn = { Model.parameterName(ofAdapterTensor: $0, modelType: type) == $0 }
    let base = file.parameters.filter { isOwn($0.key) }
    let adapted = try ownNames(file.parameters.filter { !isOwn($0.key) }, modelType: type)
    return base.merging(adapted) { $1 }
  }

  /// Tensors by the model's own names of their parameters.
  ///
  /// PEFT itself stores some of them twice, as `fc.bias` and `fc.modules_to_save.bias`.
  ///
  /// - Throws: `sameThing` where two of them are one parameter and hold different numbers: which of
  ///   them counts, no file says.
  private static func ownNames(
    _ tensors: [String: StoredTensor], modelType: String
  ) throws(CheckpointError) -> [String: StoredTensor] {
    var result: [String: StoredTensor] = [:]
    for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
      guard let own = Model.parameterName(ofAdapterTensor: name, modelType: modelType) else {
        continue
      }
      if let other = result.updateValue(tensor, forKey: own),
        try !tensor.isCopy(of: other)
      {
        throw CheckpointError(
          .sameThing("the parameter \(own)", other: other.name), at: tensor.location,
          hint: "They hold different numbers: remove the one that the model does not use.")
      }
    }
    return result
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
    case .program(let program):
      try Model(
        program, weights: parameters, data: data,
        areClasses: loss == CheckpointFile.losses[0]
          && data?.labels.dtype.isFloatingPoint == false)
    case .folder(let type, let config, let adapter):
      try Model(type: type, config: config, adapter: adapter, data: data)
    }
  }

  /// The model as the metadata of a checkpoint.bin describe it.
  package func modelDescription() throws(CheckpointError) -> JSONContent {
    switch description {
    case .file(let file): return try file.model.content()
    case .model(let description): return try description.content()
    case .program(let program):
      throw CheckpointError(
        .otherFormat(
          found: "a network by torch.export", expected: "a model that a description can tell"),
        at: .init(file: program.path), hint: "Score the archive itself, with \(.data).")
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

  /// What was scored: the adapter where there is one.
  package var name: String { adapterPath ?? path }

  private var batchPrefix: String {
    if case .file = description { "params." } else { "" }
  }
}
