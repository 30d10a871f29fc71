import Checkpoints
import GraphModule
import TensorModule

/// Inputs of a batch that are unsigned bytes in the file and meet weights as the numbers that they are, as
/// images do that nobody has brought into the range the network was trained on.
public struct ByteInputs: Sendable, Equatable, Codable {
  /// The model's names for them.
  public var names: [String]
  /// Over all of them.
  public var largest: Int
}

extension BatchReader {
  /// Names of inputs that are bytes in the file and come to a layer with weights before anything scales
  /// them.
  static func bytes(_ graph: Graph, _ inputs: [String: StoredTensor]) -> [String] {
    graph.inputs.enumerated().filter { index, spec in
      inputs[spec.name]?.dtype == .u8 && spec.kind == .real && graph.isUnscaled(input: index)
    }.map(\.element.name)
  }

  /// `nil` where there are none, or only zeros and ones, which say yes and no.
  func byteInputs<S: EngineScalar>(_ values: [BatchInputs<S>.Values]) -> ByteInputs? {
    var largest: S = 0
    for (spec, value) in zip(graph.inputs, values) where bytes.contains(spec.name) {
      guard case .real(let vector) = value else { continue }
      for i in 0..<vector.count { largest = max(largest, vector[i]) }
    }
    return largest > 1 ? ByteInputs(names: bytes, largest: Int(largest)) : nil
  }
}

extension Graph {
  /// Whether a linear layer or a convolution reads this input as it is, perhaps in another order.
  fileprivate func isUnscaled(input: Int) -> Bool {
    var same: Set<Int> = [input]
    for node in nodes where node.inputs.contains(where: { same.contains($0.index) }) {
      switch node.operation {
      case is View: same.insert(node.output.index)
      case is Linear, is Convolution: return true
      default: break
      }
    }
    return false
  }
}
