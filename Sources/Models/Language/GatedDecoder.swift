import Checkpoints
import GraphModule
import TensorModule

/// Llama (Touvron et al. 2023) and what has grown from it: RMS norms, rotary positions, grouped heads, a
/// gated feed-forward.
struct GatedDecoder {
  /// What families differ in.
  struct Options {
    var hasQueryBias = false
    var hasOutputBias = false
    var hasFeedForwardBias = false
    /// Norms of the heads of queries and keys.
    var hasHeadNorms = false
    /// Columns of one head; `nil`: those of the model, dealt out.
    var width: Int?
    var scale: Double?
    /// Gemma: norms multiply by 1 + w, there are two around every branch, and tokens are scaled.
    var isGemma = false
    var attentionCap: Double?
    var logitCap: Double?
    var activation: ElementFunction = .silu
    /// Per layer, how many tokens a token sees; `nil`: all before it.
    var windows: [Int?] = []
    /// Per layer.
    var rotary: [RotarySettings] = []
  }

  /// Settings that all families read.
  static let settings = RotarySettings.names.union([
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
    "head_dim", "intermediate_size", "rms_norm_eps", "tie_word_embeddings", "pad_token_id",
  ])

  private var language: LanguageBuilder
  private let options: Options
  private let epsilon: Double
  private let columns: Int
  private let inner: Int
  private let heads: Int
  private let keyHeads: Int
  private let width: Int
  private var angles: [RotaryValues] = []

  /// Columns of one head, where a family has no standard of its own.
  static func width(_ config: JSONValue) throws(CheckpointError) -> Int {
    if config["head_dim"].exists { return try config["head_dim"].size() }
    let columns = try config["hidden_size"].size()
    return try columns / config["num_attention_heads"].heads(sharing: columns)
  }

  static func build(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?,
    _ options: Options
  ) throws(CheckpointError) -> Model {
    var decoder = try GatedDecoder(family, config, adapter, data, options)
    return try decoder.build()
  }

  private init(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?,
    _ options: Options
  ) throws(CheckpointError) {
    self.options = options
    var limit: JSONValue? = config["max_position_embeddings"]
    for rotary in options.rotary where try rotary.limit == nil { limit = nil }
    language = try LanguageBuilder(family, config, adapter, data, limit: limit)
    epsilon = try config["rms_norm_eps"].positive()
    columns = try config["hidden_size"].size()
    inner = try config["intermediate_size"].size()
    heads = try config["num_attention_heads"].size()
    keyHeads = try config["num_key_value_heads"].size(default: heads)
    width = if let width = options.width { width } else { try Self.width(config) }
    guard heads % keyHeads == 0 else {
      throw config["num_key_value_heads"].wrong("a divisor of num_attention_heads")
    }
    // Layers have them in common, all or those of a type.
    for rotary in options.rotary {
      let earlier = options.rotary[..<angles.count]
      if let same = earlier.firstIndex(where: rotary.agrees) {
        angles.append(angles[same])
      } else {
        angles.append(
          try language.b.values(
            rotary.positions(language.length, of: language.given, share: 1)))
      }
    }
  }

  private mutating func build() throws(CheckpointError) -> Model {
    let embedding = "model.embed_tokens"
    var x = try language.embed(embedding, columns: columns)
    if options.isGemma {
      x = try language.b.apply(
        Scale(factor: Double(columns).squareRoot()), to: [x], name: embedding)
    }
    for layer in options.rotary.indices { x = try block(x, layer) }
    x = try norm(x, "model.norm")
    var logits = try language.decoderLogits(x, embedding: embedding, tokenClassifier: "score")
    if language.task == .causal, let cap = options.logitCap {
      logits = try language.b.capped(logits, cap, name: "lm_head.cap")
    }
    let buffers = options.rotary.indices.map {
      "model.layers.\($0).self_attn.rotary_emb.inv_freq"
    }
    return try language.finish(logits, unread: Set(buffers + ["lm_head.weight"]))
  }

  private mutating func block(_ x: ValueID, _ layer: Int) throws(CheckpointError) -> ValueID {
    let name = "model.layers.\(layer)"
    var mixed = try attention(norm(x, name + ".input_layernorm"), name + ".self_attn", layer)
    let after = name + ".post_attention_layernorm"
    if options.isGemma { mixed = try norm(mixed, after) }
    let attended = try language.b.apply(Sum(), to: [x, mixed], name: name + ".self_attn")
    let before = options.isGemma ? name + ".pre_feedforward_layernorm" : after
    var fed = try feedForward(norm(attended, before), name + ".mlp")
    if options.isGemma { fed = try norm(fed, name + ".post_feedforward_layernorm") }
    return try language.b.apply(Sum(), to: [attended, fed], name: name + ".mlp")
  }

  private mutating func attention(
    _ x: ValueID, _ name: String, _ layer: Int
  ) throws(CheckpointError) -> ValueID {
    var parts: [ValueID] = []
    for (part, count) in [("q", heads), ("k", keyHeads), ("v", keyHeads)] {
      let projected = try language.b.linear(
        x, "\(name).\(part)_proj", outputs: count * width, hasBias: options.hasQueryBias)
      var own = try language.b.reshape(projected, to: [language.length, count, width])
      if options.hasHeadNorms, part != "v" { own = try norm(own, "\(name).\(part)_norm") }
      parts.append(own)
    }
    var attention = SelfAttention(
      name, heads: heads, keyHeads: keyHeads, width: width, scale: options.scale)
    attention.window = options.windows[layer]
    attention.cap = options.attentionCap
    attention.angles = angles[layer]
    let mixed = try language.b.attention(
      attention, parts[0], parts[1], parts[2], mask: language.mask)
    return try language.b.linear(
      mixed, name + ".o_proj", outputs: columns, hasBias: options.hasOutputBias)
  }

  private mutating func feedForward(
    _ x: ValueID, _ name: String
  ) throws(CheckpointError) -> ValueID {
    let hasBias = options.hasFeedForwardBias
    let open = try language.b.activated(
      x, name + ".gate_proj", outputs: inner, hasBias: hasBias, options.activation,
      name: name + ".act_fn")
    let up = try language.b.linear(x, name + ".up_proj", outputs: inner, hasBias: hasBias)
    let gated = try language.b.apply(Product(), to: [open, up], name: name)
    return try language.b.linear(
      gated, name + ".down_proj", outputs: columns, hasBias: hasBias)
  }

  private mutating func norm(_ x: ValueID, _ module: String) throws(CheckpointError) -> ValueID {
    guard options.isGemma else {
      return try language.b.norm(x, module, epsilon: epsilon, centered: false)
    }
    let size = language.b.shape(x).last!
    let bare = try language.b.apply(
      Normalization(.rows(dimensions: 1), epsilon: epsilon, centered: false), to: [x],
      name: module)
    let weight = try language.b.value(
      language.b.parameter(module, "weight", shape: [size]), module)
    let one = try language.b.apply(Constant([1], shape: [1]), to: [], name: module)
    let factor = try language.b.apply(Sum(), to: [weight, one], name: module)
    return try language.b.apply(Product(), to: [bare, factor], name: module)
  }
}
