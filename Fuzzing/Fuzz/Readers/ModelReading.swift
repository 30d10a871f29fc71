import Checkpoints
import Foundation
import Models

/// A checkpoint.bin: how it is scored (`Scoring`), `MODEL separator NUMBERS`. Parameters and batch
/// have the shapes that the model asks for.
struct ModelReading: Reader {
  let name = "model"
  let isText = true

  func read(_ input: ArraySlice<UInt8>) throws {
    let scoring = Scoring(input.prefix(Scoring.byteCount))
    let parts = Parts.split(input.dropFirst(Scoring.byteCount), limit: 2)
    let text = String(decoding: parts[0], as: UTF8.self)
    let model = try Model(JSONValue(parsing: text, name: "model", file: "checkpoint.bin"))
    if model.sequence != nil || !scoring.isSmall(model.graph) { return }
    var numbers = scoring.numbers(parts.count == 2 ? parts[1] : [])
    var writer = SafetensorsWriter(
      metadata: ["format": CheckpointFile.format, "model": text, "loss": scoring.loss])
    for spec in model.graph.parameters {
      writer.add(
        "params." + spec.name, dtype: scoring.dtype, shape: spec.shape,
        data: numbers.tensor(scoring.dtype, spec.shape))
    }
    for (name, tensor) in BatchTensors.make(model, scoring, &numbers) {
      writer.add("batch." + name, tensor)
    }
    let path = Scratch.path("checkpoint.bin")
    try writer.write(to: path)
    _ = try scoring.score(checkpoint: path)
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    var texts: [String: String] = [:]
    for (name, _) in try fixtures.files(in: "golden", ending: ".bin") {
      texts[name] = try TensorArchive.open(fixtures.path("golden/\(name)")).metadata["model"]
    }
    for (name, layers) in Self.layers {
      texts[name] = #"{"type": "sequential", "input_shape": \#(layers)}"#
    }
    var seeds: [String: [UInt8]] = [:]
    for (index, seed) in texts.sorted(by: { $0.key < $1.key }).enumerated() {
      // Another method and another reference for every seed.
      let method = UInt16(1) << (index % 16)
      let scoring: [UInt8] = [
        UInt8(truncatingIfNeeded: method), UInt8(method >> 8), UInt8(index % 6), UInt8(index % 3),
        UInt8(index % 3), UInt8(index * 37 % 128), UInt8(8 + index % 3), UInt8(index % 4),
      ]
      seeds[seed.key] = scoring + Parts.join([Array(seed.value.utf8), [3, 250, 17, 40, 201, 99]])
    }
    return seeds
  }

  /// Every kind of layer, small.
  private static let layers = [
    "convolutions": """
    [2, 5, 5], "layers": [
    {"type": "conv2d", "name": "a", "in_channels": 2, "out_channels": 4, "kernel_size": [3, 2], \
    "stride": [2, 1], "padding": [1, 0], "dilation": 1, "groups": 2, "bias": true},
    {"type": "batch_norm2d", "name": "b", "num_features": 4, "eps": 1e-5, "affine": true},
    {"type": "relu"}, {"type": "max_pool2d", "kernel_size": 2, "stride": 1, "padding": 1},
    {"type": "avg_pool2d", "kernel_size": 2, "stride": 2, "padding": 0},
    {"type": "flatten"}, {"type": "linear", "name": "c", "in_features": 8, "out_features": 3}]
    """,
    "pooled": """
    [1, 4, 4], "layers": [
    {"type": "conv2d", "name": "a", "in_channels": 1, "out_channels": 2, "kernel_size": 3, \
    "padding": 1}, {"type": "relu"}, {"type": "max_pool2d", "kernel_size": 2},
    {"type": "conv2d", "name": "d", "in_channels": 2, "out_channels": 2, "kernel_size": 1, \
    "padding": 0, "dilation": 2}, {"type": "adaptive_avg_pool2d", "output_size": 1},
    {"type": "flatten"}, {"type": "linear", "name": "c", "in_features": 2, "out_features": 2}]
    """,
    "norms": """
    [4, 6], "layers": [{"type": "layer_norm", "name": "a", "normalized_shape": [6], "eps": 1e-5},
    {"type": "group_norm", "name": "b", "num_groups": 2, "num_channels": 4, "eps": 1e-5},
    {"type": "residual", "layers": [{"type": "linear", "name": "c", "in_features": 6, \
    "out_features": 6, "bias": false}, {"type": "gelu", "approximate": "tanh"}], "shortcut": \
    [{"type": "linear", "name": "d", "in_features": 6, "out_features": 6}]},
    {"type": "silu"}, {"type": "tanh"}, {"type": "sigmoid"}, {"type": "softplus"},
    {"type": "dropout", "p": 0.1}, {"type": "leaky_relu", "negative_slope": 0.1}]
    """,
    "embedding": """
    [3], "layers": [{"type": "embedding", "name": "e", "num_embeddings": 5, "embedding_dim": 2},
    {"type": "flatten"}, {"type": "linear", "name": "c", "in_features": 6, "out_features": 3}]
    """,
  ]
}
