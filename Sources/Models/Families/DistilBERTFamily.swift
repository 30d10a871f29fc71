import Checkpoints
import GraphModule
import TensorModule

extension ModelFamily {
  /// DistilBERT (Sanh et al. 2019).
  static let distilbert: ModelFamily = language(
    "distilbert",
    heads: LanguageTask.heads(
      "DistilBert", [.sequenceClassification, .tokenClassification, .masked]), prefix: "distilbert",
    nameOrders: [
      [
        "distilbert", "vocab_transform", "vocab_layer_norm", "vocab_projector", "pre_classifier",
        "classifier", "embeddings", "transformer", "word_embeddings", "position_embeddings",
        "LayerNorm", "layer", "attention", "q_lin", "k_lin", "v_lin", "out_lin", "sa_layer_norm",
        "ffn", "lin1", "lin2", "output_layer_norm",
      ]
    ],
    adapterTargets: ["q_lin", "v_lin"], takesPrompt: false,
    build: { family, config, adapter, data throws(CheckpointError) in
      var builder = try DistilBERTBuilder(family, config, adapter, data)
      return try builder.build()
    })
}

/// BERT without token types and pooler, under names of its own.
private struct DistilBERTBuilder {
  private static let epsilon = 1e-12

  private var language: LanguageBuilder
  private let columns: Int
  private let inner: Int
  private let heads: Int
  private let function: ElementFunction

  init(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?
  ) throws(CheckpointError) {
    try config.requireSettings([
      "vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim",
      "activation", "tie_word_embeddings", "pad_token_id",
    ])
    columns = try config["dim"].size()
    inner = try config["hidden_dim"].size()
    heads = try config["n_heads"].heads(sharing: columns, of: "dim")
    function = try config["activation"].activation()
    language = try LanguageBuilder(
      family, config, adapter, data, limit: config["max_position_embeddings"],
      numbering: .inOrder(from: 0), padding: 0)
  }

  mutating func build() throws(CheckpointError) -> Model {
    let (config, embeddings) = (language.config, "distilbert.embeddings")
    var x = try language.embed(embeddings + ".word_embeddings", columns: columns)
    x = try language.addPositions(
      x, embeddings + ".position_embeddings", rows: config["max_position_embeddings"].size())
    x = try norm(x, embeddings + ".LayerNorm")
    for layer in 0..<(try config["n_layers"].layerCount()) {
      x = try block(x, "distilbert.transformer.layer.\(layer)")
    }
    let logits: ValueID
    switch language.task {
    case .sequenceClassification:
      let first = try language.b.select(x, [0], name: "pre_classifier.token")
      let active = try language.b.activated(
        first, "pre_classifier", outputs: columns, .relu, name: "pre_classifier.act")
      logits = try language.classify(active, "classifier", hasBias: true)
    case .tokenClassification, .causal:
      logits = try language.classify(
        language.scored(x, "classifier.scored"), "classifier", hasBias: true)
    case .masked:
      let active = try language.b.activated(
        language.scored(x, "vocab_transform.scored"), "vocab_transform", outputs: columns,
        function, name: "vocab_transform.act")
      logits = try language.tokenLogits(
        norm(active, "vocab_layer_norm"), "vocab_projector",
        embedding: embeddings + ".word_embeddings", biasOf: "vocab_projector")
    }
    let head = ["vocab_transform", "vocab_layer_norm", "vocab_projector"]
    return try language.finish(
      logits, unread: Set(head.flatMap { [$0 + ".weight", $0 + ".bias"] }))
  }

  private mutating func block(_ x: ValueID, _ name: String) throws(CheckpointError) -> ValueID {
    let attention = name + ".attention"
    let mixed = try language.attention(
      x, attention, query: "q_lin", key: "k_lin", value: "v_lin", heads: heads)
    let out = try language.b.linear(
      mixed, attention + ".out_lin", outputs: columns, hasBias: true)
    let attended = try norm(
      language.b.apply(Sum(), to: [out, x], name: attention), name + ".sa_layer_norm")
    let active = try language.b.activated(
      attended, name + ".ffn.lin1", outputs: inner, function, name: name + ".ffn.activation")
    let fed = try language.b.linear(active, name + ".ffn.lin2", outputs: columns, hasBias: true)
    return try norm(
      language.b.apply(Sum(), to: [fed, attended], name: name + ".ffn"),
      name + ".output_layer_norm")
  }

  private mutating func norm(_ x: ValueID, _ module: String) throws(CheckpointError) -> ValueID {
    try language.b.norm(x, module, epsilon: Self.epsilon, centered: true)
  }
}
