import Checkpoints
import Models
import Testing

/// Settings of config.json and adapter_config.json that no model can be built from, each the
/// defect alone: an error that names the setting, never a crash.
struct TransformerErrorTests {
  @Test(arguments: [
    ("num_heads", "0"), ("d_kv", "-1"), ("vocab_size", "1e99"), ("feed_forward_proj", "\"gated-\""),
    ("feed_forward_proj", "\"a-b-c\""), ("relative_attention_num_buckets", "1"),
    ("relative_attention_num_buckets", "3"),
    ("relative_attention_num_buckets", "4611686018427387904"),
    ("relative_attention_max_distance", "16"), ("relative_attention_max_distance", "1"),
  ])
  func settingsOfT5(_ key: String, value: String) {
    expectError(at: key) { try model("t5", #"{"num_layers": 1, "\#(key)": \#(value)}"#) }
  }

  @Test(arguments: [
    ("num_attention_heads", "5"), ("patch_size", "225"), ("image_size", "[1, 2, 3]"),
    ("image_size", "[0, 16]"), ("hidden_act", "\"unknown\""), ("hidden_size", "0"),
  ])
  func settingsOfViT(_ key: String, value: String) {
    expectError(at: key == "image_size" || key == "patch_size" ? "size" : key) {
      try model("vit", #"{"num_hidden_layers": 1, "\#(key)": \#(value)}"#)
    }
  }

  @Test func imageOfTooManyPatches() {
    expectError(at: "patch_size") {
      try model(
        "vit", #"{"num_hidden_layers": 1, "image_size": 1000000, "patch_size": 1}"#)
    }
  }

  @Test(arguments: [
    ("r", "0"), ("r", "-2"), ("r", "4611686018427387904"), ("bias", "\"some\""),
    ("rank_pattern", #"{"q": 0}"#), ("rank_pattern", #"{"(": 1}"#),
    ("rank_pattern", #"{"a)(b": 1}"#), ("rank_pattern", #"{"q": 4611686018427387904}"#),
    ("alpha_pattern", #"{"q": "x"}"#), ("target_modules", "[]"), ("target_modules", "\"[\""),
    ("layers_pattern", "\"(\""), ("use_dora", "true"), ("lora_bias", "true"),
    ("init_lora_weights", "\"pissa\""),
  ])
  func settingsOfLoRA(_ key: String, value: String) {
    let targets = key == "target_modules" ? "" : #""target_modules": ["q"], "#
    expectError(at: key) {
      try model(
        "t5", #"{"num_layers": 1}"#,
        adapter: #"{"peft_type": "LORA", \#(targets)"\#(key)": \#(value)}"#)
    }
  }

  @Test(arguments: [
    ("num_virtual_tokens", "0"), ("num_virtual_tokens", "2000000000"), ("task_type", "\"SEQ_CLS\""),
    ("num_transformer_submodules", "3"), ("prompt_tuning", "1"),
  ])
  func settingsOfPromptTuning(_ key: String, value: String) {
    var settings = ["num_virtual_tokens": "4", "task_type": "\"CAUSAL_LM\""]
    settings[key] = value
    let text = settings.map { "\"\($0.key)\": \($0.value)" }.sorted().joined(separator: ", ")
    expectError(at: key) {
      try model(
        "t5", #"{"num_layers": 1}"#, adapter: #"{"peft_type": "PROMPT_TUNING", \#(text)}"#)
    }
  }

  @Test func adaptersThatChangeNothing() {
    expectError(at: "target_modules") {
      try model(
        "vit", #"{"num_hidden_layers": 1}"#,
        adapter: #"{"peft_type": "LORA", "target_modules": ["q"]}"#)
    }
  }

  private func model(_ type: String, _ config: String, adapter: String? = nil) throws {
    let config = try JSONValue(parsing: config, name: "config", file: "config.json")
    let peft = try adapter.map {
      try JSONValue(parsing: $0, name: "adapter_config", file: "adapter_config.json")
    }
    _ = try Model(type: type, config: config, adapter: peft, data: nil)
  }

  private func expectError(
    at key: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
  ) {
    let error = #expect(throws: CheckpointError.self, sourceLocation: sourceLocation) {
      try body()
    }
    #expect(
      error.map { "\($0)" }?.contains(key) ?? true, "\(error.map { "\($0)" } ?? "")",
      sourceLocation: sourceLocation)
  }
}
