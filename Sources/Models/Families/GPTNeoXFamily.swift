import Checkpoints
import GraphModule
import TensorModule

extension ModelFamily {
  /// GPT-NeoX (Black et al. 2022) and Pythia.
  static let gptNeoX: ModelFamily = language(
    "gpt_neox",
    heads: LanguageTask.heads("GPTNeoX"), parameterName: { unwrapped($0).map(headInVersion4) },
    // Transformers 5 names the head anew.
    otherNames: { $0 == GPTNeoXBuilder.head ? [GPTNeoXBuilder.headInVersion5] : [] },
    prefix: "gpt_neox", storedName: headInVersion4, tiesHead: false,
    nameOrders: [
      [
        "gpt_neox", "embed_out", "score", "classifier", "embed_in", "layers", "final_layer_norm",
        "input_layernorm", "post_attention_layernorm", "attention", "mlp", "query_key_value",
        "dense", "dense_h_to_4h", "dense_4h_to_h",
      ]
    ],
    adapterTargets: ["query_key_value"], takesPrompt: true,
    build: { family, config, adapter, data throws(CheckpointError) in
      var builder = try GPTNeoXBuilder(family, config, adapter, data)
      return try builder.build()
    })

  @Sendable private static func headInVersion4(_ name: String) -> String {
    let new = GPTNeoXBuilder.headInVersion5 + "."
    return name.hasPrefix(new) ? GPTNeoXBuilder.head + "." + name.dropFirst(new.count) : name
  }
}

/// Rotary positions on some columns of each head, queries, keys and values of a head beside each other,
/// and, mostly, attention and feed-forward next to each other.
private struct GPTNeoXBuilder {
  static let (head, headInVersion5) = ("embed_out", "lm_head")

  private var language: LanguageBuilder
  private let columns: Int
  private let heads: Int
  private let inner: Int
  private let epsilon: Double
  private let function: ElementFunction
  private let hasBias: Bool
  private let isParallel: Bool
  private let angles: RotaryValues

  private var width: Int { columns / heads }

  init(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?
  ) throws(CheckpointError) {
    try config.requireSettings(
      RotarySettings.names.union([
        "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
        "intermediate_size", "hidden_act", "layer_norm_eps", "use_parallel_residual",
        "attention_bias", "rotary_pct", "rotary_emb_base", "partial_rotary_factor",
        "tie_word_embeddings", "pad_token_id",
      ]))
    columns = try config["hidden_size"].size()
    heads = try config["num_attention_heads"].heads(sharing: columns)
    inner = try config["intermediate_size"].size()
    epsilon = try config["layer_norm_eps"].positive()
    function = try config["hidden_act"].activation()
    hasBias = try config["attention_bias"].bool(default: true)
    isParallel = try config["use_parallel_residual"].bool(default: true)
    // Transformers 4 has written both spellings.
    let theta = config["rotary_emb_base"].exists ? "rotary_emb_base" : "rope_theta"
    let rotary = try RotarySettings(config, theta: theta, width: columns / heads)
    language = try LanguageBuilder(family, config, adapter, data, limit: rotary.limit)
    // Of version 5, the share is among the rope's own parameters.
    var share: Double?
    for name in ["partial_rotary_factor", "rotary_pct"] where config[name].exists {
      share = try config[name].positive()
    }
    if share == nil, !config["rope_parameters"].exists {
      share = try config["rotary_pct"].positive()
    }
    angles = try language.b.values(
      rotary.positions(language.length, of: language.given, share: share))
  }

  mutating func build() throws(CheckpointError) -> Model {
    let embedding = "gpt_neox.embed_in"
    var x = try language.embed(embedding, columns: columns, leavesOut: false)
    let layers = try language.config["num_hidden_layers"].layerCount()
    for layer in 0..<layers { x = try block(x, layer) }
    x = try norm(x, "gpt_neox.final_layer_norm")
    let logits = try language.decoderLogits(x, head: Self.head, embedding: embedding)
    let buffers = (0..<layers).flatMap { layer in
      ["bias", "masked_bias", "rotary_emb.inv_freq"].map {
        "gpt_neox.layers.\(layer).attention.\($0)"
      }
    }
    return try language.finish(logits, unread: Set(buffers + [Self.head + ".weight"]))
  }

  private mutating func block(_ x: ValueID, _ layer: Int) throws(CheckpointError) -> ValueID {
    let name = "gpt_neox.layers.\(layer)"
    let mixed = try attention(norm(x, name + ".input_layernorm"), name + ".attention")
    let attended = try language.b.apply(Sum(), to: [mixed, x], name: name + ".attention")
    let fed = try feedForward(
      norm(isParallel ? x : attended, name + ".post_attention_layernorm"), name + ".mlp")
    return try language.b.apply(Sum(), to: [fed, attended], name: name + ".mlp")
  }

  private mutating func attention(
    _ x: ValueID, _ name: String
  ) throws(CheckpointError) -> ValueID {
    let joint = try language.b.linear(
      x, name + ".query_key_value", outputs: 3 * columns, hasBias: hasBias)
    let byHead = try language.b.reshape(joint, to: [language.length, heads, 3 * width])
    var parts: [ValueID] = []
    for part in 0..<3 {
      parts.append(
        try language.b.apply(
          View(.slice(axis: 2, start: part * width, step: 1, count: width)), to: [byHead],
          name: name))
    }
    var attention = SelfAttention(name, heads: heads, width: width)
    attention.angles = angles
    let mixed = try language.b.attention(
      attention, parts[0], parts[1], parts[2], mask: language.mask)
    return try language.b.linear(mixed, name + ".dense", outputs: columns, hasBias: hasBias)
  }

  private mutating func feedForward(
    _ x: ValueID, _ name: String
  ) throws(CheckpointError) -> ValueID {
    let active = try language.b.activated(
      x, name + ".dense_h_to_4h", outputs: inner, function, name: name + ".act")
    return try language.b.linear(
      active, name + ".dense_4h_to_h", outputs: columns, hasBias: true)
  }

  private mutating func norm(_ x: ValueID, _ module: String) throws(CheckpointError) -> ValueID {
    try language.b.norm(x, module, epsilon: epsilon, centered: true)
  }
}
