import Checkpoints

/// What PEFT puts on top of a model.
enum Adapter: Sendable {
  case lowRank(LowRankAdapter)
  case promptTuning(PromptTuning)

  init(_ config: JSONValue) throws(CheckpointError) {
    let type = try config["peft_type"].string()
    switch type {
    case "LORA": self = .lowRank(try LowRankAdapter(config))
    case "PROMPT_TUNING": self = .promptTuning(try PromptTuning(config))
    default:
      throw CheckpointError(
        .unsupportedName(
          what: "peft_type", found: type, supported: ["LORA", "PROMPT_TUNING"]),
        at: .init(file: config.file))
    }
  }
}

/// Kinds of adapters, by the parameters that they bring.
package enum AdapterKind: Sendable {
  case lowRank
  case promptTuning

  /// - Parameter names: Of what trains; `nil` where there is nothing of an adapter.
  init?(parameters names: Set<String>) {
    if names.contains(PromptTuning.parameterName) {
      self = .promptTuning
    } else if names.contains(where: { $0.hasSuffix(".lora_A.weight") }) {
      self = .lowRank
    } else {
      return nil
    }
  }
}

/// Virtual tokens in front of the encoder's input (PEFT's PromptTuningConfig).
struct PromptTuning: Sendable {
  let virtualTokens: Int
  /// Rows of the table: PEFT keeps one set for each transformer of the model and uses the first.
  let rows: Int
  /// With CAUSAL_LM PEFT also puts as many positions that are not scored in front of the labels.
  let padsLabels: Bool

  static let parameterName = "prompt_embeddings"

  init(_ config: JSONValue) throws(CheckpointError) {
    let known: Set<String> = [
      "auto_mapping", "base_model_name_or_path", "inference_mode", "num_attention_heads",
      "num_layers", "num_transformer_submodules", "num_virtual_tokens", "peft_type",
      "peft_version", "prompt_tuning_init", "prompt_tuning_init_text", "revision", "task_type",
      "token_dim", "tokenizer_kwargs", "tokenizer_name_or_path",
    ]
    for key in try config.keys() where !known.contains(key) { try requireUnset(config[key]) }
    virtualTokens = try config["num_virtual_tokens"].integer()
    // The graph has a table of all pairs of tokens.
    guard (1...16384).contains(virtualTokens) else {
      throw config["num_virtual_tokens"].wrong("a number from 1 to 16384")
    }
    let task = try config["task_type"].string()
    let submodules: Int
    switch task {
    case "SEQ_2_SEQ_LM": (submodules, padsLabels) = (2, false)
    case "CAUSAL_LM": (submodules, padsLabels) = (1, true)
    default: throw config["task_type"].wrong("\"SEQ_2_SEQ_LM\" or \"CAUSAL_LM\"")
    }
    let sets = try config["num_transformer_submodules"].integer(default: submodules)
    guard sets > 0, sets <= 2 else {
      throw config["num_transformer_submodules"].wrong("1 or 2")
    }
    rows = sets * virtualTokens
  }
}
