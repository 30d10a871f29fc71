import Foundation
import Testing

@testable import Checkpoints

@Suite struct ModelDirectoryTests {
  @Test func aViTOpensWithTheNamesOfItsStateDict() throws {
    let model = try ModelDirectory.open(fixture("hf/vit_lora/base"))
    #expect(try model.config["model_type"].string() == "vit")
    #expect(
      try model.config["hidden_size"].integer() == model.tensor("vit.embeddings.cls_token").shape[2]
    )
    #expect(
      model.tensors.keys.filter { $0.hasSuffix("attention.attention.query.weight") }.count > 0)
    try readEverything(model.tensors)
  }

  @Test(arguments: ["t5_lora", "t5_prompt"]) func aT5Opens(_ name: String) throws {
    let path = fixture("hf/\(name)/base")
    let model = try ModelDirectory.open(path)
    #expect(model.path == path)
    #expect(try model.config["model_type"].string() == "t5")
    let width = try model.config["d_model"].integer()
    let words = try model.config["vocab_size"].integer()
    #expect(try model.tensor("shared.weight").shape == [words, width])
    try readEverything(model.tensors)
  }

  @Test func aMissingWeightIsReportedWithItsNearMiss() throws {
    let path = fixture("hf/t5_lora/base")
    let model = try ModelDirectory.open(path)
    #expect(
      message(for: path) { _ = try model.tensor("shard.weight") } == """
        there is no tensor shard.weight
          at FILE
          Did you mean shared.weight?
        """)
  }

  // MARK: - Shards

  static let config = #"{"model_type": "t5"}"#
  static let first = safetensors(
    #"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#, data: [1, 2])
  static let index = #"{"metadata": {}, "weight_map": {"a": "1.safetensors", "f4": "2.bin"}}"#

  private func folder(_ files: [String: [UInt8]]) throws -> TemporaryFolder {
    let folder = try TemporaryFolder()
    for (name, bytes) in files {
      #expect(
        FileManager.default.createFile(atPath: folder.path + "/" + name, contents: Data(bytes)))
    }
    return folder
  }

  @Test(arguments: ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
  func shardsOpenThroughTheirIndex(_ index: String) throws {
    let folder = try folder([
      "config.json": Array(Self.config.utf8), index: Array(Self.index.utf8),
      "1.safetensors": Self.first, "2.bin": fixtureBytes("data/torch/little.pt"),
    ])
    let model = try ModelDirectory.open(folder.path)
    #expect(model.tensors.keys.sorted() == ["a", "f4"])
    #expect(try model.tensor("a").integers() == [1, 2])
    #expect(try model.tensor("f4").shape == [2, 3, 4])
    #expect(try model.tensor("a").file == folder.path + "/1.safetensors")
  }

  @Test func aSinglePyTorchFileWillDo() throws {
    let folder = try folder([
      "config.json": Array(Self.config.utf8),
      "pytorch_model.bin": fixtureBytes("data/torch/small.pt"),
    ])
    #expect(try ModelDirectory.open(folder.path + "/").tensor("0.weight").shape == [2, 3])
  }

  @Test func safetensorsComeBeforePyTorch() throws {
    let folder = try folder([
      "config.json": Array(Self.config.utf8), "model.safetensors": Self.first,
      "pytorch_model.bin": [0],
    ])
    #expect(try ModelDirectory.open(folder.path).tensors.keys.sorted() == ["a"])
  }

  // MARK: - Refused

  struct Case: CustomTestStringConvertible {
    var claim: String
    var files: [String: String]
    var message: String
    var testDescription: String { claim }
  }

  static let cases: [Case] = [
    Case(
      claim: "an empty folder", files: [:],
      message: """
        no such file
          at FILE/config.json
          A model's folder holds config.json and model.safetensors, as save_pretrained() writes.
        """),
    Case(
      claim: "an adapter", files: ["adapter_config.json": "{}"],
      message: """
        no such file
          at FILE/config.json
          This folder holds an adapter: give the folder of its base model as model.
        """),
    Case(
      claim: "no weights", files: ["config.json": config],
      message: """
        there is no file of weights: no model.safetensors, model.safetensors.index.json, \
        pytorch_model.bin or pytorch_model.bin.index.json
          at FILE
          Save the model with save_pretrained().
        """),
    Case(
      claim: "a config that is no object", files: ["config.json": "[1]"],
      message: """
        config is a list of 1, expected an object
          at FILE/config.json
        """),
    Case(
      claim: "a config that is no JSON", files: ["config.json": "{,}"],
      message: """
        the file is not valid JSON: found ',', expected a key in quotation marks
          at FILE/config.json, byte 1
          \(SafetensorsHostileTests.damaged)
        """),
    Case(
      claim: "an empty config", files: ["config.json": ""],
      message: """
        the file is not valid JSON: found the end, expected a value
          at FILE/config.json, byte 0
          \(SafetensorsHostileTests.damaged)
        """),
    Case(
      claim: "an index without map",
      files: ["config.json": config, "model.safetensors.index.json": #"{"weight_mop": {}}"#],
      message: """
        model.safetensors.index.weight_map is missing
          at FILE/model.safetensors.index.json
          Did you mean weight_mop?
        """),
    Case(
      claim: "an index of numbers",
      files: ["config.json": config, "model.safetensors.index.json": #"{"weight_map": {"a": 1}}"#],
      message: """
        model.safetensors.index.weight_map.a is 1, expected a string
          at FILE/model.safetensors.index.json
        """),
    Case(
      claim: "an index that leads elsewhere",
      files: [
        "config.json": config,
        "model.safetensors.index.json": #"{"weight_map": {"a": "../a.safetensors"}}"#,
      ],
      message: """
        model.safetensors.index.weight_map.a is "../a.safetensors", \
        expected the name of a file in the same folder
          at FILE/model.safetensors.index.json
        """),
    Case(
      claim: "a missing shard",
      files: ["config.json": config, "model.safetensors.index.json": index],
      message: """
        no such file
          at FILE/1.safetensors
          model.safetensors.index.json lists it as a shard; copy it into the folder.
        """),
    Case(
      claim: "a tensor that its shard lacks",
      files: [
        "config.json": config,
        "model.safetensors.index.json": #"{"weight_map": {"b": "1.safetensors"}}"#,
        "1.safetensors": String(decoding: first, as: UTF8.self),
      ],
      message: """
        there is no tensor b
          at FILE/1.safetensors
          Did you mean a?
        """),
  ]

  @Test(arguments: cases) func isRefusedWithItsReason(_ hostile: Case) throws {
    let folder = try folder(hostile.files.mapValues { Array($0.utf8) })
    #expect(
      message(for: folder.path) { _ = try ModelDirectory.open(folder.path) } == hostile.message)
  }

  @Test func whatIsNoFolderIsSaidToBeSo() {
    let file = TemporaryFile([1])
    #expect(
      message(for: file.path) { _ = try ModelDirectory.open(file.path) } == """
        this is a file, expected a directory
          at FILE
          Name the folder that holds it.
        """)
    #expect(
      message(for: file.path) { _ = try AdapterDirectory.open(file.path + "-not") } == """
        no such file
          at FILE-not
          Check the path; a relative one is taken from the current directory.
        """)
  }
}

@Suite struct AdapterDirectoryTests {
  @Test func aLoRAOnViTOpensWithoutPrefix() throws {
    let adapter = try AdapterDirectory.open(fixture("hf/vit_lora/adapter"))
    let base = try ModelDirectory.open(fixture("hf/vit_lora/base"))
    let rank = try adapter.config["r"].integer()
    let width = try base.config["hidden_size"].integer()
    let name = "vit.encoder.layer.0.attention.attention.query"
    #expect(try adapter.tensor("\(name).lora_A.weight").shape == [rank, width])
    #expect(try adapter.tensor("\(name).lora_B.weight").shape == [width, rank])
    #expect(
      try adapter.tensor("\(name).lora_A.weight").name
        == "base_model.model.\(name).lora_A.weight")
    try readEverything(adapter.tensors)
  }

  @Test func aLoRAOnT5OpensWithoutPrefix() throws {
    let adapter = try AdapterDirectory.open(fixture("hf/t5_lora/adapter"))
    let name = "encoder.block.0.layer.0.SelfAttention.q.lora_A.weight"
    #expect(try adapter.tensor(name).shape.first == adapter.config["r"].integer())
    #expect(adapter.tensors.keys.allSatisfy { !$0.hasPrefix("base_model") })
    try readEverything(adapter.tensors)
  }

  @Test func promptTuningOpensFromAPyTorchFile() throws {
    let adapter = try AdapterDirectory.open(fixture("hf/t5_prompt/adapter"))
    #expect(adapter.tensors.mapValues(\.shape) == ["prompt_embeddings": [3, 16]])
    #expect(try adapter.config["num_virtual_tokens"].integer() == 3)
    try readEverything(adapter.tensors)
  }

  private func refusal(_ config: String, _ tensor: String) throws -> String {
    let folder = try TemporaryFolder()
    let header = "{\"\(tensor)\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
    for (name, bytes) in [
      ("adapter_config.json", Array(config.utf8)),
      ("adapter_model.safetensors", safetensors(header, data: [1])),
    ] {
      #expect(
        FileManager.default.createFile(atPath: folder.path + "/" + name, contents: Data(bytes)))
    }
    return message(for: folder.path) { _ = try AdapterDirectory.open(folder.path) }
  }

  /// What they call their tensors is not the fault: it was named in place of the kind.
  @Test(arguments: ["PREFIX_TUNING", "VERA"])
  func adaptersOfOtherKindsAreOpened(_ kind: String) throws {
    let folder = try TemporaryFolder()
    let header = #"{"prompt_embeddings":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#
    for (name, bytes) in [
      ("adapter_config.json", Array("{\"peft_type\": \"\(kind)\"}".utf8)),
      ("adapter_model.safetensors", safetensors(header, data: [1])),
    ] {
      #expect(
        FileManager.default.createFile(atPath: folder.path + "/" + name, contents: Data(bytes)))
    }
    #expect(try AdapterDirectory.open(folder.path).tensors.keys.sorted() == ["prompt_embeddings"])
  }

  @Test func aNameWithoutPrefixIsRefused() throws {
    let prefixHint = "The names of an adapter's parameters begin with base_model.model."
    #expect(
      try refusal(#"{"peft_type": "LORA"}"#, "q.lora_A.weight") == """
        this tensor has no meaning here
          at FILE/adapter_model.safetensors, tensor q.lora_A.weight
          \(prefixHint)
        """)
    #expect(
      try refusal(#"{"peft_type": "LORA"}"#, "prompt_embeddings") == """
        this tensor has no meaning here
          at FILE/adapter_model.safetensors, tensor prompt_embeddings
          \(prefixHint)
        """)
    #expect(
      try refusal(#"{"peft_type": "PROMPT_TUNING"}"#, "prompt_embedding") == """
        this tensor has no meaning here
          at FILE/adapter_model.safetensors, tensor prompt_embedding
          Prompt tuning has the tensor prompt_embeddings.
        """)
    #expect(
      try refusal("{}", "a") == """
        adapter_config.peft_type is missing
          at FILE/adapter_config.json
        """)
  }

  @Test func aFolderThatIsNoAdapterIsRefused() throws {
    let path = fixture("hf/t5_lora/base")
    #expect(
      message(for: path) { _ = try AdapterDirectory.open(path) } == """
        no such file
          at FILE/adapter_config.json
          An adapter's folder holds adapter_config.json and adapter_model.safetensors.
        """)
    let folder = try TemporaryFolder()
    #expect(
      FileManager.default.createFile(
        atPath: folder.path + "/adapter_config.json", contents: Data("{}".utf8)))
    #expect(
      message(for: folder.path) { _ = try AdapterDirectory.open(folder.path) } == """
        there is no file of adapter parameters: no adapter_model.safetensors or adapter_model.bin
          at FILE
          Save the adapter with save_pretrained().
        """)
  }
}

/// Reads all tensors, which must not be empty or hold anything but finite numbers.
private func readEverything(_ tensors: [String: StoredTensor]) throws {
  #expect(!tensors.isEmpty)
  for tensor in tensors.values where tensor.dtype.isFloatingPoint {
    #expect(try tensor.vector(of: Double.self).array.allSatisfy(\.isFinite))
  }
}

/// Two names, or two places, for one thing are an error that names both.
@Suite struct SameThingTests {
  private static let one = #"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#
  private static let two = #"{"dtype":"F32","shape":[1],"data_offsets":[4,8]}"#

  private func write(_ folder: TemporaryFolder, _ name: String, _ bytes: [UInt8]) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: folder.path + "/" + name))
  }

  @Test func aWeightInTwoShards() throws {
    let folder = try TemporaryFolder()
    try write(folder, "config.json", Array("{}".utf8))
    try write(
      folder, "model.safetensors.index.json",
      Array(#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#.utf8))
    try write(
      folder, "1.safetensors", safetensors("{\"a\":\(Self.one)}", data: [0, 0, 0, 0]))
    try write(
      folder, "2.safetensors",
      safetensors("{\"a\":\(Self.one),\"b\":\(Self.two)}", data: [0, 0, 0, 1, 0, 0, 0, 0]))
    #expect(
      message(for: folder.path) { _ = try ModelDirectory.open(folder.path) } == """
        this tensor and that of FILE/1.safetensors are both the weight a
          at FILE/2.safetensors, tensor a
          Save the model again with save_pretrained().
        """)
  }

  @Test func anInputByTwoNames() throws {
    let file = TemporaryFile(
      safetensors(
        "{\"inputs\":\(Self.one),\"labels\":\(Self.two),\"pixel_values\":"
          + #"{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
        data: [UInt8](repeating: 0, count: 12)))
    let data = try DataFile.open(file.path)
    #expect(
      message(for: file.path) { _ = try data.inputs(["pixel_values"]) } == """
        this tensor and pixel_values are both the input pixel_values
          at FILE, tensor inputs
          Leave one of them out.
        """)
    #expect(try data.inputs(["inputs"]).keys.sorted() == ["inputs"])
  }
}
