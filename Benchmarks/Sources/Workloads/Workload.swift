import ApproxEval
import Checkpoints
import Foundation

/// A network with random parameters and a random batch: what is measured depends on shapes, not
/// on what was learned.
public struct Workload: Sendable {
  public let name: String
  /// The architecture in one line.
  public let title: String
  public let samples: Int
  public let classes: Int
  let inputShape: [Int]
  /// Labels of a sample.
  var positions = 1
  let layers: [Layer]

  /// MLP 3072-2048-2048-10, relu, biases: 10,510,346 parameters.
  public static let w1 = Workload(
    name: "W1", title: "MLP 3072-2048-2048-10", samples: 160, classes: 10, inputShape: [3072],
    layers: [
      .linear("fc1", 3072, 2048), .plain(#"{"type":"relu"}"#),
      .linear("fc2", 2048, 2048), .plain(#"{"type":"relu"}"#),
      .linear("fc3", 2048, 10),
    ])

  /// A small CNN on 3 x 32 x 32: 113,738 parameters.
  public static let w2 = Workload(
    name: "W2", title: "CNN 3-32-64-128 + linear 2048-10", samples: 160, classes: 10,
    inputShape: [3, 32, 32],
    layers: [
      .convolution("conv1", 3, 32), .plain(#"{"type":"relu"}"#), .pool,
      .convolution("conv2", 32, 64), .plain(#"{"type":"relu"}"#), .pool,
      .convolution("conv3", 64, 128), .plain(#"{"type":"relu"}"#), .pool,
      .plain(#"{"type":"flatten"}"#), .linear("fc", 2048, 10),
    ])

  public static let all = [w1, w2]

  /// An MLP of given widths, inputs first and classes last, relu between.
  public static func mlp(_ widths: [Int], samples: Int) -> Workload {
    let layers = zip(widths, widths.dropFirst()).enumerated().flatMap { index, pair in
      (index > 0 ? [Layer.plain(#"{"type":"relu"}"#)] : [])
        + [.linear("fc\(index + 1)", pair.0, pair.1)]
    }
    return Workload(
      name: "mlp", title: "MLP \(widths.map(String.init).joined(separator: "-"))",
      samples: samples, classes: widths.last!, inputShape: [widths[0]], layers: layers)
  }

  /// The same layers at each of T positions, all of them scored.
  public static func positions(_ count: Int, _ widths: [Int], samples: Int) -> Workload {
    let mlp = mlp(widths, samples: samples)
    return Workload(
      name: "positions", title: "\(mlp.title) at \(count) positions", samples: samples,
      classes: mlp.classes, inputShape: [count, widths[0]], positions: count,
      layers: mlp.layers)
  }
}

// MARK: - Layers

/// A layer as `checkpoint.bin` describes it, with the shapes of its parameters.
struct Layer: Sendable {
  let json: String
  let parameters: [(name: String, shape: [Int])]
  /// Inputs of one output: the scale of the weights.
  let fan: Int

  static func plain(_ json: String) -> Layer { Layer(json: json, parameters: [], fan: 1) }

  static var pool: Layer { plain(#"{"type":"max_pool2d","kernel_size":2}"#) }

  static func linear(_ name: String, _ inputs: Int, _ outputs: Int) -> Layer {
    Layer(
      json: """
        {"type":"linear","name":"\(name)","in_features":\(inputs),"out_features":\(outputs)}
        """,
      parameters: [("\(name).weight", [outputs, inputs]), ("\(name).bias", [outputs])],
      fan: inputs)
  }

  /// 3 x 3, padding 1.
  static func convolution(_ name: String, _ inputs: Int, _ outputs: Int) -> Layer {
    Layer(
      json: """
        {"type":"conv2d","name":"\(name)","in_channels":\(inputs),"out_channels":\(outputs),\
        "kernel_size":3,"padding":1}
        """,
      parameters: [("\(name).weight", [outputs, inputs, 3, 3]), ("\(name).bias", [outputs])],
      fan: 9 * inputs)
  }
}

// MARK: - Files

extension Workload {
  /// Writes the checkpoint: weights uniform in `+-1/sqrt(fan)` (PyTorch's default), standard
  /// normal inputs, uniform labels, all from `seed`.
  public func write(to path: String, seed: UInt64 = 1337) throws {
    var random = SplitMix64(state: seed)
    let model = """
      {"type":"sequential","input_shape":\(inputShape),\
      "layers":[\(layers.map(\.json).joined(separator: ","))]}
      """
    var writer = SafetensorsWriter(
      metadata: ["format": CheckpointFile.format, "model": model, "loss": "cross_entropy"])
    for layer in layers {
      let bound = 1 / Float(layer.fan).squareRoot()
      for (name, shape) in layer.parameters {
        let values = (0..<shape.reduce(1, *)).map { _ in
          Float.random(in: -bound...bound, using: &random)
        }
        writer.add("params." + name, dtype: .f32, shape: shape, data: bytes(values))
      }
    }
    let inputs = (0..<samples * inputShape.reduce(1, *)).map { _ in random.normal() }
    writer.add(
      "batch.inputs", dtype: .f32, shape: [samples] + inputShape, data: bytes(inputs))
    writer.add(
      "batch.labels", shape: positions == 1 ? [samples] : [samples, positions],
      integers: (0..<samples * positions).map { _ in
        Int64.random(in: 0..<Int64(classes), using: &random)
      })
    try writer.write(to: path)
  }

  /// The workload in memory: single precision, SGD, EF, iEF and SF at one damping, no reference.
  public func probe(threads: Int) throws -> EngineProbe {
    let folder = FileManager.default.temporaryDirectory
      .appendingPathComponent("approx-eval-\(name)-\(ProcessInfo.processInfo.processIdentifier)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("checkpoint.bin").path
    try write(to: path)
    var options = EvaluationOptions()
    options.threads = threads
    options.reference = .none
    return try EngineProbe(checkpoint: path, options: options)
  }

  private func bytes(_ values: [Float]) -> Data { values.withUnsafeBytes { Data($0) } }
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same numbers on every machine.
public struct SplitMix64: RandomNumberGenerator {
  var state: UInt64

  public init(state: UInt64) { self.state = state }

  public mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  public mutating func normal() -> Float {
    let radius = (-2 * log(Double.random(in: 0x1p-53..<1, using: &self))).squareRoot()
    return Float(radius * cos(2 * .pi * Double.random(in: 0..<1, using: &self)))
  }
}
