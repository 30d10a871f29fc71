import Checkpoints

extension ModelFamily {
  /// Gemma 2 (2024): caps on scores and logits, every second layer with a window.
  static let gemma2: ModelFamily = gated(
    "gemma2", heads: LanguageTask.heads("Gemma2"), isGemma: true,
    reads: gemmaSettings.union(["attn_logit_softcapping"])
  ) { config, layers throws(CheckpointError) in
    var options = try gemma(config)
    options.attentionCap = try cap(config["attn_logit_softcapping"])
    let types = try LayerTypes(config, layers: layers) { ($0 + 1) % 2 != 0 }
    options.windows = try types.windows(config["sliding_window"])
    options.rotary = try types.names.map { type throws(CheckpointError) in
      try RotarySettings(config, layerType: type, width: options.width!)
    }
    return options
  }

  /// Gemma 3 (2025), text alone: norms of the heads, angles of its own for layers with a window.
  static let gemma3: ModelFamily = gated(
    "gemma3_text",
    heads: [
      "Gemma3ForCausalLM": .causal,
      "Gemma3TextForSequenceClassification": .sequenceClassification,
    ], isGemma: true,
    reads: gemmaSettings.union([
      "rope_local_base_freq", "sliding_window_pattern", "_sliding_window_pattern",
    ])
  ) { config, layers throws(CheckpointError) in
    var options = try gemma(config)
    options.hasHeadNorms = true
    var every = try config["sliding_window_pattern"].size(default: 6)
    every = try config["_sliding_window_pattern"].size(default: every)
    let types = try LayerTypes(config, layers: layers) { ($0 + 1) % every != 0 }
    options.windows = try types.windows(config["sliding_window"])
    options.rotary = try types.names.map { type throws(CheckpointError) in
      let slides = type == LayerTypes.sliding
      return try RotarySettings(
        config, layerType: type, theta: slides ? "rope_local_base_freq" : "rope_theta",
        isScaled: !slides, width: options.width!)
    }
    return options
  }

  private static let gemmaSettings: Set<String> = [
    "attention_bias", "query_pre_attn_scalar", "sliding_window", "layer_types",
    "final_logit_softcapping", "hidden_activation",
    // Files have it beside the one that is read.
    "hidden_act",
  ]

  private static func gemma(_ config: JSONValue) throws(CheckpointError) -> GatedDecoder.Options {
    var options = GatedDecoder.Options()
    options.isGemma = true
    try config["num_key_value_heads"].requireWritten()
    options.width = try config["head_dim"].size()
    options.scale = try 1 / config["query_pre_attn_scalar"].positive().squareRoot()
    options.activation = try config["hidden_activation"].activation()
    options.hasQueryBias = try config["attention_bias"].bool(default: false)
    options.hasOutputBias = options.hasQueryBias
    options.logitCap = try cap(config["final_logit_softcapping"])
    return options
  }

  /// A cap that the file must say something of, be it null.
  private static func cap(_ setting: JSONValue) throws(CheckpointError) -> Double? {
    try setting.requireWritten()
    return setting.exists ? try setting.positive() : nil
  }
}
