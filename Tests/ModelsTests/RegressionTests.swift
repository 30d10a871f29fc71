import GraphModule
import TestSupport
import Testing

@testable import Checkpoints
@testable import Models

/// A tensor that a file has under two names was the one that came first, in an order of chance.
struct Regression_TensorsUnderTwoNames {
  @Test func theModelsOwnNameCounts() throws {
    let family = try #require(ModelFamily.named("bert"))
    for layer in 0..<20 {
      let name = "bert.encoder.layer.\(layer).output.LayerNorm."
      let named = family.named([name + "gamma": "old", name + "weight": "own", name + "beta": "b"])
      #expect(named == [name + "weight": "own", name + "bias": "b"])
    }
  }
}

/// Every layer with a cap on its scores had a mask of its own, of the size of all pairs of tokens.
struct Regression_MasksOfCappedScores {
  @Test func thereAreNone() throws {
    let config = """
      {"architectures": ["Gemma2ForCausalLM"], "vocab_size": 11, "hidden_size": 8,
       "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 4,
       "intermediate_size": 6, "max_position_embeddings": 16, "rms_norm_eps": 1e-6,
       "rope_theta": 100, "query_pre_attn_scalar": 4, "hidden_activation": "gelu_new",
       "sliding_window": 3, "final_logit_softcapping": null, "attn_logit_softcapping": 2.0}
      """
    let model = try Model(
      type: "gemma2", config: JSONValue(parsing: config, name: "config", file: nil), adapter: nil,
      data: nil)
    let masks = model.graph.nodes.filter { $0.operation is Constant && $0.type.element == .boolean }
    #expect(masks.isEmpty)
    #expect(
      model.graph.nodes.compactMap { $0.operation as? Attention }.map(\.cap) == [2, 2, 2, 2])
  }
}

/// Sizes of a file were multiplied beyond the largest integer.
struct Regression_TensorsLargerThanMemory {
  @Test func areNotContiguous() throws {
    let program = try ExportedProgram.open(fixture("data/exported/in_place.pt2"))
    var type = try #require(program.graph.tensors.values.first)
    func value(_ number: Int) -> ExportedProgram.SymbolicValue {
      .init(expression: .integer(number), example: nil)
    }
    type.sizes = [value(1 << 40), value(1 << 40), value(2)]
    type.strides = [value(1 << 41), value(2), value(1)]
    #expect(try !ProgramSizes(program, data: nil).isContiguous(type))
    type.sizes[0] = value(3)
    #expect(try ProgramSizes(program, data: nil).isContiguous(type))
  }
}

/// The tokens' bound was that of the first embedding found, and a second one in the shortcut of a
/// residual with fewer rows was read beyond its end.
struct Regression_TwoEmbeddingsOfOneInput {
  @Test(arguments: [(5, 3), (3, 5), (4, 4)])
  func tokensAreBoundedByTheSmallerTable(_ branch: Int, _ shortcut: Int) throws {
    func embedding(_ name: String, _ rows: Int) -> String {
      #"{"type": "embedding", "name": "\#(name)", "num_embeddings": \#(rows), "embedding_dim": 2}"#
    }
    let text =
      #"{"type": "sequential", "input_shape": [3], "layers": [{"type": "residual", "layers": "#
      + "[\(embedding("a", branch))], \"shortcut\": [\(embedding("b", shortcut))]}]}"
    let model = try Model(JSONValue(parsing: text, name: "model", file: nil))
    #expect(model.graph.inputs[0].kind == .index(bound: min(branch, shortcut)))
  }

  @Test func firstEmbeddingMayBeInTheShortcutAlone() throws {
    let text =
      #"{"type": "sequential", "input_shape": [2], "layers": [{"type": "residual", "layers": "#
      + #"[{"type": "dropout"}], "shortcut": [{"type": "embedding", "name": "e", "#
      + #""num_embeddings": 3, "embedding_dim": 2}]}]}"#
    #expect(throws: CheckpointError.self) {
      try Model(JSONValue(parsing: text, name: "model", file: nil))
    }
  }
}
