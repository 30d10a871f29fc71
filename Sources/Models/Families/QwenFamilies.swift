import Checkpoints

extension ModelFamily {
  /// Qwen 2 and 2.5: Llama with biases of queries, keys and values.
  static let qwen2: ModelFamily = gated(
    "qwen2", heads: LanguageTask.heads("Qwen2"), reads: qwenSettings
  ) {
    config, layers throws(CheckpointError) in
    var options = try qwen(config, layers, width: GatedDecoder.width(config))
    options.hasQueryBias = true
    return options
  }

  /// Qwen 3: norms of the heads of queries and keys.
  static let qwen3: ModelFamily = gated(
    "qwen3", heads: LanguageTask.heads("Qwen3"), reads: qwenSettings.union(["attention_bias"])
  ) { config, layers throws(CheckpointError) in
    let width = try config["head_dim"].size()
    var options = try qwen(config, layers, width: width)
    options.width = width
    options.hasHeadNorms = true
    options.hasQueryBias = try config["attention_bias"].bool(default: false)
    options.hasOutputBias = options.hasQueryBias
    return options
  }

  private static let qwenSettings: Set<String> = [
    "use_sliding_window", "sliding_window", "max_window_layers", "layer_types", "hidden_act",
  ]

  private static func qwen(
    _ config: JSONValue, _ layers: Int, width: Int
  ) throws(CheckpointError) -> GatedDecoder.Options {
    var options = GatedDecoder.Options()
    try config["num_key_value_heads"].requireWritten()
    options.activation = try config["hidden_act"].activation()
    let slides =
      try config["use_sliding_window"].bool(default: false) && config["sliding_window"].exists
    // Layers from this one on.
    let first = slides ? try config["max_window_layers"].integer() : layers
    let types = try LayerTypes(config, layers: layers) { $0 >= first }
    if !slides, types.names.contains(LayerTypes.sliding) {
      throw config["layer_types"].wrong(
        "full_attention alone where use_sliding_window is not true")
    }
    options.windows = try types.windows(config["sliding_window"])
    let rotary = try RotarySettings(config, width: width)
    options.rotary = [RotarySettings](repeating: rotary, count: layers)
    return options
  }
}
