import Checkpoints

extension ModelFamily {
  /// Mistral (Jiang et al. 2023): Llama with a window over all layers, or without.
  static let mistral: ModelFamily = gated(
    "mistral", heads: LanguageTask.heads("Mistral"), reads: ["sliding_window", "hidden_act"]
  ) { config, layers throws(CheckpointError) in
    var options = GatedDecoder.Options()
    try config["num_key_value_heads"].requireWritten()
    options.activation = try config["hidden_act"].activation()
    let window = config["sliding_window"]
    try window.requireWritten()
    options.windows = [Int?](
      repeating: window.exists ? try window.size() : nil, count: layers)
    let rotary = try RotarySettings(config, width: GatedDecoder.width(config))
    options.rotary = [RotarySettings](repeating: rotary, count: layers)
    return options
  }
}
