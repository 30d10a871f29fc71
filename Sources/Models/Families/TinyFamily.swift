import Checkpoints
import GraphModule

extension ModelFamily {
  /// A transformer of two layers over 16 tokens, classified by its first one.
  static let tiny = ModelFamily(
    type: "tiny",
    build: { config, adapter, _ throws(CheckpointError) in
      var b = TransformerBuilder(config: config, adapter: adapter, otherNames: { _ in [] })
      let (columns, heads) = (try config["hidden_size"].size(), 4)
      let vocabulary = try config["vocab_size"].size()
      let tokens = try b.input("tokens", shape: [16], kind: .index(bound: vocabulary))
      let table = try b.parameter("embedding", "weight", shape: [vocabulary, columns])
      var x = try b.apply(Embedding(), to: [tokens], parameters: [table], name: "embedding")
      for name in ["first", "second"] {
        let normed = try b.norm(x, name + ".norm", epsilon: 1e-5, centered: true)
        let layer = AttentionLayer(
          name: name, query: name + ".q", key: name + ".k", value: name + ".v", heads: heads,
          width: columns / heads, scale: 1, hasBias: false)
        let mixed = try b.attention(layer, queries: normed, keys: normed)
        let projected = try b.linear(mixed, name + ".o", outputs: columns, hasBias: true)
        x = try b.apply(Sum(), to: [projected, x], name: name)
      }
      let first = try b.apply(Take([0]), to: [x], name: "first")
      let classes = try config["classes"].size()
      let logits = try b.linear(first, "head", outputs: classes, hasBias: true)
      return try b.finish(output: logits, shape: [classes], type: "tiny", unreadTensors: [])
    },
    loss: { _ throws(CheckpointError) in "cross_entropy" }, parameterName: unwrapped,
    nameOrders: [["embedding", "first", "second", "norm", "q", "k", "v", "o", "head"]],
    initialization: { spec, _ in
      spec.name.contains("norm") ? .constant(1) : .normal(deviation: 0.02)
    },
    adapterTargets: ["q", "v"], takesPrompt: false)
}
