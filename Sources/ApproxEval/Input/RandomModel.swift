import Checkpoints
import Foundation
import GraphModule
import Models
import TensorModule

/// A model of a family, of a given config.json with random weights, and on wish an adapter: folders
/// as Transformers and PEFT write them, to try a run of full size without a download.
///
/// Scales are those of the two libraries (`ModelFamily.start`). Equal seeds give equal tensors: each is
/// a function of the seed and its own name.
public struct RandomModel {
  /// What is put on the model.
  public enum Adapter: Sendable, Equatable {
    /// LoRA: a product of two narrow matrices beside each of some linear layers.
    case lowRank(LowRank)
    /// Prompt tuning with so many virtual tokens.
    case prompt(tokens: Int)
  }

  /// Settings of LoRA, in PEFT's words.
  public struct LowRank: Sendable, Equatable {
    /// Columns of the first matrix, PEFT's `r`.
    public var rank: Int
    /// The change is scaled by `alpha / rank`.
    public var alpha: Double
    /// Names of linear layers, whole or the end after a dot; `nil`: query and value.
    public var targets: [String]?
    /// Biases that train beside the matrices.
    public var bias: Bias

    /// With PEFT's defaults.
    public init(rank: Int = 8, alpha: Double = 8, targets: [String]? = nil, bias: Bias = .none) {
      (self.rank, self.alpha, self.targets, self.bias) = (rank, alpha, targets, bias)
    }
  }

  /// Which biases an adapter trains, in PEFT's words.
  public enum Bias: String, Sendable, CaseIterable {
    /// No bias trains.
    case none
    /// All biases of the model.
    case all
    /// Those of the adapted layers.
    case adapted = "lora_only"
  }

  /// What PEFT calls task_type; with prompt tuning it decides how labels are padded.
  public enum Task: String, Sendable, CaseIterable {
    /// A decoder alone: labels get places for the virtual tokens.
    case causalLM = "CAUSAL_LM"
    /// An encoder with a decoder, whose labels stay as they are.
    case sequenceToSequence = "SEQ_2_SEQ_LM"
  }

  /// That of its family.
  public let type: String
  /// Whether it takes virtual tokens, and a task for them.
  public let takesPrompt: Bool
  /// Of the model without the adapter.
  public let baseParameters: Int
  /// What an evaluation would train: the adapter's parameters and the biases it names.
  public let trainableParameters: Int
  /// Of the model with the adapter.
  public let allParameters: Int
  /// Linear layers of the model: what LoRA can change, by the names that versions of Transformers have for
  /// them.
  public let linearLayers: [String]

  private let family: ModelFamily
  private let configuration: MappedFile
  private let config: JSONValue
  private let base: [ParameterSpec]
  private let adapterConfig: JSONContent?
  /// By the name in the adapter's file.
  private let adapterTensors: [(name: String, spec: ParameterSpec)]
  private let seed: UInt64
  private let pool: WorkerPool

  /// Reads a config.json, or that of a folder; makes no number yet.
  ///
  /// - Parameter task: `nil`: SEQ_2_SEQ_LM for T5, CAUSAL_LM for decoders, nothing for others.
  public init(
    config path: String, adapter: Adapter? = nil, task: Task? = nil,
    seed: UInt64 = EvaluationOptions().seed, threads: Int = EvaluationOptions().threads
  ) throws(CheckpointError) {
    configuration = try Self.open(path)
    config = try JSONValue(
      parsing: String(decoding: configuration.bytes, as: UTF8.self), name: "config",
      file: configuration.path)
    type = try config["model_type"].string()
    let model = try Model(type: type, config: config, adapter: nil, data: nil)
    guard let family = ModelFamily.named(type) else {
      preconditionFailure("RandomModel: a model of no family")
    }
    self.family = family
    takesPrompt = family.takesPrompt
    base = model.graph.parameters
    baseParameters = base.reduce(0) { $0 + $1.count }
    let layers = model.graph.nodes.filter { $0.operation is Linear }.map(\.name)
    linearLayers = layers + layers.flatMap(family.otherNames)
    self.seed = seed
    pool = WorkerPool(threads: threads)
    guard let adapter else {
      (adapterConfig, adapterTensors) = (nil, [])
      (trainableParameters, allParameters) = (baseParameters, baseParameters)
      return
    }
    let content = try Self.configuration(adapter, task: task, family, config)
    adapterConfig = content
    let adapted = try Model(
      type: type, config: config,
      adapter: JSONValue(content, name: "adapter_config", file: configuration.path), data: nil)
    let trained = adapted.graph.parameters.filter { adapted.adapted!.contains($0.name) }
    trainableParameters = trained.reduce(0) { $0 + $1.count }
    allParameters = adapted.graph.parameters.reduce(0) { $0 + $1.count }
    // A file has the names of the version that its targets are of.
    var isOther = false
    if case .lowRank(let change) = adapter {
      isOther = !(change.targets ?? []).allSatisfy { target in
        layers.contains { ("." + $0).hasSuffix("." + target) }
      }
    }
    adapterTensors = Self.fileNames(trained) { isOther ? family.otherNames($0).first ?? $0 : $0 }
  }

  /// Writes config.json and model.safetensors.
  public func writeModel(to folder: String) throws(CheckpointError) {
    try copyConfiguration(to: folder)
    var writer = SafetensorsWriter(metadata: ["format": "pt"])
    for spec in base { add(spec, as: spec.name, to: &writer) }
    try writer.write(to: joined(folder, "model.safetensors"))
  }

  /// Writes adapter_config.json and adapter_model.safetensors.
  ///
  /// - Precondition: There is an adapter.
  public func writeAdapter(to folder: String) throws(CheckpointError) {
    guard let adapterConfig else { preconditionFailure("RandomModel: there is no adapter") }
    var files = OutputFiles()
    files.add(joined(folder, "adapter_config.json"), adapterConfig.text + "\n")
    try files.write()
    var writer = SafetensorsWriter(metadata: ["format": "pt"])
    for (name, spec) in adapterTensors { add(spec, as: name, to: &writer) }
    try writer.write(to: joined(folder, "adapter_model.safetensors"))
  }

  /// The file with weights that is in the folder already, if one is.
  public static func weights(in folder: String) -> String? {
    [
      "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin",
      "pytorch_model.bin.index.json", "adapter_model.safetensors", "adapter_model.bin",
    ].first { POSIXFileSystem().exists(joined(folder, $0)) }
  }
}

// MARK: - Files

extension RandomModel {
  private static func open(_ path: String) throws(CheckpointError) -> MappedFile {
    let files = InputFiles()
    return try files.open(files.isFolder(path) ? joined(path, "config.json") : path)
  }

  /// Byte by byte.
  private func copyConfiguration(to folder: String) throws(CheckpointError) {
    var files = OutputFiles()
    files.add(
      joined(folder, "config.json"), String(decoding: configuration.bytes, as: UTF8.self))
    try files.write()
  }

  private func add(_ spec: ParameterSpec, as name: String, to writer: inout SafetensorsWriter) {
    let start = family.start(spec, config)
    let random = NamedRandom(seed: seed, name: spec.name)
    writer.add(name, shape: spec.shape) { elements, target in
      let block = 1 << 16
      pool.run((elements.count + block - 1) / block) { task, _ in
        let first = elements.lowerBound + task * block
        start.fill(
          first..<min(first + block, elements.upperBound), random, into: target + task * block)
      }
    }
  }
}

// MARK: - Adapters

extension RandomModel {
  private static func configuration(
    _ adapter: Adapter, task: Task?, _ family: ModelFamily, _ config: JSONValue
  ) throws(CheckpointError) -> JSONContent {
    let task = task ?? family.adapterTask.flatMap(Task.init(rawValue:))
    var members: [String: JSONContent] = [
      "auto_mapping": .null, "base_model_name_or_path": .null, "inference_mode": .bool(true),
      "revision": .null, "task_type": task.map { .string($0.rawValue) } ?? .null,
    ]
    switch adapter {
    case .lowRank(let change):
      let targets = change.targets ?? family.adapterTargets
      members.merge([
        "peft_type": .string("LORA"), "r": .integer(change.rank),
        "lora_alpha": Int(exactly: change.alpha).map { .integer($0) } ?? .real(change.alpha),
        "target_modules": .array(targets.map { .string($0) }),
        "bias": .string(change.bias.rawValue), "lora_dropout": .real(0),
        "fan_in_fan_out": .bool(false), "init_lora_weights": .bool(true),
        "use_rslora": .bool(false), "rank_pattern": .object([:]), "alpha_pattern": .object([:]),
        "layers_pattern": .null, "layers_to_transform": .null, "modules_to_save": .null,
      ]) { $1 }
    case .prompt(let tokens):
      members.merge([
        "peft_type": .string("PROMPT_TUNING"), "num_virtual_tokens": .integer(tokens),
        "prompt_tuning_init": .string("RANDOM"), "prompt_tuning_init_text": .null,
        "num_transformer_submodules": .integer(task == .causalLM ? 1 : 2),
        "num_layers": .integer(
          try Self.first(["num_layers", "num_hidden_layers", "n_layer"], config, default: 6)),
        "num_attention_heads": .integer(
          try Self.first(["num_heads", "num_attention_heads", "n_head"], config, default: 8)),
        "token_dim": .integer(
          try Self.first(["d_model", "hidden_size", "n_embd"], config, default: 512)),
        "tokenizer_name_or_path": .null,
      ]) { $1 }
    }
    return .object(members)
  }

  /// The first of these settings that is there.
  private static func first(
    _ names: [String], _ config: JSONValue, default standard: Int
  ) throws(CheckpointError) -> Int {
    for name in names where config[name].exists { return try config[name].integer() }
    return standard
  }

  /// The names under which PEFT saves what an adapter trains. A bias of a layer that LoRA changes
  /// is that of the wrapped layer; other parameters than biases it does not save.
  ///
  /// - Parameter spelt: A module's name in the file.
  private static func fileNames(
    _ trained: [ParameterSpec], _ spelt: (String) -> String
  ) -> [(name: String, spec: ParameterSpec)] {
    let factors = [".lora_A.weight", ".lora_B.weight"]
    let changed = Set(
      trained.compactMap { spec in
        spec.name.hasSuffix(factors[0]) ? String(spec.name.dropLast(factors[0].count)) : nil
      })
    return trained.compactMap { spec in
      if spec.name == "prompt_embeddings" { return (spec.name, spec) }
      let prefix = "base_model.model."
      if let factor = factors.first(where: spec.name.hasSuffix) {
        return (prefix + spelt(String(spec.name.dropLast(factor.count))) + factor, spec)
      }
      guard spec.name.hasSuffix(".bias") else { return nil }
      let module = String(spec.name.dropLast(5))
      return (
        prefix + spelt(module) + (changed.contains(module) ? ".base_layer" : "") + ".bias", spec
      )
    }
  }
}
