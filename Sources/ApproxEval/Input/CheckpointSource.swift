import Checkpoints
import Models

/// Where a model and its parameters come from: a checkpoint.bin, a Hugging Face folder with a PEFT
/// adapter on it, a network by torch.export with its own weights or a state_dict, or a description
/// with parameters made in memory. Everything is named tensors and a description; no number is read.
package struct CheckpointSource: Sendable {
  /// As it was given.
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
  let description: Description
  /// Whether the tensors are those of a state_dict beside the model.
  let isStateDict: Bool
  /// The output's dimension of classes, where it is given.
  let classAxis: Int?

  enum Description: Sendable {
    case file(CheckpointFile)
    case folder(type: String, config: JSONValue, adapter: JSONValue?)
    case model(JSONValue)
    case program(ExportedProgram)
    /// A network by torch.export in a checkpoint.bin.
    case packed(ExportedProgram, JSONValue)
  }

  /// Opens what is at `path`: a checkpoint that carries its model, or parameters of `model`.
  ///
  /// - Parameters:
  ///   - adapter: A PEFT adapter on a Hugging Face folder at `path`.
  ///   - model: A network by torch.export or a description, of which `path` is a state_dict, or a
  ///     Hugging Face folder, of which it is an adapter or the weights.
  ///   - loss: Its name, for what names none.
  ///   - classAxis: Of the output, for a network by torch.export.
  ///   - task: What the head of a language model is for, in place of what its configuration says.
  package init(
    path: String, adapter: String? = nil, model: String? = nil, loss: String? = nil,
    classAxis: Int? = nil, task: LanguageTask? = nil, files: InputFiles = InputFiles()
  ) throws(CheckpointError) {
    let program = try Self.program(path, model: model, adapter: adapter, files)
    if let program {
      if let task { throw Self.needless(task, path) }
      try self.init(
        program, path: path,
        state: model == nil ? nil : StateDict(path, of: program.weights.keys, files), loss: loss,
        classAxis: classAxis, files)
      return
    }
    let isAdapter = adapter == nil && AdapterDirectory.isAdapter(path, files: files)
    if let model, isAdapter, files.isFolder(model) {
      try self.init(described: model, adapter: path, task: task, files: files)
    } else if let model {
      if let task { throw Self.needless(task, path) }
      try self.init(state: path, of: model, adapter: adapter, loss: loss, files: files)
    } else {
      try self.init(described: path, adapter: adapter, task: task, files: files)
    }
    if classAxis != nil {
      throw CheckpointError(
        .unexpectedSetting(
          .classAxis, found: "\(classAxis!)", expected: "nothing: the model has its classes last"),
        at: .init(file: path), hint: "It is for networks by torch.export.")
    }
    if !isStateDict, let loss, loss != self.loss {
      throw CheckpointError(
        .unexpectedSetting(.loss, found: loss, expected: "the checkpoint's own, \(self.loss)"),
        at: .init(file: path), hint: "Leave it out: the checkpoint has its loss.")
    }
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
    isStateDict = false
    if (try? file.model["type"].string()) == Model.exported {
      let model = file.model
      try model.requireKeys(in: ["type", "tied", "class_axis"])
      guard let document = file.program else {
        throw CheckpointError(
          .missingTensor("model.pt2", near: []), at: .init(file: path),
          hint: "It holds the graph of a network by torch.export; pack writes it.")
      }
      let tied =
        model["tied"].exists
        ? try model["tied"].array().map { names throws(CheckpointError) in try names.strings() }
        : []
      classAxis = model["class_axis"].exists ? try model["class_axis"].integer() : nil
      description = .packed(
        try ExportedProgram(document: document, tensors: file.parameters, tied: tied), model)
    } else {
      classAxis = nil
      description = .file(file)
    }
  }

  /// The network that `path`, or else `model`, is.
  private static func program(
    _ path: String, model: String?, adapter: String?, _ files: InputFiles
  ) throws(CheckpointError) -> ExportedProgram? {
    let file = model ?? path
    var isProgram = false
    if !files.isFolder(file) { isProgram = try ExportedProgram.isProgram(files.open(file)) }
    if isProgram, adapter != nil {
      throw CheckpointError(
        .otherFormat(
          found: "a network by torch.export", expected: "a Hugging Face folder under an adapter"),
        at: .init(file: file), hint: "Leave out \(.adapter): export the network with its adapter.")
    }
    return isProgram ? try ExportedProgram.open(file, files: files) : nil
  }

  /// - Parameter state: A state_dict in place of the weights of the archive.
  private init(
    _ program: ExportedProgram, path: String, state: StateDict?, loss: String?, classAxis: Int?,
    _ files: InputFiles
  ) throws(CheckpointError) {
    self.path = path
    adapterPath = nil
    base = state == nil ? nil : program.path
    let place = try TrainingPlace(
      path: path, epoch: state?.epoch, step: state?.step, files: files)
    (epoch, step) = (place.epoch, place.step)
    isStateDict = state != nil
    (self.loss, namesLoss) = (loss ?? CheckpointFile.losses[0], loss != nil)
    lossSettings = LossSettings()
    trainable = nil
    let own = program.weights.mapValues(\.tensor)
    parameters = state?.tensors ?? own
    adapterParameters = []
    batch = [:]
    updates = []
    bytes = parameters.values.reduce(0) { $0 + $1.byteCount }
    self.classAxis = classAxis
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
    (classAxis, isStateDict) = (nil, false)
    self.description = .model(description)
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
  static func ownNames(
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
    case .program(let program), .packed(let program, _):
      try Model(
        program, weights: parameters, data: data,
        reading: OutputReading(
          labels: data.map { Array($0.labels.shape.dropFirst()) },
          areClasses: loss == CheckpointFile.losses[0]
            && data?.labels.dtype.isFloatingPoint == false, classAxis: classAxis))
    case .folder(let type, let config, let adapter):
      try Model(type: type, config: config, adapter: adapter, data: data)
    }
  }

  /// The model as the metadata of a checkpoint.bin describe it.
  package func modelDescription() throws(CheckpointError) -> JSONContent {
    switch description {
    case .file(let file): return try file.model.content()
    case .model(let description): return try description.content()
    case .packed(_, let description): return try description.content()
    case .program(let program):
      let tied = program.tiedWeights.map { JSONContent.array($0.map { .string($0) }) }
      var members = ["type": JSONContent.string(Model.exported)]
      if !tied.isEmpty { members["tied"] = .array(tied) }
      if let classAxis { members["class_axis"] = .integer(classAxis) }
      return .object(members)
    case .folder(let type, let config, let adapter):
      var members = ["type": JSONContent.string(type), "config": try config.content()]
      if let adapter { members["adapter"] = try adapter.content() }
      return .object(members)
    }
  }

  /// The network by torch.export, if it is one.
  var program: ExportedProgram? {
    switch description {
    case .program(let program), .packed(let program, _): program
    case .file, .folder, .model: nil
    }
  }

  /// A tensor that shapes the graph of such a network.
  func constant(_ name: String) -> StoredTensor? {
    parameters[name] ?? program?.weights[name]?.tensor ?? program?.constants[name]?.tensor
  }

  /// The parameter of this name.
  ///
  /// - Throws: `missingTensor` with the names that come near.
  package func parameter(_ name: String) throws(CheckpointError) -> StoredTensor {
    if let tensor = parameters[name] { return tensor }
    let prefix = batchPrefix
    let near = nearMisses(name, among: parameters.keys).map { prefix + $0 }
    let file = adapterPath.map { name.contains("lora_") ? $0 : path } ?? path
    throw CheckpointError(
      .missingTensor(prefix + name, near: near), at: .init(file: file),
      hint: adapterPath == nil || file != path || !near.isEmpty ? nil : Self.randomWeights)
  }

  /// What was scored: the adapter where there is one.
  package var name: String { adapterPath ?? path }

  private var batchPrefix: String {
    switch description {
    case .file, .packed: "params."
    case .folder, .model, .program: ""
    }
  }
}
