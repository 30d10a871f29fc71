import Checkpoints
import Foundation
import GraphModule
import Models

/// A batch of the shapes that a model asks for.
enum BatchTensors {
  static func make(
    _ model: Model, _ scoring: Scoring, _ numbers: inout Numbers
  ) -> [String: StoredTensor] {
    let graph = model.graph
    var tensors: [String: StoredTensor] = [:]
    func add(_ name: String, _ dtype: DType, _ shape: [Int], _ make: ([Int]) -> Data) {
      tensors[name] = StoredTensor(name: name, dtype: dtype, shape: shape, data: make(shape))
    }
    for spec in graph.inputs {
      let shape = [scoring.samples] + spec.shape
      switch spec.kind {
      case .real: add(spec.name, scoring.dtype, shape) { numbers.tensor(scoring.dtype, $0) }
      case .index(let bound): add(spec.name, .i64, shape) { numbers.integers($0, below: bound) }
      case .boolean: add(spec.name, .i64, shape) { numbers.integers($0, below: 2) }
      }
    }
    let draws = scoring.draws
    let leads = [("labels", [scoring.samples]), ("sampled_labels", [draws, scoring.samples])]
    for (name, lead) in leads where draws > 0 || name == "labels" {
      if scoring.loss == CheckpointFile.losses[0] {
        add(name, .i64, lead + graph.outputShape.dropLast()) {
          numbers.integers($0, below: graph.classes, leavesOut: scoring.leavesOut)
        }
      } else {
        add(name, .f64, lead + graph.outputShape) {
          numbers.tensor(.f64, $0, isUnit: scoring.loss == "bce")
        }
      }
    }
    return tensors
  }
}
