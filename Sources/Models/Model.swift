import Checkpoints
import GraphModule

/// A model of a checkpoint: its program, and what its files may carry beside the parameters.
package struct Model: Sendable {
  package let graph: Graph
  /// The same function of the same inputs and parameters with every linear layer applied to its own
  /// rows, as K-FAC defines it; `nil` where `graph` is that already.
  package private(set) var layerGraph: Graph?
  /// `sequential`, `vit` or `t5`, as in the checkpoint.
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
  /// How a sequence-to-sequence model reads labels and masks; `nil` for others.
  package let sequence: SequenceRule?

  package static let types = ["sequential", "vit", "t5"]

  /// Builds the model that `description` (the checkpoint's `model`) describes.
  ///
  /// - Parameter data: For models whose graph depends on lengths.
  /// - Throws: `CheckpointError` naming the place in the description.
  package init(_ description: JSONValue, data: DataFile? = nil) throws(CheckpointError) {
    let type = try description["type"].string()
    switch type {
    case "sequential": self = try SequentialBuilder.build(description)
    case "vit", "t5":
      try description.requireKeys(in: ["type", "config", "adapter"])
      try self.init(
        type: type, config: description["config"],
        adapter: description["adapter"].exists ? description["adapter"] : nil, data: data)
    default:
      throw CheckpointError(
        .unknownName(what: "model type", found: type, known: Model.types),
        at: .init(file: description.file))
    }
  }

  /// Builds a Hugging Face model from its configuration and, optionally, a PEFT configuration.
  package init(
    type: String, config: JSONValue, adapter: JSONValue?, data: DataFile?
  ) throws(CheckpointError) {
    var peft: Adapter?
    if let adapter { peft = try Adapter(adapter) }
    func build(mayGather: Bool) throws(CheckpointError) -> Model {
      switch type {
      case "vit": return try ViTBuilder.build(config, adapter: peft, mayGather: mayGather)
      case "t5":
        var shape = DataShape.nominal
        if let data { shape = try DataShape(data) }
        return try T5Builder.build(config, adapter: peft, data: shape, mayGather: mayGather)
      default:
        throw CheckpointError(
          .unknownName(what: "model_type", found: type, known: ["vit", "t5"]),
          at: .init(file: config.file))
      }
    }
    self = try build(mayGather: true)
    if !graph.isLayerwise { layerGraph = try build(mayGather: false).graph }
  }

  /// Names of adapter tensors, without PEFT's prefix, that no computation reads under this
  /// configuration.
  package static func unreadAdapterTensors(
    modelType: String, adapter: JSONValue
  ) throws(CheckpointError) -> Set<String> {
    guard modelType == "t5", case .lowRank(let adapter) = try Adapter(adapter),
      adapter.saves(T5Builder.sharedTable)
    else { return [] }
    return [T5Builder.sharedTable + ".weight"]
  }

  /// The loss that Transformers computes for a model of this configuration, by the name that a
  /// checkpoint has for it; `nil` where it goes by the type of the labels.
  package static func loss(type: String, config: JSONValue) throws(CheckpointError) -> String? {
    let problem = config["problem_type"]
    let losses = type == "vit" ? ["ForImageClassification", "ForSequenceClassification"] : []
    if config["loss_type"].exists, try !losses.contains(config["loss_type"].string()) {
      throw config["loss_type"].wrong("nothing: other losses of Transformers are not computed")
    }
    guard type == "vit" else {
      // T5 is always scored token by token.
      if problem.exists, try problem.string() != "single_label_classification" {
        throw problem.wrong("nothing, or \"single_label_classification\"")
      }
      return "cross_entropy"
    }
    guard problem.exists else { return try ViTBuilder.classCount(config) == 1 ? "mse" : nil }
    switch try problem.string() {
    case "single_label_classification": return "cross_entropy"
    case "multi_label_classification": return "bce"
    case "regression": return "mse"
    default:
      throw problem.wrong(
        "\"single_label_classification\", \"multi_label_classification\" or \"regression\"")
    }
  }

  /// The name in the model's state_dict of a tensor of an adapter file (without PEFT's prefix):
  /// modules by their names in Transformers 4, base layers and saved modules without PEFT's
  /// wrappers. `nil` for what a saved module has replaced, which no computation reads.
  package static func parameterName(
    ofAdapterTensor name: String, modelType: String
  ) -> String? {
    if modelType == "t5" && name.hasPrefix(T5Builder.sharedTable + ".") {
      // What reads the shared table holds the original: a saved copy of it is never read.
      if name.contains(".modules_to_save.") { return nil }
      return name.replacing(".original_module.", with: ".")
    }
    if name.contains(".original_module.") { return nil }
    let bare = name.replacing(".base_layer.", with: ".").replacing(".modules_to_save.", with: ".")
    return modelType == "vit" ? ViTBuilder.nameInVersion4(bare) : bare
  }

  init(
    graph: Graph, type: String, unreadTensors: Set<String>, adapted: Set<String>? = nil,
    adaptedIfStored: Set<String> = [], unused: [UnusedParameter] = [],
    sequence: SequenceRule? = nil
  ) {
    self.graph = graph
    self.type = type
    self.unreadTensors = unreadTensors
    self.adapted = adapted
    self.adaptedIfStored = adaptedIfStored
    self.unused = unused
    self.sequence = sequence
  }
}

/// A parameter that trains and that no computation reads: its gradient is zero.
package struct UnusedParameter: Sendable, Equatable {
  package let name: String
  package let count: Int
}

/// How a sequence-to-sequence model reads its data: which label columns are scored positions of
/// the graph, how labels become the decoder's input (shifted right, -100 replaced), and how many
/// virtual tokens the mask does not know of.
package struct SequenceRule: Sendable, Equatable {
  /// Columns of the labels, one for each position of the graph.
  package let labelColumns: [Int]
  /// Columns that the labels have.
  package let labelLength: Int
  /// The input that is made from the labels where the data have none.
  package let decoderInput: String
  package let decoderStart: Int
  package let padding: Int
  /// Positions that are not scored, put in front of the labels.
  package let labelPrefix: Int
  /// The input that says which tokens count; all do where the data have none.
  package let mask: String
  /// Visible tokens put in front of the mask.
  package let maskPrefix: Int

  /// The decoder's input for one sample's labels.
  package func decoderTokens(_ labels: [Int64]) -> [Int32] {
    let all = [Int64](repeating: -100, count: labelPrefix) + labels
    return [Int32(decoderStart)] + all.dropLast().map { $0 == -100 ? Int32(padding) : Int32($0) }
  }
}
