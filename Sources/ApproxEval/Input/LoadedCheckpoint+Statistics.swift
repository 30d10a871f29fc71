import Checkpoints
import GraphModule
import TensorModule

extension LoadedCheckpoint {
  /// No stored variance is negative. Of its root a network makes NaN on every input, which would look
  /// as if it overflowed.
  func requireVariances<S: EngineScalar>(_ store: ParameterStore<S>) throws(CheckpointError) {
    for node in program.graph.nodes where node.operation is BatchNorm {
      let id = node.parameters[BatchNorm.variance]
      let values = store.vector(id.index)
      for entry in 0..<values.count where values.pointer[entry] < 0 {
        throw CheckpointError(
          .unexpectedValue(
            "entry \(entry)", found: "\(values.pointer[entry])",
            expected: "a number that is at least 0"),
          at: try source.parameter(program.graph.parameters[id.index].name).location,
          hint: "It is a variance: the file is damaged, or its statistics are in the wrong places.")
      }
    }
  }
}
