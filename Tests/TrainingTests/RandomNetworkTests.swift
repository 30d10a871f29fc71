import ApproxEval
import Checkpoints
import Foundation
import TestSupport
import Testing

/// Starts of sequential models against the bounds and moments of PyTorch's `reset_parameters`.
struct RandomNetworkTests {
  private let layers =
    #"{"type": "conv2d", "name": "c", "in_channels": 8, "out_channels": 64, "kernel_size": [3, 2], "#
    + #""groups": 2, "padding": 1}, {"type": "batch_norm2d", "name": "m", "num_features": 64}, "#
    + #"{"type": "group_norm", "name": "n", "num_groups": 4, "num_channels": 64}, "#
    + #"{"type": "adaptive_avg_pool2d", "output_size": 1}, {"type": "flatten"}, "#
    + linear("h", 64, 500)

  private func parameters(
    input: [Int], _ layers: String, seed: UInt64 = 1
  ) throws -> [String: [Double]] {
    let folder = try Folder()
    let json = #"{"type": "sequential", "input_shape": \#(input), "layers": [\#(layers)]}"#
    try Data(json.utf8).write(to: URL(fileURLWithPath: folder.path("net.json")))
    let network = try RandomNetwork(
      description: folder.path("net.json"), loss: "cross_entropy", seed: seed)
    try PackedCheckpoint(network).write(to: folder.path("net.bin"))
    let file = try CheckpointFile.open(folder.path("net.bin"))
    #expect(file.epoch == 0 && file.step == 0 && file.batch.isEmpty)
    return try file.parameters.mapValues { try $0.vector(of: Double.self).array }
  }

  /// Uniform within 1 / sqrt(fan_in): all of it is filled, and its variance is a third of the
  /// square of the bound.
  @Test func weightsAndBiasesAreUniformWithinTheirBounds() throws {
    let found = try parameters(input: [8, 5, 5], layers)
    // 4 channels of a group times 3 x 2 pixels; 64 inputs.
    for (prefix, inputs) in [("c", 24.0), ("h", 64)] {
      let bound = 1 / inputs.squareRoot()
      for suffix in [".weight", ".bias"] {
        let values = try #require(found[prefix + suffix])
        #expect(values.allSatisfy { abs($0) <= bound })
        let count = Double(values.count)
        // The chance that the largest of n is below 1 - 10/n of the bound is e^-10.
        #expect(values.map(abs).max()! > bound * (1 - 10 / count))
        // Five standard deviations: that of a square is bound^2 2 / sqrt(45).
        let variance = dot(values, values) / count
        #expect(abs(variance - bound * bound / 3) < 5 * bound * bound * 0.3 / count.squareRoot())
        let mean = values.reduce(0, +) / count
        #expect(abs(mean) < 5 * bound / (3 * count).squareRoot(), "\(prefix)\(suffix)")
      }
    }
  }

  @Test func normsBeginAsTheIdentity() throws {
    let found = try parameters(input: [8, 5, 5], layers)
    for (name, value) in [
      ("m.weight", 1.0), ("m.bias", 0), ("m.running_mean", 0), ("m.running_var", 1),
      ("n.weight", 1), ("n.bias", 0),
    ] {
      #expect(try #require(found[name]).allSatisfy { $0 == value }, "\(name)")
    }
  }

  /// Also of an embedding that a linear layer shares.
  @Test func embeddingsAreStandardNormal() throws {
    let tied =
      embedding("e", 400, 20)
      + #", {"type": "linear", "name": "e", "in_features": 20, "out_features": 400, "bias": false}"#
    let values = try #require(try parameters(input: [3], tied)["e.weight"])
    let count = Double(values.count)
    #expect(abs(values.reduce(0, +) / count) < 5 / count.squareRoot())
    #expect(abs(dot(values, values) / count - 1) < 5 * (2 / count).squareRoot())
    #expect(values.contains { abs($0) > 3 })
  }

  @Test func seedAndNameDecideEveryNumber() throws {
    let two = linear("a", 6, 6) + "," + linear("b", 6, 6)
    let first = try parameters(input: [6], two)
    #expect(try parameters(input: [6], two) == first)
    #expect(first["a.weight"] != first["b.weight"])
    #expect(try parameters(input: [6], two, seed: 2)["a.weight"] != first["a.weight"])
    // A layer more leaves the others as they are.
    let three = two + "," + linear("d", 6, 3)
    #expect(try parameters(input: [6], three)["b.weight"] == first["b.weight"])
  }

  @Test func onlySequentialDescriptionsCount() throws {
    #expect(RandomNetwork.isDescription(fixture("configs/digits-mlp.json")))
    #expect(!RandomNetwork.isDescription(fixture("configs/vit-base.json")))
    #expect(!RandomNetwork.isDescription(fixture("digits/epoch-00.bin")))
    #expect(!RandomNetwork.isDescription(fixture("hf/vit_lora/base")))
    #expect(!RandomNetwork.isDescription("/nowhere/net.json"))
  }
}
