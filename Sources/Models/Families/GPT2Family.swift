import Checkpoints
import GraphModule
import TensorModule

extension ModelFamily {
  /// GPT-2 (Radford et al. 2019).
  static let gpt2: ModelFamily = language(
    "gpt2",
    heads: [
      "GPT2LMHeadModel": .causal, "GPT2ForSequenceClassification": .sequenceClassification,
      "GPT2ForTokenClassification": .tokenClassification,
    ], prefix: "transformer",
    nameOrders: [
      [
        "transformer", "lm_head", "score", "classifier", "wte", "wpe", "h", "ln_f", "ln_1", "attn",
        "ln_2", "mlp", "c_attn", "c_fc", "c_proj",
      ]
    ],
    initialization: { spec, config in
      // What is added to the residual stream is smaller the more there is of it.
      guard spec.name.hasSuffix(".c_proj.weight") else { return start(spec, config: config) }
      let layers = number(config["n_layer"], 12)
      return .normal(
        deviation: number(config["initializer_range"], 0.02) / (2 * layers).squareRoot())
    }, adapterTargets: ["c_attn"], takesPrompt: true,
    build: { family, config, adapter, data throws(CheckpointError) in
      var builder = try GPT2Builder(family, config, adapter, data)
      return try builder.build()
    })
}

/// Learned positions, norms before each branch, one projection for queries, keys and values, and weights
/// that lie transposed in files (Conv1D).
private struct GPT2Builder {
  private var language: LanguageBuilder
  private let columns: Int
  private let heads: Int
  private let epsilon: Double
  private let function: ElementFunction

  init(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?
  ) throws(CheckpointError) {
    try config.requireSettings([
      "vocab_size", "n_positions", "n_embd", "n_layer", "n_head", "n_inner", "layer_norm_epsilon",
      "activation_function", "scale_attn_weights", "scale_attn_by_inverse_layer_idx",
      "tie_word_embeddings", "pad_token_id",
    ])
    columns = try config["n_embd"].size()
    heads = try config["n_head"].heads(sharing: columns, of: "n_embd")
    epsilon = try config["layer_norm_epsilon"].positive()
    function = try config["activation_function"].activation()
    language = try LanguageBuilder(
      family, config, adapter, data, limit: config["n_positions"], numbering: .inOrder(from: 0),
      types: config["vocab_size"].size())
  }

  mutating func build() throws(CheckpointError) -> Model {
    let config = language.config
    let embedding = "transformer.wte"
    var x = try language.embed(embedding, columns: columns, leavesOut: false)
    x = try language.addPositions(x, "transformer.wpe", rows: config["n_positions"].size())
    // Types of tokens are rows of the same table.
    if language.types != nil {
      x = try language.addTypes(x, embedding, rows: language.vocabulary)
    }
    let layers = try config["n_layer"].layerCount()
    for layer in 0..<layers { x = try block(x, layer) }
    x = try norm(x, "transformer.ln_f")
    let logits = try language.decoderLogits(x, embedding: embedding)
    let buffers = (0..<layers).flatMap { layer in
      ["bias", "masked_bias"].map { "transformer.h.\(layer).attn.\($0)" }
    }
    return try language.finish(logits, unread: Set(buffers + ["lm_head.weight"]))
  }

  private mutating func block(_ x: ValueID, _ layer: Int) throws(CheckpointError) -> ValueID {
    let name = "transformer.h.\(layer)"
    let mixed = try attention(norm(x, name + ".ln_1"), name + ".attn", layer)
    let attended = try language.b.apply(Sum(), to: [mixed, x], name: name + ".attn")
    let active = try language.b.activated(
      norm(attended, name + ".ln_2"), name + ".mlp.c_fc",
      outputs: language.config["n_inner"].size(default: 4 * columns), storage: .transposed,
      function, name: name + ".mlp.act")
    let fed = try projection(active, name + ".mlp.c_proj", outputs: columns)
    return try language.b.apply(Sum(), to: [attended, fed], name: name + ".mlp")
  }

  private mutating func attention(
    _ x: ValueID, _ name: String, _ layer: Int
  ) throws(CheckpointError) -> ValueID {
    let width = columns / heads
    let joint = try projection(x, name + ".c_attn", outputs: 3 * columns)
    var parts: [ValueID] = []
    for part in 0..<3 {
      let own = try language.b.apply(
        View(.slice(axis: 1, start: part * columns, step: 1, count: columns)), to: [joint],
        name: name)
      parts.append(try language.b.reshape(own, to: [language.length, heads, width]))
    }
    let config = language.config
    var scale =
      try config["scale_attn_weights"].bool(default: true) ? 1 / Double(width).squareRoot() : 1
    if try config["scale_attn_by_inverse_layer_idx"].bool(default: false) {
      scale /= Double(layer + 1)
    }
    let mixed = try language.b.attention(
      SelfAttention(name, heads: heads, width: width, scale: scale), parts[0], parts[1], parts[2],
      mask: language.mask)
    return try projection(mixed, name + ".c_proj", outputs: columns)
  }

  private mutating func projection(
    _ x: ValueID, _ module: String, outputs: Int
  ) throws(CheckpointError) -> ValueID {
    try language.b.linear(
      x, module, outputs: outputs, hasBias: true, storage: .transposed)
  }

  private mutating func norm(_ x: ValueID, _ module: String) throws(CheckpointError) -> ValueID {
    try language.b.norm(x, module, epsilon: epsilon, centered: true)
  }
}
