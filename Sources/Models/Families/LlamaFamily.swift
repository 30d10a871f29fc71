import Checkpoints

extension ModelFamily {
  /// Llama 1 to 3 (Touvron et al. 2023), and what has its shape.
  static let llama: ModelFamily = gated(
    "llama", heads: LanguageTask.heads("Llama"),
    reads: ["attention_bias", "mlp_bias", "hidden_act"]
  ) { config, layers throws(CheckpointError) in
    var options = GatedDecoder.Options()
    options.hasQueryBias = try config["attention_bias"].bool(default: false)
    options.hasOutputBias = options.hasQueryBias
    options.hasFeedForwardBias = try config["mlp_bias"].bool(default: false)
    options.activation = try config["hidden_act"].activation()
    options.windows = [Int?](repeating: nil, count: layers)
    let rotary = try RotarySettings(config, width: GatedDecoder.width(config))
    options.rotary = [RotarySettings](repeating: rotary, count: layers)
    return options
  }
}
