import Checkpoints
import Curvature
import Foundation
import GraphModule
import Models
import TensorModule

/// A sequential model from its description alone, with the random weights that PyTorch's modules
/// start with: uniform within `1 / sqrt(fan_in)` for weights and biases of linear and convolution
/// layers, standard normal for embeddings, ones and zeros for norms and stored statistics.
///
/// Equal seeds give equal tensors: each is a function of the seed and its own name.
public struct RandomNetwork {
  let source: CheckpointSource
  let files: InputFiles

  /// Whether a file is the description of a sequential model, and not the configuration of a
  /// Hugging Face model or something else.
  public static func isDescription(_ path: String, files: InputFiles = InputFiles()) -> Bool {
    guard let json = try? open(path, files) else { return false }
    return json["layers"].exists || (try? json["type"].string()) == "sequential"
  }

  /// Reads the description, JSON as in the `model` of a checkpoint.bin, and makes the weights.
  ///
  /// - Parameter loss: `cross_entropy`, `mse` or `bce`.
  /// - Throws: `CheckpointError` naming the place in the description.
  public init(
    description path: String, loss: String, seed: UInt64 = EvaluationOptions().seed,
    files: InputFiles = InputFiles()
  ) throws(CheckpointError) {
    self.files = files
    let json = try Self.open(path, files)
    let model = try Model(json)
    let starts = Self.starts(model.graph)
    var parameters: [String: StoredTensor] = [:]
    for (spec, start) in zip(model.graph.parameters, starts) {
      let values = Vector<Float>(count: spec.count)
      start.fill(
        0..<spec.count, NamedRandom(seed: seed, name: spec.name), into: values.pointer)
      parameters[spec.name] = StoredTensor(
        name: spec.name, dtype: .f32, shape: spec.shape,
        data: values.array.map(\.bitPattern.littleEndian).withUnsafeBytes { Data($0) },
        file: path)
    }
    source = CheckpointSource(path: path, description: json, loss: loss, parameters: parameters)
  }

  private static func open(
    _ path: String, _ files: InputFiles
  ) throws(CheckpointError) -> JSONValue {
    let file = try files.open(path)
    defer { withExtendedLifetime(file) {} }
    return try JSONValue(
      parsing: String(decoding: file.bytes, as: UTF8.self), name: "model", file: path)
  }

  /// One entry for each parameter. A shared one starts as its first layer has it.
  private static func starts(_ graph: Graph) -> [Initialization] {
    var starts = [Initialization?](repeating: nil, count: graph.parameters.count)
    for node in graph.nodes {
      for (slot, parameter) in node.parameters.enumerated() where starts[parameter.index] == nil {
        starts[parameter.index] = node.operation.initialization(
          slot: slot, shape: graph.parameters[parameter.index].shape)
      }
    }
    return starts.map { start in
      guard let start else { preconditionFailure("RandomNetwork: a parameter without a layer") }
      return start
    }
  }
}

// MARK: - As a checkpoint

extension PackedCheckpoint {
  /// The network as a checkpoint without a batch, of epoch and step 0.
  public init(
    _ network: RandomNetwork, options: EvaluationOptions = EvaluationOptions()
  ) throws(EvaluationError) {
    self = try evaluating {
      try PackedCheckpoint(
        LoadedCheckpoint(source: network.source, options: options, files: network.files), options)
    }
  }
}
