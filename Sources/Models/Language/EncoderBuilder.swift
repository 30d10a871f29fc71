import Checkpoints
import GraphModule
import TensorModule

extension ModelFamily {
  /// A family with the layers of BERT.
  ///
  /// - Parameter classes: What Transformers calls the classes of its heads begins with this.
  static func encoder(
    _ type: String, classes: String, nameOrders: [[String]], options: EncoderBuilder.Options
  ) -> ModelFamily {
    language(
      type,
      heads: LanguageTask.heads(
        classes, [.sequenceClassification, .tokenClassification, .masked]), prefix: type,
      storedName: normInPyTorch, nameOrders: nameOrders, adapterTargets: ["query", "value"],
      takesPrompt: false,
      build: { family, config, adapter, data throws(CheckpointError) in
        var builder = try EncoderBuilder(family, config, adapter, data, options)
        return try builder.build()
      })
  }

  /// Old checkpoints, and the first ones of BERT, have TensorFlow's names for the weights of norms.
  @Sendable private static func normInPyTorch(_ name: String) -> String {
    for (old, new) in [("gamma", "weight"), ("beta", "bias")]
    where name.hasSuffix(".LayerNorm." + old) {
      return name.dropLast(old.count) + new
    }
    return name
  }
}

/// BERT and RoBERTa: learned positions, types of tokens, norms behind each branch, every token sees all.
struct EncoderBuilder {
  /// What families differ in.
  struct Options: Sendable {
    let numbering: LanguageBuilder.Numbering
    /// The token that fills sequences up, where nothing is said.
    let padding: Int
    /// Whether positions of padding have no gradient.
    var leavesOutPadding = false
    /// The layer that the first token of a sequence goes through, and the one of the classes.
    let pooler: String
    let classifier: String
    /// The head of hidden tokens, the module of the layer and the norm in front of it, and their function;
    /// `nil`: that of the model.
    let tokenHead: String
    let transform: String
    let transformNorm: String
    var transformFunction: ElementFunction?
  }

  private var language: LanguageBuilder
  private let options: Options
  private let columns: Int
  private let inner: Int
  private let heads: Int
  private let epsilon: Double
  private let function: ElementFunction

  private var prefix: String { language.family.type }

  init(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?,
    _ options: Options
  ) throws(CheckpointError) {
    try config.requireSettings([
      "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
      "hidden_act", "max_position_embeddings", "type_vocab_size", "layer_norm_eps",
      "position_embedding_type", "tie_word_embeddings", "pad_token_id",
    ])
    try config["position_embedding_type"].requireValue("absolute")
    columns = try config["hidden_size"].size()
    inner = try config["intermediate_size"].size()
    heads = try config["num_attention_heads"].heads(sharing: columns)
    epsilon = try config["layer_norm_eps"].positive()
    function = try config["hidden_act"].activation()
    self.options = options
    language = try LanguageBuilder(
      family, config, adapter, data, limit: config["max_position_embeddings"],
      numbering: options.numbering, padding: options.padding,
      types: config["type_vocab_size"].size())
  }

  mutating func build() throws(CheckpointError) -> Model {
    let (config, embeddings) = (language.config, prefix + ".embeddings")
    var x = try language.embed(embeddings + ".word_embeddings", columns: columns)
    x = try language.addTypes(
      x, embeddings + ".token_type_embeddings", rows: config["type_vocab_size"].size())
    x = try language.addPositions(
      x, embeddings + ".position_embeddings", rows: config["max_position_embeddings"].size(),
      leavesOut: options.leavesOutPadding)
    x = try norm(x, embeddings + ".LayerNorm")
    for layer in 0..<(try config["num_hidden_layers"].layerCount()) {
      x = try block(x, "\(prefix).encoder.layer.\(layer)")
    }
    let logits: ValueID
    switch language.task {
    case .sequenceClassification: logits = try sequenceHead(x)
    case .tokenClassification, .causal:
      logits = try language.classify(
        language.scored(x, "classifier.scored"), "classifier", hasBias: true)
    case .masked: logits = try tokenHead(x)
    }
    // The head of hidden tokens, with which a base mostly comes, is not that of classes.
    let hidden = ["dense", options.transformNorm].map { options.transform + "." + $0 }
    return try language.finish(
      logits,
      unread: Set(hidden.flatMap { [$0 + ".weight", $0 + ".bias"] }).union([
        embeddings + ".position_ids", embeddings + ".token_type_ids",
        prefix + ".pooler.dense.weight", prefix + ".pooler.dense.bias",
        // Tied, and the head of next sentences.
        "cls.predictions.decoder.weight", "cls.predictions.decoder.bias",
        "cls.seq_relationship.weight", "cls.seq_relationship.bias", "lm_head.decoder.weight",
        "lm_head.decoder.bias",
        // Of a head that is not tied, in Transformers 5.
        options.tokenHead + ".bias",
      ]))
  }

  private mutating func block(_ x: ValueID, _ name: String) throws(CheckpointError) -> ValueID {
    let attention = name + ".attention"
    let mixed = try language.attention(
      x, attention + ".self", query: "query", key: "key", value: "value", heads: heads)
    let attended = try output(mixed, after: x, attention + ".output")
    let active = try language.b.activated(
      attended, name + ".intermediate.dense", outputs: inner, function,
      name: name + ".intermediate")
    return try output(active, after: attended, name + ".output")
  }

  /// A projection, the sum with what the branch began with, and the norm.
  private mutating func output(
    _ x: ValueID, after residual: ValueID, _ name: String
  ) throws(CheckpointError) -> ValueID {
    let dense = try language.b.linear(x, name + ".dense", outputs: columns, hasBias: true)
    return try norm(
      language.b.apply(Sum(), to: [dense, residual], name: name), name + ".LayerNorm")
  }

  /// The first token stands for the sequence.
  private mutating func sequenceHead(_ x: ValueID) throws(CheckpointError) -> ValueID {
    let module = options.pooler
    let first = try language.b.select(x, [0], name: module + ".token")
    let pooled = try language.b.activated(
      first, module, outputs: columns, .tanh, name: module + ".tanh")
    return try language.classify(pooled, options.classifier, hasBias: true)
  }

  private mutating func tokenHead(_ x: ValueID) throws(CheckpointError) -> ValueID {
    let (head, transform) = (options.tokenHead, options.transform)
    let active = try language.b.activated(
      language.scored(x, head + ".scored"), transform + ".dense", outputs: columns,
      options.transformFunction ?? function, name: transform + ".act")
    let normed = try norm(active, "\(transform).\(options.transformNorm)")
    return try language.tokenLogits(
      normed, head + ".decoder", embedding: prefix + ".embeddings.word_embeddings",
      biasOf: biasOwner)
  }

  /// The module whose bias is added to the logits of tokens. In Transformers 4 the head and its last layer
  /// have one bias between them, in 5 only where the head is tied; otherwise that of the layer counts.
  private var biasOwner: String {
    get throws(CheckpointError) {
      let (config, head) = (language.config, options.tokenHead)
      let version = try config["transformers_version"].string(default: "")
      let major = version.prefix { $0 != "." }
      let isTied = try config["tie_word_embeddings"].bool(default: language.family.tiesHead)
      return !isTied && Int(major) ?? 0 >= 5 ? head + ".decoder" : head
    }
  }

  private mutating func norm(_ x: ValueID, _ module: String) throws(CheckpointError) -> ValueID {
    try language.b.norm(x, module, epsilon: epsilon, centered: true)
  }
}
