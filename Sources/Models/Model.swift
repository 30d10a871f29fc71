import Checkpoints
import GraphModule

/// A model of a checkpoint: its program, and what its files may carry beside the parameters.
package struct Model: Sendable {
  package let graph: Graph
  /// `sequential`, as in the checkpoint.
  package let type: String
  /// Tensors of a state_dict that no computation reads, such as `num_batches_tracked`.
  package let unreadTensors: Set<String>

  /// Builds the model that `description` (the checkpoint's `model`) describes.
  ///
  /// - Throws: `CheckpointError` naming the place in the description.
  package init(_ description: JSONValue) throws(CheckpointError) {
    let type = try description["type"].string()
    switch type {
    case "sequential": self = try SequentialBuilder.build(description)
    default:
      throw CheckpointError(
        .unknownName(what: "model type", found: type, known: ["sequential"]),
        at: .init(file: description.file))
    }
  }

  init(graph: Graph, type: String, unreadTensors: Set<String>) {
    self.graph = graph
    self.type = type
    self.unreadTensors = unreadTensors
  }
}
