import Checkpoints
import GraphModule
import Testing

@testable import Models

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
