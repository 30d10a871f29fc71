import ApproxEval
import Checkpoints
import Foundation
import Workloads

/// A Hugging Face model with random weights, on wish with an adapter, and a random batch.
struct TransformerWorkload {
  let name: String
  /// The file of its config.json.
  let configuration: String
  let adapter: RandomModel.Adapter?
  var task: RandomModel.Task?
  let samples: Int
  private let inputs: Inputs

  private enum Inputs {
    /// 3 x 224 x 224, of 1000 classes.
    case images
    /// 64 tokens with one label token.
    case labelled(vocabulary: Int64)
    /// 128 tokens, each but the last with its successor as the label.
    case text(vocabulary: Int64)
  }

  static let all = [
    TransformerWorkload(
      name: "W3", configuration: "vit-base.json", adapter: .lowRank(.init(bias: .adapted)),
      samples: 8, inputs: .images),
    TransformerWorkload(
      name: "W4", configuration: "t5-base.json", adapter: .lowRank(.init()),
      task: .sequenceToSequence, samples: 16, inputs: .labelled(vocabulary: 32000)),
    TransformerWorkload(
      name: "W5", configuration: "t5-base.json", adapter: .prompt(tokens: 20),
      task: .sequenceToSequence, samples: 16, inputs: .labelled(vocabulary: 32000)),
    TransformerWorkload(
      name: "W6", configuration: "gpt2.json", adapter: nil, samples: 4,
      inputs: .text(vocabulary: 50257)),
    TransformerWorkload(
      name: "W7", configuration: "llama-360m.json",
      adapter: .lowRank(.init(targets: ["q_proj", "v_proj"])), task: .causalLM, samples: 8,
      inputs: .text(vocabulary: 49152)),
  ]

  /// Writes the batch: inputs and labels from a seed.
  func writeSamples(to path: String) throws {
    var random = SplitMix64(state: 1337)
    var writer = SafetensorsWriter(metadata: [:])
    func add(_ name: String, _ shape: [Int], below limit: Int64) {
      let values = (0..<shape.reduce(1, *)).map { _ in
        Int64.random(in: 3..<limit, using: &random)
      }
      writer.add(name, shape: shape, integers: values)
    }
    switch inputs {
    case .images:
      let pixels = (0..<samples * 3 * 224 * 224).map { _ in random.normal() }
      writer.add(
        "pixel_values", dtype: .f32, shape: [samples, 3, 224, 224],
        data: pixels.withUnsafeBytes { Data($0) })
      add("labels", [samples], below: 1000)
    case .labelled(let vocabulary):
      add("input_ids", [samples, 64], below: vocabulary)
      writer.add(
        "attention_mask", shape: [samples, 64],
        integers: [Int64](repeating: 1, count: samples * 64))
      add("labels", [samples, 1], below: vocabulary)
    case .text(let vocabulary):
      let tokens = (0..<samples * 128).map { _ in Int64.random(in: 3..<vocabulary, using: &random) }
      writer.add("input_ids", shape: [samples, 128], integers: tokens)
      writer.add("labels", shape: [samples, 128], integers: tokens)
    }
    try writer.write(to: path)
  }
}
