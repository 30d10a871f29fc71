import Checkpoints
import GraphModule
import TensorModule

extension ModelFamily {
  /// OPT (Zhang et al. 2022).
  static let opt: ModelFamily = language(
    "opt",
    heads: LanguageTask.heads("OPT", [.causal, .sequenceClassification]), prefix: "model",
    nameOrders: [
      [
        "model", "lm_head", "score", "decoder", "embed_tokens", "embed_positions", "project_out",
        "project_in", "self_attn", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm",
        "layers", "k_proj", "v_proj", "q_proj", "out_proj",
      ]
    ],
    adapterTargets: ["q_proj", "v_proj"], takesPrompt: true,
    build: { family, config, adapter, data throws(CheckpointError) in
      var builder = try OPTBuilder(family, config, adapter, data)
      return try builder.build()
    })
}

/// Learned positions of the tokens that the mask shows, norms before or behind each branch, and for one
/// size an embedding that is narrower than the model.
private struct OPTBuilder {
  /// Rows of the table of positions that no token has; the first of them, but one, padding reads.
  private static let offset = 2
  private static let prefix = "model.decoder"

  private var language: LanguageBuilder
  private let columns: Int
  private let embedded: Int
  private let inner: Int
  private let heads: Int
  private let function: ElementFunction
  private let hasBias: Bool
  private let hasAffineNorms: Bool
  private let isNormedBefore: Bool

  init(
    _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?
  ) throws(CheckpointError) {
    try config.requireSettings([
      "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "ffn_dim",
      "max_position_embeddings", "do_layer_norm_before", "_remove_final_layer_norm",
      "word_embed_proj_dim", "activation_function", "enable_bias", "layer_norm_elementwise_affine",
      "tie_word_embeddings", "pad_token_id",
    ])
    columns = try config["hidden_size"].size()
    embedded = try config["word_embed_proj_dim"].size(default: columns)
    inner = try config["ffn_dim"].size()
    heads = try config["num_attention_heads"].heads(sharing: columns)
    function = try config["activation_function"].activation()
    hasBias = try config["enable_bias"].bool(default: true)
    hasAffineNorms = try config["layer_norm_elementwise_affine"].bool(default: true)
    isNormedBefore = try config["do_layer_norm_before"].bool()
    language = try LanguageBuilder(
      family, config, adapter, data, limit: config["max_position_embeddings"],
      numbering: .ofMask(offset: Self.offset), padding: 1)
  }

  mutating func build() throws(CheckpointError) -> Model {
    let config = language.config
    let embedding = Self.prefix + ".embed_tokens"
    var x = try language.embed(embedding, columns: embedded)
    if embedded != columns {
      x = try language.b.linear(
        x, Self.prefix + ".project_in", outputs: columns, hasBias: false)
    }
    x = try language.addPositions(
      x, Self.prefix + ".embed_positions",
      rows: config["max_position_embeddings"].size() + Self.offset)
    let layers = try config["num_hidden_layers"].layerCount()
    for layer in 0..<layers { x = try block(x, "\(Self.prefix).layers.\(layer)") }
    if isNormedBefore, try !config["_remove_final_layer_norm"].bool(default: false) {
      x = try norm(x, Self.prefix + ".final_layer_norm")
    }
    if embedded != columns {
      x = try language.b.linear(
        x, Self.prefix + ".project_out", outputs: embedded, hasBias: false)
    }
    let logits = try language.decoderLogits(x, embedding: embedding)
    return try language.finish(logits, unread: ["lm_head.weight"])
  }

  private mutating func block(_ x: ValueID, _ name: String) throws(CheckpointError) -> ValueID {
    let (first, second) = (name + ".self_attn_layer_norm", name + ".final_layer_norm")
    let mixed = try attention(isNormedBefore ? norm(x, first) : x, name + ".self_attn")
    var attended = try language.b.apply(Sum(), to: [x, mixed], name: name + ".self_attn")
    if !isNormedBefore { attended = try norm(attended, first) }
    let active = try language.b.activated(
      isNormedBefore ? norm(attended, second) : attended, name + ".fc1", outputs: inner,
      hasBias: hasBias, function, name: name + ".activation_fn")
    let fed = try language.b.linear(active, name + ".fc2", outputs: columns, hasBias: hasBias)
    let result = try language.b.apply(Sum(), to: [attended, fed], name: name)
    return isNormedBefore ? result : try norm(result, second)
  }

  private mutating func attention(
    _ x: ValueID, _ name: String
  ) throws(CheckpointError) -> ValueID {
    let mixed = try language.attention(
      x, name, query: "q_proj", key: "k_proj", value: "v_proj", heads: heads, hasBias: hasBias,
      buckets: .causal(tokens: language.length))
    return try language.b.linear(mixed, name + ".out_proj", outputs: columns, hasBias: hasBias)
  }

  /// PyTorch's own epsilon.
  private mutating func norm(_ x: ValueID, _ module: String) throws(CheckpointError) -> ValueID {
    if hasAffineNorms {
      return try language.b.norm(x, module, epsilon: 1e-5, centered: true)
    }
    return try language.b.apply(
      Normalization(.rows(dimensions: 1), epsilon: 1e-5), to: [x], name: module)
  }
}
