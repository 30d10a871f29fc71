import Checkpoints
import Curvature
import GraphModule
import TensorModule
import TestSupport
import Testing

@testable import Models

/// LoRA on T5's head where its weight is the embedding.
struct TiedHeadTests {
  /// The model with `lm_head` changed is the one with a head of its own, `E + scale B A`: embeddings
  /// stay E, and the change sees the input that the weight sees.
  @Test func changeIsOfTheHeadAlone() throws {
    let tied = try model(
      isTied: true,
      adapter:
        #"{"peft_type": "LORA", "target_modules": ["lm_head"], "r": 2, "lora_alpha": 3}"#)
    #expect(tied.adapted == ["lm_head.lora_A.weight", "lm_head.lora_B.weight"])
    var random = SeededGenerator(seed: 3)
    var values: [String: [Double]] = [:]
    for spec in tied.graph.parameters {
      values[spec.name] = random.normals(spec.count, scale: 0.7)
    }
    let (table, down, up) = (
      values["shared.weight"]!, values["lm_head.lora_A.weight"]!, values["lm_head.lora_B.weight"]!
    )
    let columns = 4
    values["lm_head.weight"] = table.indices.map { i in
      let (row, column) = (i / columns, i % columns)
      let product = (0..<2).reduce(0.0) { $0 + up[row * 2 + $1] * down[$1 * columns + column] }
      return table[i] + 1.5 * product
    }
    let separate = try logits(model(isTied: false, adapter: nil), values)
    // Sums of a few dozen terms in another order.
    #expect(mismatch(logits(tied, values), separate, tolerance: 1e-13) == nil)
  }

  private func model(isTied: Bool, adapter: String?) throws -> Model {
    let config = """
      {"d_model": 4, "d_kv": 2, "num_heads": 2, "d_ff": 5, "num_layers": 1, "vocab_size": 7,
       "tie_word_embeddings": \(isTied), "scale_decoder_outputs": true}
      """
    return try Model(
      type: "t5", config: JSONValue(parsing: config, name: "config", file: nil),
      adapter: adapter.map { try JSONValue(parsing: $0, name: "adapter_config", file: nil) },
      data: nil)
  }

  private func logits(_ model: Model, _ values: [String: [Double]]) -> [Double] {
    let samples = 2
    let inputs = model.graph.inputs.map { spec in
      guard case .index(let bound) = spec.kind else { preconditionFailure("T5 reads tokens") }
      let count = samples * spec.shape.reduce(1, *)
      let tokens = (0..<count).map { bound == 2 ? 1 : Int32($0 * 3 % bound) }
      return BatchInputs<Double>.Values.index(IndexVector(tokens))
    }
    return Linearization(
      program: Program(graph: model.graph) { _ in true },
      parameters: ParameterStore(model.graph.parameters.map { Vector(values[$0.name]!) }),
      inputs: BatchInputs(samples: samples, values: inputs), pool: WorkerPool(threads: 1)
    ).allLogits
  }
}
