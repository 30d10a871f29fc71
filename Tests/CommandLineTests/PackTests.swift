import Checkpoints
import Foundation
import Testing

extension CommandLineTests {
  @Suite struct PackTests {
    /// Rows of scores.csv without the name of the checkpoint and the time.
    private func scores(_ arguments: [String], _ folder: TemporaryFolder) throws -> [[String]] {
      let csv = folder.path("scores.csv")
      let result = try Command.run(["score"] + arguments + ["--csv", csv, "--quiet", "--force"])
      #expect(result.status == 0, "\(result.error)")
      return try csvRows(csv).map { row in
        row.filter { !["checkpoint", "run", "seconds"].contains($0.key) }.sorted { $0.key < $1.key }
          .map { "\($0.key)=\($0.value)" }
      }
    }

    private func folder(_ name: String) -> [String] {
      [
        Fixture.path("hf/\(name)/base"), "--adapter", Fixture.path("hf/\(name)/adapter"), "--data",
        Fixture.path("hf/\(name)/data.safetensors"),
      ]
    }

    /// The same bits: the same tensors, the same samples in the same order.
    @Test(arguments: ["vit_lora", "t5_lora", "t5_prompt"], ["4", nil])
    func packedFileScoresAsItsSources(_ name: String, _ size: String?) throws {
      let temporary = try TemporaryFolder()
      let packed = temporary.path("deep/packed.bin")
      let batch = size.map { ["--batch-size", $0, "--seed", "7"] } ?? []
      let result = try Command.run(["pack"] + folder(name) + batch + ["-o", packed])
      #expect(result.status == 0, "\(result.error)")
      let found = try scores([packed, "--seed", "7"], temporary)
      if size != nil {
        #expect(try scores(folder(name) + batch + ["--batches", "1"], temporary) == found)
      }
      // Nothing is left to pack.
      let again = temporary.path("again.bin")
      _ = try Command.run(["pack", packed, "-o", again])
      #expect(
        try Data(contentsOf: URL(fileURLWithPath: packed))
          == Data(contentsOf: URL(fileURLWithPath: again)))
      let samples = try #require(found.first?.first { $0.hasPrefix("samples=") })
      let count = try TensorArchive.open(packed).tensor("batch.labels").shape[0]
      #expect(samples == "samples=\(count)")
    }

    private func exported(_ name: String) -> [String] {
      let folder = Fixture.path("golden/exported/\(name)")
      let state = folder + "/weights.pt"
      let checkpoint =
        FileManager.default.fileExists(atPath: state)
        ? [state, "--model", folder + "/model.pt2"] : [folder + "/model.pt2"]
      return checkpoint + ["--data", folder + "/data.npz"]
    }

    /// The graph, its parameters and the batch in one file.
    @Test(arguments: ["mlp_core_aten", "nanogpt_tied", "resnet", "unet_pixels"])
    func packedNetworkScoresAsItsSources(_ name: String) throws {
      let temporary = try TemporaryFolder()
      let packed = temporary.path("packed.bin")
      let source = exported(name)
      let result = try Command.run(["pack"] + source + ["-o", packed])
      #expect(result.status == 0, "\(result.error)")
      let found = try scores([packed], temporary)
      #expect(found.count == 5)
      #expect(try scores(source, temporary) == found)
    }

    /// Classes of pixels lie behind the samples; where the labels fit two axes the option decides.
    @Test func classesLieAlongTheAxisThatIsNamed() throws {
      let temporary = try TemporaryFolder()
      let source = exported("unet_pixels")
      let found = try scores(source, temporary)
      #expect(try scores(source + ["--class-axis", "1"], temporary) == found)
      for (axis, words) in [("2", "labels"), ("4", "no dimension 4"), ("0", "no dimension 0")] {
        let result = try Command.run(["score"] + source + ["--class-axis", axis])
        #expect(result.status == 65 && result.error.contains(words), "\(axis): \(result.error)")
      }
    }

    /// What trains is written down where it hangs on which tensors the adapter's file brings.
    @Test(arguments: [
      "t5_all_biases_as_before", "t5_head", "t5_modules_to_save", "vit_adapted_biases_in_base",
      "vit_adapted_biases_of_base_layer", "vit_modules_to_save_all_biases", "vit_version_5",
    ])
    func packedFileTrainsWhatItsSourcesTrain(_ name: String) throws {
      let temporary = try TemporaryFolder()
      let source = Fixture.path("hf_double/\(name)")
      let arguments = [
        source + "/base", "--adapter", source + "/adapter", "--data", source + "/data.safetensors",
      ]
      let packed = temporary.path("packed.bin")
      let result = try Command.run(["pack"] + arguments + ["-o", packed])
      #expect(result.status == 0, "\(result.error)")
      func parameters(_ arguments: [String]) throws -> [String] {
        // Rows in one line.
        try Command.run(["inspect"] + arguments, environment: ["COLUMNS": "200"]).output
          .components(separatedBy: "\n").filter {
            $0.hasSuffix("  yes") || $0.hasSuffix("  no")
          }.map { $0.split(separator: " ").joined(separator: " ") }.sorted()
      }
      let found = try parameters([packed])
      #expect(found.count > 10)
      #expect(try parameters(arguments) == found)
    }

    /// As other fields of a row: said, or taken from the file or its name.
    @Test func stagesAreSaid() throws {
      let temporary = try TemporaryFolder()
      let source = Fixture.path("digits/epoch-40.bin")
      func packed(_ options: [String]) throws -> (epoch: Int?, step: Int?) {
        let path = temporary.path("\(options.count).bin")
        let result = try Command.run(["pack", source, "-o", path, "--force"] + options)
        #expect(result.status == 0, "\(result.error)")
        let file = try CheckpointFile.open(path)
        for (name, value) in [("epoch", file.epoch), ("step", file.step)] {
          #expect(result.output.contains("\(name) \(value ?? -1)"), "\(result.output)")
        }
        return (file.epoch, file.step)
      }
      #expect(try packed([]) == (40, 1880))
      #expect(try packed(["--epoch", "3"]) == (3, 1880))
      #expect(try packed(["--epoch", "3", "--step", "7"]) == (3, 7))
      let scored = try Command.run(
        ["score", temporary.path("4.bin"), "--reference", "none", "--quiet", "--format", "csv"])
      #expect(scored.output.split(separator: "\r\n").last?.contains(",3,7,0,160,") == true)
      for option in ["--epoch", "--step"] {
        let wrong = try Command.run(["pack", source, "-o", temporary.path("x"), option, "-1"])
        #expect(wrong.status == 64 && wrong.error.contains("-1 is less than 0"), "\(wrong.error)")
      }
    }

    @Test func fileHoldsWhatTheModelReadsUnderItsNames() throws {
      let temporary = try TemporaryFolder()
      let packed = temporary.path("packed.bin")
      _ = try Command.run(["pack"] + folder("t5_lora") + ["-o", packed])
      let file = try CheckpointFile.open(packed)
      #expect(try file.model["type"].string() == "t5")
      #expect(try file.model["adapter"]["peft_type"].string() == "LORA")
      #expect(file.loss == "cross_entropy")
      #expect(file.archive.metadata["trainable"] == nil, "the adapter says what trains")
      #expect(
        file.parameters["decoder.block.1.layer.1.EncDecAttention.q.lora_A.weight"]?.dtype == .f32)
      #expect(
        !file.parameters.keys.contains { $0.hasPrefix("base_model") || $0 == "lm_head.weight" })
      #expect(
        Set(file.batch.keys) == ["input_ids", "attention_mask", "labels", "sampled_labels"])
    }

    @Test func checkpointKeepsWhatItCarries() throws {
      let temporary = try TemporaryFolder()
      let source = try TensorArchive.open(Fixture.path("digits/epoch-10.bin"))
      let packed = temporary.path("packed.bin")
      let result = try Command.run([
        "pack", Fixture.path("digits/epoch-10.bin"), "--batch-size", "32", "--trainable",
        "*.weight", "-o", packed,
      ])
      #expect(result.status == 0, "\(result.error)")
      let file = try CheckpointFile.open(packed)
      #expect(file.epoch == Int(source.metadata["epoch"] ?? ""))
      #expect(file.trainable.map(\.pattern) == ["*.weight"])
      #expect(try file.archive.tensor("batch.labels").shape == [32])
      #expect(
        try file.archive.tensor("batch.inputs").dtype == source.tensor("batch.inputs").dtype)
    }

    @Test func batchMayBeMissingUnlessItsSizeIsGiven() throws {
      let temporary = try TemporaryFolder()
      let model = Array(folder("vit_lora").prefix(3))
      let packed = temporary.path("packed.bin")
      let result = try Command.run(["pack"] + model + ["-o", packed])
      #expect(result.status == 0, "\(result.error)")
      #expect(result.output.contains("no batch: score needs --data"))
      #expect(try CheckpointFile.open(packed).batch.isEmpty)
      let sized = try Command.run(
        ["pack"] + model + ["--batch-size", "3", "--force", "-o", packed])
      #expect(sized.status == 66)
      let tooLarge = try Command.run(
        ["pack"] + folder("vit_lora") + ["--batch-size", "300", "--force", "-o", packed])
      #expect(tooLarge.status == 64)
    }

    @Test func badLabelIsFoundBeforeAnythingIsWritten() throws {
      let temporary = try TemporaryFolder()
      var draft = try CheckpointDraft()
      draft.set("batch.labels", 7, Int64(4))
      try draft.write(to: temporary.path("bad.bin"))
      let result = try Command.run(
        ["pack", temporary.path("bad.bin"), "-o", temporary.path("packed.bin")])
      #expect(result.status == 65)
      #expect(result.error.hasPrefix("error: label of sample 7 is 4"), "\(result.error)")
      #expect(try temporary.content == ["bad.bin"])
    }
  }
}
