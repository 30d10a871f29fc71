import Checkpoints
import Foundation
import GraphModule
import Testing

@testable import Models

/// Configurations, adapters and data that no language model can be built from, each the defect alone:
/// one error that names it.
struct LanguageErrorTests {
  private static let configs: [String: String] = {
    let general =
      #""vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "#
      + #""intermediate_size": 6, "max_position_embeddings": 16, "hidden_act": "silu", "#
    let gated = general + #""rms_norm_eps": 1e-6, "rope_theta": 100, "num_key_value_heads": 1, "#
    let gemma =
      gated + #""head_dim": 4, "query_pre_attn_scalar": 4, "hidden_activation": "gelu_new", "#
      + #""sliding_window": 3, "final_logit_softcapping": null, "#
    return [
      "llama": gated, "mistral": gated + #""sliding_window": null, "#, "qwen2": gated,
      "qwen3": gated + #""head_dim": 4, "#,
      "gemma2": gemma + #""attn_logit_softcapping": null, "#,
      "gemma3_text": gemma + #""rope_local_base_freq": 10, "#,
      "bert": general + #""type_vocab_size": 2, "layer_norm_eps": 1e-12, "#,
      "roberta": general + #""type_vocab_size": 1, "layer_norm_eps": 1e-12, "#,
      "distilbert": #""vocab_size": 11, "dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 6, "#
        + #""max_position_embeddings": 16, "activation": "gelu", "#,
      "gpt2": #""vocab_size": 11, "n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 16, "#
        + #""layer_norm_epsilon": 1e-5, "activation_function": "gelu_new", "#,
      "gpt_neox": general + #""layer_norm_eps": 1e-5, "rotary_emb_base": 100, "rotary_pct": 0.5, "#,
      "opt": #""vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 1, "ffn_dim": 6, "#
        + #""num_attention_heads": 2, "max_position_embeddings": 16, "#
        + #""activation_function": "relu", "do_layer_norm_before": true, "#,
    ]
  }()

  private static let families = configs.keys.sorted()
  private static let decoders = families.filter { !$0.contains("bert") }

  @Test(arguments: families)
  func smallestConfigurationsGiveModels(_ type: String) throws {
    for architecture in try #require(ModelFamily.named(type)).heads.keys {
      let model = try model(type, architecture: architecture)
      #expect(model.type == type)
      #expect(model.graph.parameters.count > 10)
    }
  }

  /// Whatever is not written cannot be told from what a version of Transformers fills in.
  @Test(arguments: [
    ("llama", "rope_theta"), ("mistral", "rope_theta"), ("qwen2", "rope_theta"),
    ("qwen3", "head_dim"), ("gemma2", "attn_logit_softcapping"),
    ("gemma3_text", "rope_local_base_freq"), ("gpt_neox", "rotary_pct"),
    ("mistral", "sliding_window"), ("mistral", "num_key_value_heads"), ("llama", "rms_norm_eps"),
    ("bert", "hidden_act"), ("gpt2", "layer_norm_epsilon"), ("opt", "do_layer_norm_before"),
    ("distilbert", "max_position_embeddings"), ("roberta", "type_vocab_size"),
  ])
  func settingsThatMatterAreNotGuessed(_ type: String, _ key: String) {
    expectError(at: "config." + key) { try model(type, without: key) }
  }

  @Test(arguments: families)
  func settingsThatAreNotKnownAreNamed(_ type: String) {
    for (key, value) in [
      ("use_qk_norm_of_tomorrow", "true"), ("residual_multiplier", "0.5"),
      ("quantization_config", #"{"bits": 4}"#), ("num_local_experts", "8"),
    ] {
      expectError(at: "config." + key) { try model(type, #""\#(key)": \#(value), "#) }
    }
  }

  @Test(arguments: [
    ("llama", #""num_attention_heads": 3, "#, "num_attention_heads"),
    ("llama", #""num_key_value_heads": 3, "#, "num_key_value_heads"),
    ("llama", #""rope_scaling": {"type": "su"}, "#, "rope_scaling.type"),
    ("llama", #""rope_scaling": {"rope_type": "llama3"}, "#, "rope_scaling.factor"),
    ("llama", #""rope_scaling": {"rope_type": "yarn"}, "#, "rope_scaling.factor"),
    (
      "llama", #""rope_scaling": {"rope_type": "default", "mrope_section": [1]}, "#,
      "rope_scaling.mrope_section"
    ),
    ("llama", #""rope_parameters": {}, "rope_scaling": {"type": "linear"}, "#, "rope_scaling"),
    ("llama", #""rope_scaling": {"type": "linear", "factor": 0}, "#, "rope_scaling.factor"),
    ("llama", #""pad_token_id": 11, "#, "pad_token_id"),
    ("qwen2", #""layer_types": ["full_attention", "full_attention"], "#, "layer_types"),
    ("qwen2", #""layer_types": ["linear_attention"], "#, "layer_types[0]"),
    ("qwen2", #""layer_types": ["sliding_attention"], "#, "layer_types"),
    ("gemma3_text", #""attn_logit_softcapping": 2.0, "#, "attn_logit_softcapping"),
    ("gemma2", #""use_bidirectional_attention": true, "#, "use_bidirectional_attention"),
    ("bert", #""position_embedding_type": "relative_key", "#, "position_embedding_type"),
    ("bert", #""is_decoder": true, "#, "is_decoder"),
    ("roberta", #""pad_token_id": null, "#, "pad_token_id"),
    ("gpt2", #""add_cross_attention": true, "#, "add_cross_attention"),
    ("gpt_neox", #""hidden_size": 9, "#, "num_attention_heads"),
  ])
  func settingsThatCannotBe(_ type: String, _ setting: String, _ key: String) {
    expectError(at: "config." + key) { try model(type, setting) }
  }

  /// Angles were made before anything compared their number with that of the weights.
  @Test func headsOfMoreColumnsThanMemory() {
    expectError(at: "config", saying: "2^24 angles") {
      try model("qwen3", #""head_dim": 1073741824, "#)
    }
  }

  /// Nothing of the size of all pairs of tokens is kept, or part of the graph.
  @Test func longSamplesWithCappedScores() throws {
    let ids = [Int64](repeating: 3, count: 8001)
    let data = try data(["input_ids": ids, "labels": ids], columns: ids.count)
    let built = try model(
      "gemma2",
      #""max_position_embeddings": 65536, "attn_logit_softcapping": 2.0, "num_attention_heads": 1, "#,
      data: data)
    let program = Program(graph: built.graph) { _ in true }
    #expect(program.graph.sizes.max()! < 8000 * 8000 / 16)
    #expect(program.keptCount.scalars < 8000 * 8000 / 16)
  }

  @Test func headsThatThereAreNot() {
    expectError(at: "config.architectures") { try model("llama", architecture: nil) }
    expectError(at: "config.architectures[0]") {
      try model("llama", architecture: "LlamaForQuestionAnswering")
    }
    expectError(at: "model_type") { try model("mixtral", architecture: "MixtralForCausalLM") }
  }

  @Test func tasksNameTheHead() throws {
    let llama = try #require(ModelFamily.named("llama"))
    let config = try json("llama", architecture: "LlamaForCausalLM")
    let changed = try llama.config(config, for: .sequenceClassification)
    #expect(try llama.task(changed) == .sequenceClassification)
    expectError(at: "task") { _ = try llama.config(config, for: .masked) }
  }

  /// A base comes with the head that it was trained with first.
  @Test(arguments: families)
  func headsOfTokensAreLeftAsideByClasses(_ type: String) throws {
    let heads = try #require(ModelFamily.named(type)).heads
    let classes = try #require(heads.first { $0.value == .sequenceClassification }).key
    let found = try model(type, architecture: classes)
    let known = found.unreadTensors.union(found.graph.parameters.map(\.name))
    for parameter in try model(type).graph.parameters {
      #expect(known.contains(parameter.name))
    }
  }

  @Test func classesAreThoseOfTheSavedHead() throws {
    let config = try json(
      "llama", #""id2label": {"0": "no", "1": "yes"}, "#,
      architecture: "LlamaForSequenceClassification")
    let path = NSTemporaryDirectory() + "head-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var writer = SafetensorsWriter(metadata: [:])
    writer.add("score.weight", shape: [3, 8], integers: [Int64](repeating: 0, count: 24))
    writer.add("x.lora_A.weight", shape: [2, 8], integers: [Int64](repeating: 0, count: 16))
    try writer.write(to: path)
    let saved = try TensorArchive.open(path).tensors
    #expect(try ModelFamily.classCount(config) == 2)
    let changed = try ModelFamily.config(config, withHeadOf: saved)
    #expect(try ModelFamily.classCount(changed) == 3)
    #expect(try Model(type: "llama", config: changed, adapter: nil, data: nil).graph.classes == 3)
    let others = saved.filter { $0.key != "score.weight" }
    #expect(try ModelFamily.classCount(ModelFamily.config(config, withHeadOf: others)) == 2)
  }

  @Test(arguments: decoders)
  func adaptersOfOtherFamilies(_ type: String) {
    expectError(at: "adapter_config.target_modules", saying: "another model") {
      try model(type, adapter: #"{"peft_type": "LORA", "target_modules": ["query_of_another"]}"#)
    }
  }

  /// Virtual tokens are put in front of causal models alone.
  @Test func promptsWhereThereIsNoPlaceForThem() {
    for (type, head) in [
      ("bert", "BertForMaskedLM"), ("llama", "LlamaForSequenceClassification"),
      ("gemma2", "Gemma2ForCausalLM"),
    ] {
      expectError(at: "the adapter") {
        try model(
          type, architecture: head,
          adapter:
            #"{"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 2, "task_type": "CAUSAL_LM"}"#)
      }
    }
  }

  @Test func copiesOfTiedTables() {
    expectError(at: "modules_to_save of the adapter") {
      try model(
        "gpt2",
        adapter:
          #"{"peft_type": "LORA", "target_modules": ["c_attn"], "modules_to_save": ["wte"]}"#)
    }
  }

  // MARK: - Data

  @Test func labelsOfNoPosition() throws {
    let ids = [Int64](repeating: 3, count: 8)
    for labels in [[Int64](repeating: -100, count: 8), [5, -100, -100, -100, 5, -100, -100, -100]] {
      let data = try data(["input_ids": ids, "labels": labels], columns: 4)
      expectError(at: "labels") { try model("llama", data: data) }
    }
  }

  @Test(arguments: ["gpt2", "llama", "bert", "roberta", "opt"])
  func samplesLongerThanThePositions(_ type: String) throws {
    let ids = [Int64](repeating: 3, count: 2 * 17)
    let data = try data(["input_ids": ids, "labels": ids], columns: 17)
    expectError(at: "config.\(type == "gpt2" ? "n_positions" : "max_position_embeddings")") {
      try model(type, data: data)
    }
  }

  @Test func paddingOnBothSides() throws {
    let data = try data(
      [
        "input_ids": [Int64](repeating: 3, count: 8), "labels": [Int64](repeating: 3, count: 8),
        "attention_mask": [0, 1, 1, 1, 1, 1, 1, 0],
      ], columns: 4)
    expectError(at: "attention_mask") { try model("llama", data: data) }
  }

  @Test func positionsOfTheData() throws {
    let ids = [Int64](repeating: 3, count: 8)
    let data = try data(["input_ids": ids, "labels": ids, "position_ids": ids], columns: 4)
    expectError(at: "position_ids") { try model("gpt2", data: data) }
  }

  @Test func sequencesWhoseEndIsNotKnown() throws {
    let data = try data(
      ["input_ids": [Int64](repeating: 3, count: 8), "labels": [0, 1]], columns: 4)
    expectError(at: "config.pad_token_id") {
      try model("llama", architecture: "LlamaForSequenceClassification", data: data)
    }
  }

  // MARK: - Support

  @discardableResult
  private func model(
    _ type: String, _ settings: String = "", without missing: String? = nil,
    architecture: String? = "", adapter: String? = nil, data: DataFile? = nil
  ) throws -> Model {
    let config = try json(type, settings, without: missing, architecture: architecture)
    let peft = try adapter.map {
      try JSONValue(parsing: $0, name: "adapter_config", file: "adapter_config.json")
    }
    return try Model(type: type, config: config, adapter: peft, data: data)
  }

  /// - Parameter architecture: `""`: that of the first head by position, or any.
  private func json(
    _ type: String, _ settings: String = "", without missing: String? = nil,
    architecture: String? = ""
  ) throws -> JSONValue {
    var members: [String: JSONContent] = [:]
    for text in [Self.configs[type] ?? "", settings] where !text.isEmpty {
      let own = try JSONValue(
        parsing: "{" + text.dropLast(2) + "}", name: "config", file: "config.json")
      guard case .object(let more) = try own.content() else { continue }
      members.merge(more) { $1 }
    }
    if let missing { members[missing] = nil }
    if let architecture {
      let heads = ModelFamily.named(type)?.heads ?? [:]
      let standard = heads.first { $0.value == .causal || $0.value == .masked }?.key
      members["architectures"] = .array([
        .string(architecture.isEmpty ? standard ?? "" : architecture)
      ])
    }
    return JSONValue(.object(members), name: "config", file: "config.json")
  }

  private func data(_ arrays: [String: [Int64]], columns: Int) throws -> DataFile {
    let path = NSTemporaryDirectory() + "language-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: path) }
    var writer = SafetensorsWriter(metadata: [:])
    for (name, values) in arrays {
      let samples = arrays["input_ids"]!.count / columns
      writer.add(
        name, shape: values.count == samples ? [samples] : [samples, columns], integers: values)
    }
    try writer.write(to: path)
    return try DataFile.open(path)
  }

  private func expectError(
    at key: String, saying words: String? = nil, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
  ) {
    let error = #expect(throws: CheckpointError.self, sourceLocation: sourceLocation) {
      try body()
    }
    guard let error else { return }
    if let words {
      #expect("\(error)".contains(words), sourceLocation: sourceLocation)
    }
    #expect(place(of: error) == key, "\(error)", sourceLocation: sourceLocation)
  }

  /// The path, or the name, of what an error is about.
  private func place(of error: CheckpointError) -> String? {
    switch error.problem {
    case .missingValue(let path, _), .unexpectedValue(let path, _, _), .unknownKey(let path, _),
      .unsupportedName(let path, _, _):
      path
    case .unexpectedSetting(let setting, _, _): setting.name
    default: error.location.tensor
    }
  }
}
