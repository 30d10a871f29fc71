import Checkpoints
import GraphModule

extension ModelFamily {
  /// A family of gated decoders.
  ///
  /// - Parameters:
  ///   - reads: Settings beside those that all such families read.
  ///   - options: What a configuration makes of it.
  static func gated(
    _ type: String, heads: [String: LanguageTask], isGemma: Bool = false, reads: Set<String>,
    options:
      @escaping @Sendable (_ config: JSONValue, _ layers: Int) throws(CheckpointError) ->
      GatedDecoder.Options
  ) -> ModelFamily {
    language(
      type,
      heads: heads, prefix: "model", tiesHead: isGemma,
      nameOrders: [
        [
          "model", "lm_head", "score", "embed_tokens", "layers", "norm", "self_attn", "mlp",
          "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
          "post_feedforward_layernorm", "q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm",
          "gate_proj", "up_proj", "down_proj",
        ]
      ],
      // Gemma's norms multiply by 1 + w.
      initialization: { spec, config in
        isGemma && isNorm(spec) ? .constant(0) : start(spec, config: config)
      }, adapterTargets: ["q_proj", "v_proj"],
      // Versions of Transformers differ in whether Gemma scales virtual tokens.
      takesPrompt: !isGemma,
      build: { family, config, adapter, data throws(CheckpointError) in
        try config.requireSettings(GatedDecoder.settings.union(reads))
        let layers = try config["num_hidden_layers"].layerCount()
        return try GatedDecoder.build(family, config, adapter, data, options(config, layers))
      })
  }
}

/// Which layers look at a window alone.
struct LayerTypes {
  /// By layer: `full_attention` or `sliding_attention`.
  let names: [String]

  static let (full, sliding) = ("full_attention", "sliding_attention")
  static let all = [full, sliding]

  /// - Parameter isSliding: Where the configuration lists no types.
  init(
    _ config: JSONValue, layers: Int, isSliding: (Int) -> Bool
  ) throws(CheckpointError) {
    let list = config["layer_types"]
    guard list.exists else {
      names = (0..<layers).map { isSliding($0) ? Self.sliding : Self.full }
      return
    }
    names = try list.strings()
    guard names.count == layers else { throw list.wrong("\(layers) types, one for each layer") }
    for (place, name) in names.enumerated() where !Self.all.contains(name) {
      throw list[place].wrong("\"\(Self.full)\" or \"\(Self.sliding)\"")
    }
  }

  /// Per layer, how many tokens a token sees.
  ///
  /// - Parameter setting: That says how many in a window.
  func windows(_ setting: JSONValue) throws(CheckpointError) -> [Int?] {
    guard names.contains(Self.sliding) else { return names.map { _ in nil } }
    let window = try setting.size()
    return names.map { $0 == Self.sliding ? window : nil }
  }
}

extension JSONValue {
  /// - Throws: An error where a file says nothing of a setting that versions of Transformers fill in.
  func requireWritten() throws(CheckpointError) {
    if !isWritten { _ = try content() }
  }
}
