import Checkpoints
import Foundation
import Testing

extension CommandLineTests {
  @Suite struct InitTests {
    private func shapes(_ path: String) throws -> [String: [Int]] {
      try TensorArchive.open(path).tensors.mapValues(\.shape)
    }

    /// Names and shapes are those of what Transformers and PEFT have saved.
    @Test(arguments: [
      ("vit_lora", ["--lora-rank", "2", "--lora-bias", "lora_only"]),
      ("t5_lora", ["--lora-rank", "2"]),
      ("t5_prompt", ["--prompt", "3", "--task", "CAUSAL_LM"]),
    ])
    func foldersAreAsTheLibrariesSaveThem(_ name: String, _ adapter: [String]) throws {
      let temporary = try TemporaryFolder()
      let model = temporary.path("model")
      let fixture = "hf/\(name)/"
      let result = try Command.run(
        ["init", Fixture.path(fixture + "base"), "-o", model] + adapter)
      #expect(result.status == 0, "\(result.error)")
      #expect(
        try shapes(model + "/model.safetensors")
          == shapes(Fixture.path(fixture + "base/model.safetensors")))
      let isPrompt = name == "t5_prompt"
      #expect(
        try shapes(model + "/adapter/adapter_model.safetensors")
          == shapes(
            Fixture.path(fixture + "adapter/adapter_model." + (isPrompt ? "bin" : "safetensors"))))
      #expect(
        try Data(contentsOf: URL(fileURLWithPath: model + "/config.json"))
          == Data(contentsOf: URL(fileURLWithPath: Fixture.path(fixture + "base/config.json"))))
      let score = try Command.run([
        "score", model, "--adapter", model + "/adapter", "--data",
        Fixture.path(fixture + "data.safetensors"), "--batch-size", "4", "--batches", "1",
      ])
      #expect(score.status == 0, "\(score.error)")
    }

    /// PEFT 0.21 saves biases under the name of the wrapped layer.
    @Test func trainedBiasesAreInTheAdapter() throws {
      let temporary = try TemporaryFolder()
      let result = try Command.run([
        "init", Fixture.path("hf/vit_lora/base"), "-o", temporary.path("model"), "--lora-bias",
        "lora_only", "--adapter-output", temporary.path("lora"),
      ])
      #expect(result.status == 0, "\(result.error)")
      let tensors = try shapes(temporary.path("lora/adapter_model.safetensors"))
      let layer = "base_model.model.vit.encoder.layer.1.attention.attention."
      #expect(tensors[layer + "query.base_layer.bias"] == [16])
      #expect(tensors[layer + "value.lora_B.weight"] == [16, 8])
      #expect(tensors.count == 2 * 2 * 3)
    }

    @Test func seedDecidesEveryNumber() throws {
      let temporary = try TemporaryFolder()
      func weights(_ name: String, _ seed: String) throws -> Data {
        let result = try Command.run([
          "init", Fixture.path("hf/t5_lora/base"), "-o", temporary.path(name), "--seed", seed,
        ])
        #expect(result.status == 0, "\(result.error)")
        return try Data(
          contentsOf: URL(fileURLWithPath: temporary.path(name + "/model.safetensors")))
      }
      let first = try weights("a", "1")
      #expect(try weights("b", "1") == first)
      #expect(try weights("c", "2") != first)
    }

    static let mistakes: [(name: String, options: [String])] = [
      ("two-adapters", ["--lora", "--prompt", "3"]),
      ("no-adapter-to-write", ["--adapter-output", "lora"]),
      ("no-virtual-tokens", ["--prompt", "0"]),
      ("prompt-for-vit", ["--prompt", "3"]),
      ("no-such-layer", ["--lora-targets", "query,foo"]),
      ("zero-rank", ["--lora-rank", "0"]),
    ]

    @Test(arguments: mistakes.indices)
    func mistakeIsWrongUsageAndNothingIsWritten(_ index: Int) throws {
      let (name, options) = Self.mistakes[index]
      let temporary = try TemporaryFolder()
      let result = try Command.run(
        ["init", Fixture.path("configs/vit-base.json"), "-o", temporary.path("model")] + options)
      #expect(result.status == 64)
      #expect(try temporary.content == [])
      try expectSnapshot(result.error, "init-" + name)
    }

    @Test func weightsAreNeverReplaced() throws {
      let temporary = try TemporaryFolder()
      try Data("precious".utf8).write(
        to: temporary.url.appendingPathComponent("model.safetensors"))
      let result = try Command.run([
        "init", Fixture.path("hf/t5_lora/base"), "-o", temporary.url.path,
      ])
      #expect(result.status == 64)
      #expect(try temporary.content == ["model.safetensors"])
    }

    @Test func configurationMustBeThere() throws {
      let result = try Command.run(["init", "/nowhere/config.json", "-o", "/nowhere/model"])
      #expect(result.status == 66)
    }
  }
}
