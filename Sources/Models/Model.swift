import Checkpoints
import GraphModule

/// A model of a checkpoint: its program, and what its files may carry beside the parameters.
package struct Model: Sendable {
  package let graph: Graph
  /// `sequential`, or that of a family, as in the checkpoint.
  package let type: String
  /// Tensors of a state_dict that no computation reads, such as `num_batches_tracked`.
  package let unreadTensors: Set<String>
  /// The parameters that an adapter brings or trains; `nil` without one.
  package let adapted: Set<String>?
  /// Parameters of the base model that train if the adapter's file brings them: which ones PEFT
  /// trains is a matter of its version.
  package let adaptedIfStored: Set<String>
  /// What PEFT counts among the trainable parameters though no computation reads it.
  package let unused: [UnusedParameter]
  /// How a model of tokens reads labels and masks; `nil` for others.
  package let sequence: SequenceRule?
  /// Tensors that shape the graph and are no parameters of it: masks, indices.
  package private(set) var constants: Set<String> = []
  /// The axis of one sample's output that runs over the classes, which the graph has last; `nil`: the
  /// last one.
  package private(set) var classAxis: Int?
  /// What is to be known of how the model was read.
  package private(set) var notes: [String] = []

  /// What descriptions and reports call a network by torch.export.
  package static let exported = "torch.export"
  private static let sequential = "sequential"
  package static let types = [sequential] + ModelFamily.all.map(\.type)

  /// Builds the model that `description` (the checkpoint's `model`) describes.
  ///
  /// - Parameter data: For models whose graph depends on lengths.
  /// - Throws: `CheckpointError` naming the place in the description.
  package init(_ description: JSONValue, data: DataFile? = nil) throws(CheckpointError) {
    let type = try description["type"].string()
    if type == Self.sequential {
      self = try SequentialBuilder.build(description)
      return
    }
    guard let family = ModelFamily.named(type) else {
      throw CheckpointError(
        .unknownName(what: "model type", found: type, known: Model.types),
        at: .init(file: description.file))
    }
    try description.requireKeys(in: ["type", "config", "adapter"])
    let adapter = description["adapter"].exists ? try Adapter(description["adapter"]) : nil
    self = try family.build(family, description["config"], adapter, data)
  }

  /// Builds a Hugging Face model from its configuration and, optionally, a PEFT configuration.
  package init(
    type: String, config: JSONValue, adapter: JSONValue?, data: DataFile?
  ) throws(CheckpointError) {
    var peft: Adapter?
    if let adapter { peft = try Adapter(adapter) }
    let family = try ModelFamily.required(type, config)
    self = try family.build(family, config, peft, data)
  }

  /// Builds the graph of a network by torch.export.
  ///
  /// - Parameters:
  ///   - weights: Its tensors by their names in the state_dict.
  ///   - data: What binds sizes other than the number of samples.
  /// - Throws: `CheckpointError` naming the node at fault and its line of Python.
  package init(
    _ program: ExportedProgram, weights: [String: StoredTensor], data: DataFile?,
    reading: OutputReading
  ) throws(CheckpointError) {
    self = try ProgramImporter.model(program, weights, data, reading)
  }

  /// Names of adapter tensors, without PEFT's prefix, that no computation reads under this
  /// configuration.
  package static func unreadAdapterTensors(
    modelType: String, adapter: JSONValue
  ) throws(CheckpointError) -> Set<String> {
    guard let family = ModelFamily.named(modelType),
      case .lowRank(let adapter) = try Adapter(adapter)
    else { return [] }
    return family.unreadTensors(adapter)
  }

  /// The loss that Transformers computes for a model of this configuration, by the name that a
  /// checkpoint has for it; `nil` where it goes by the type of the labels.
  package static func loss(type: String, config: JSONValue) throws(CheckpointError) -> String? {
    guard let family = ModelFamily.named(type) else { return nil }
    if config["loss_type"].exists, try !family.lossTypes.contains(config["loss_type"].string()) {
      throw config["loss_type"].wrong("nothing: other losses of Transformers are not computed")
    }
    return try family.loss(family, config)
  }

  /// The name in the model's state_dict of a tensor of an adapter file (without PEFT's prefix):
  /// modules by their names in Transformers 4, base layers and saved modules without PEFT's
  /// wrappers. `nil` for what a saved module has replaced, which no computation reads.
  package static func parameterName(
    ofAdapterTensor name: String, modelType: String
  ) -> String? {
    guard let family = ModelFamily.named(modelType) else { return ModelFamily.unwrapped(name) }
    return family.parameterName(name)
  }

  /// What kind of adapter is on it; `nil` without one.
  package var adapterKind: AdapterKind? { adapted.flatMap(AdapterKind.init(parameters:)) }

  init(
    graph: Graph, type: String, unreadTensors: Set<String>, adapted: Set<String>? = nil,
    adaptedIfStored: Set<String> = [], unused: [UnusedParameter] = [],
    sequence: SequenceRule? = nil, constants: Set<String> = [], classAxis: Int? = nil,
    notes: [String] = []
  ) {
    self.graph = graph
    self.type = type
    self.unreadTensors = unreadTensors
    self.adapted = adapted
    self.adaptedIfStored = adaptedIfStored
    self.unused = unused
    self.sequence = sequence
    (self.constants, self.classAxis, self.notes) = (constants, classAxis, notes)
  }
}

/// How the output of a network is read.
package struct OutputReading: Sendable {
  /// The shape of one sample's labels, if there are any.
  package var labels: [Int]?
  /// Whether they are numbers of classes.
  package var areClasses: Bool
  /// The dimension of the classes as PyTorch counts it, with the samples as 0, negative from the end;
  /// `nil`: the one that the labels leave over.
  package var classAxis: Int?

  package init(labels: [Int]?, areClasses: Bool, classAxis: Int? = nil) {
    self.labels = labels
    self.areClasses = areClasses
    self.classAxis = classAxis
  }
}

/// A parameter that trains and that no computation reads: its gradient is zero.
package struct UnusedParameter: Sendable, Equatable {
  package let name: String
  package let count: Int
}
