import Checkpoints
import Models

// Checkpoints whose model lies beside them: folders of Hugging Face, state_dicts of a model.

extension CheckpointSource {
  init(
    folder: ModelDirectory, adapter path: String?, task: LanguageTask?, files: InputFiles
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
    config = try ModelFamily.config(config, withHeadOf: adapted)
    let parameters = family.named(folder.tensors).merging(adapted) { $1 }
    let adapterParameters = Set(adapted.keys)
    self.path = folder.path
    adapterPath = path
    base = path == nil ? nil : folder.path
    let place = try TrainingPlace(path: path ?? folder.path, files: files)
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
    (classAxis, isStateDict) = (nil, false)
    description = .folder(type: type, config: config, adapter: adapter?.config)
  }

  /// A state_dict of a model that a description or the folder of a Hugging Face model tells of.
  init(
    state path: String, of model: String, adapter: String?, loss: String?, files: InputFiles
  ) throws(CheckpointError) {
    if adapter != nil {
      throw CheckpointError(
        .otherFormat(found: "a state_dict", expected: "a Hugging Face folder under an adapter"),
        at: .init(file: path), hint: "Leave out \(.adapter) or \(.model).")
    }
    let file = files.isFolder(model) ? model + "/config.json" : model
    let mapped = try files.open(file)
    // Behind spaces and line ends.
    guard mapped.bytes.first(where: { $0 > 32 }) == UInt8(ascii: "{") else {
      throw CheckpointError(
        .otherFormat(
          found: "neither an archive by torch.export.save nor JSON",
          expected: "a network whose state_dicts are given"),
        at: .init(file: model),
        hint: "Name a .pt2 file, the JSON description of a model, or a Hugging Face folder.")
    }
    let json = try JSONValue(parsing: mapped.bytes, name: "model", file: file)
    let type = json["model_type"].exists ? try json["model_type"].string() : nil
    let known =
      try? type.map { try Model(type: $0, config: json, adapter: nil, data: nil) } ?? Model(json)
    let state = try StateDict(path, of: known?.graph.parameters.map(\.name) ?? [], files)
    self.path = path
    adapterPath = nil
    base = model
    let place = try TrainingPlace(path: path, epoch: state.epoch, step: state.step, files: files)
    (epoch, step) = (place.epoch, place.step)
    let own = try type.flatMap { type throws(CheckpointError) in
      try Model.loss(type: type, config: json)
    }
    if let own, let loss, own != loss {
      throw CheckpointError(
        .unexpectedSetting(.loss, found: loss, expected: "the model's own, \(own)"),
        at: .init(file: file), hint: "Leave it out.")
    }
    (self.loss, namesLoss) = (own ?? loss ?? CheckpointFile.losses[0], (own ?? loss) != nil)
    lossSettings = LossSettings()
    trainable = nil
    parameters =
      try type.map { type throws(CheckpointError) in
        try Self.ownNames(state.tensors, modelType: type)
      } ?? state.tensors
    adapterParameters = []
    batch = [:]
    updates = []
    bytes = state.bytes
    (classAxis, isStateDict) = (nil, true)
    description = type.map { .folder(type: $0, config: json, adapter: nil) } ?? .model(json)
  }

  /// About a tensor that the folder under an adapter lacks.
  static let randomWeights =
    "Transformers begins what a base lacks with random numbers: save the base as it was when the adapter was "
    + "trained."

  static func needless(_ task: LanguageTask, _ path: String) -> CheckpointError {
    CheckpointError(
      .unexpectedSetting(
        .task, found: task.rawValue, expected: "nothing: the checkpoint has its head"),
      at: .init(file: path),
      hint: "Leave it out: only folders of Hugging Face can have another head.")
  }
}
