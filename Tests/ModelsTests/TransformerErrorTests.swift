import Checkpoints
import Testing

@testable import Models

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
    ("layers_pattern", "\"(\""), ("use_dora", "true"), ("use_qalora", "true"),
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

  /// Patterns for which a backtracking matcher tries exponentially many ways, or the product of
  /// many.
  @Test(
    .timeLimit(.minutes(1)),
    arguments: [
      ("target_modules", #""(.*)*x""#), ("target_modules", #""(.|..)+#""#),
      ("exclude_modules", #""(.+.*)+#""#), ("rank_pattern", #"{"(.*)*x": 4}"#),
      ("alpha_pattern", #"{"((.|..)+)+x": 4}"#), ("layers_pattern", #"["((.*)*)*x"]"#),
    ])
  func patternsThatTakeTooLongAreRefusedByName(_ key: String, _ value: String) {
    let targets = key == "target_modules" ? "" : #""target_modules": ["q"], "#
    let layers = key == "layers_pattern" ? #""layers_to_transform": [0], "# : ""
    let error = #expect(throws: CheckpointError.self) {
      try model(
        "t5", #"{"num_layers": 1}"#,
        adapter: #"{"peft_type": "LORA", \#(targets)\#(layers)"\#(key)": \#(value)}"#)
    }
    let text = error.map { "\($0)" } ?? ""
    #expect(text.contains(key) && text.contains("in few steps"), "\(text)")
  }

  @Test func listsWithoutEndAreRefused() {
    let many = (0..<5000).map { "\"m\($0)\"" }.joined(separator: ", ")
    let ranks = (0..<5000).map { "\"m\($0)\": 1" }.joined(separator: ", ")
    for (key, value) in [
      ("modules_to_save", "[\(many)]"), ("rank_pattern", "{\(ranks)}"),
      ("target_modules", "\"" + String(repeating: "a", count: 5000) + "\""),
    ] {
      let targets = key == "target_modules" ? "" : #""target_modules": ["q"], "#
      expectError(at: key) {
        try model(
          "t5", #"{"num_layers": 1}"#,
          adapter: #"{"peft_type": "LORA", \#(targets)"\#(key)": \#(value)}"#)
      }
    }
  }

  @Test(arguments: [
    ("t5", "num_layers"), ("t5", "num_decoder_layers"), ("vit", "num_hidden_layers"),
  ])
  func moreLayersThanAnyModelHas(_ type: String, _ key: String) {
    expectError(at: key) { try model(type, #"{"\#(key)": 1001}"#) }
  }

  /// A table of all pairs of positions took 1.6 GB in each layer.
  @Test(.timeLimit(.minutes(1))) func longSamplesTakeMemoryByTheirLength() throws {
    let config = try JSONValue(
      parsing: #"{"num_layers": 20, "num_heads": 1, "d_model": 4, "vocab_size": 5}"#,
      name: "config", file: nil)
    let shape = DataShape(inputLength: 20_000, labelLength: 20_000, scoredColumns: [19_999])
    let built = try T5Builder.build(config, adapter: nil, data: shape)
    #expect(built.graph.outputShape == [1, 5])
  }

  @Test(arguments: [1 << 19, 1 << 21, 1 << 62])
  func samplesTooLongToCountPairsAreRefused(_ length: Int) throws {
    let config = try JSONValue(
      parsing: #"{"num_layers": 2, "d_model": 4, "vocab_size": 5}"#, name: "config", file: nil)
    for (input, labels) in [(length, 1), (1, length)] {
      let shape = DataShape(inputLength: input, labelLength: labels, scoredColumns: [0])
      #expect(throws: CheckpointError.self) {
        try T5Builder.build(config, adapter: nil, data: shape)
      }
    }
  }

  @Test func adaptersThatChangeNothing() {
    expectError(at: "target_modules") {
      try model(
        "vit", #"{"num_hidden_layers": 1}"#,
        adapter: #"{"peft_type": "LORA", "target_modules": ["q"]}"#)
    }
  }

  /// Programs have written these names, and other programs know them: nobody has misspelt one.
  /// "Did you mean PROMPT_TUNING?" was the hint for PREFIX_TUNING, and gemma2 that for gemma.
  @Test(arguments: ["PREFIX_TUNING", "P_TUNING", "IA3", "ADALORA"])
  func kindsOfAdaptersThatAreNotRead(_ kind: String) throws {
    let error = try #require(throws: CheckpointError.self) {
      try model("t5", "{}", adapter: #"{"peft_type": "\#(kind)"}"#)
    }
    #expect(
      "\(error)" == """
        peft_type "\(kind)" is not supported
          at adapter_config.json
          Supported are LORA or PROMPT_TUNING.
        """)
  }

  @Test(arguments: ["gemma", "mt5", "deit", "llama4", "xlm-roberta"])
  func kindsOfModelsThatAreNotRead(_ kind: String) throws {
    let error = try #require(throws: CheckpointError.self) { try model(kind, "{}") }
    let lines = "\(error)".split(separator: "\n")
    #expect(lines[0] == "model_type \"\(kind)\" is not supported")
    #expect(lines[2].hasPrefix("  Supported are vit, t5, bert, "))
    #expect(lines[2].hasSuffix(". Any other network is read as torch.export saves it."))
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
