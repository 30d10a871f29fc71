import Checkpoints
import Foundation
import Testing

extension CommandLineTests {
  @Suite struct TrainTests {
    private let data = ["--data", Fixture.path("digits/digits.safetensors")]
    private let network = Fixture.path("configs/digits-mlp.json")
    private let checkpoint = Fixture.path("digits/epoch-00.bin")

    private func train(_ arguments: [String], _ folder: TemporaryFolder) throws -> Command.Result {
      try Command.run(["train"] + arguments + ["-o", folder.path("run")])
    }

    @Test func runIsReadByScoreAndInspect() throws {
      let temporary = try TemporaryFolder()
      let result = try train(
        [network, "--epochs", "2", "--batch-size", "200", "--hold-out", "0.1", "--quiet"] + data,
        temporary)
      #expect(result.status == 0, "\(result.error)")
      #expect(result.error == "")
      #expect(result.output.contains("validation loss  validation accuracy %"))
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: temporary.path("run")).sorted() == [
          "epoch-00.bin", "epoch-01.bin", "epoch-02.bin", "epochs.csv", "steps.csv", "train.json",
        ])
      let epochs = try csvRows(temporary.path("run/epochs.csv"))
      #expect(epochs.map { $0["epoch"] } == ["0", "1", "2"])
      #expect(epochs.map { $0["step"] } == ["0", "9", "18"])
      let steps = try csvRows(temporary.path("run/steps.csv"))
      #expect(steps.count == 18)
      #expect(steps.allSatisfy { $0["learning_rate"] == "0.001" })
      let score = try Command.run([
        "score", temporary.path("run/epoch-02.bin"), "--reference", "none", "--quiet",
      ])
      #expect(score.status == 0, "\(score.error)")
      #expect(score.output.contains("N = 160") && score.output.contains("epoch 2"))
      let inspect = try Command.run(["inspect", temporary.path("run/epoch-01.bin")])
      #expect(inspect.status == 0 && inspect.output.contains("3,466"))
      let record = try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(fileURLWithPath: temporary.path("run/train.json"))))
      let fields = try #require(record as? [String: Any])
      #expect(fields["outcome"] as? String == "finished")
      let optimizer = try #require(fields["optimizer"] as? [String: Any])
      #expect(optimizer["name"] as? String == "adam" && optimizer["beta2"] as? Double == 0.999)
      #expect(optimizer["damping"] is NSNull)
    }

    /// The description is a start like the checkpoint that `init` makes of it.
    @Test func initAndDescriptionAreOneStart() throws {
      let temporary = try TemporaryFolder()
      let made = try Command.run(["init", network, "-o", temporary.path("net.bin"), "--seed", "5"])
      #expect(made.status == 0 && made.output.contains("3,466 parameters"), "\(made.error)")
      for (model, name) in [(network, "a"), (temporary.path("net.bin"), "b")] {
        let result = try Command.run(
          ["train", model, "--epochs", "1", "--batch-size", "600", "--seed", "5", "--quiet"] + data
            + ["--optimizer", "ief", "-o", temporary.path(name)])
        #expect(result.status == 0, "\(result.error)")
      }
      for file in ["epoch-00.bin", "epoch-01.bin"] {
        let (a, b) = (
          try TensorArchive.open(temporary.path("a/" + file)),
          try TensorArchive.open(temporary.path("b/" + file))
        )
        for name in a.tensors.keys {
          #expect(
            try a.tensor(name).withBytes { Data($0) } == b.tensor(name).withBytes { Data($0) })
        }
      }
      let again = try Command.run(["init", network, "-o", temporary.path("net.bin")])
      #expect(again.status == 64)
    }

    /// A PEFT adapter: its parameters move, the base model stays.
    @Test func adaptersAreTrained() throws {
      let temporary = try TemporaryFolder()
      let folder = Fixture.path("hf/t5_lora")
      let result = try train(
        [
          folder + "/base", "--adapter", folder + "/adapter", "--data",
          folder + "/data.safetensors", "--optimizer", "ief", "--epochs", "2", "--batch-size", "2",
          "--quiet",
        ], temporary)
      #expect(result.status == 0, "\(result.error)")
      let (before, after) = (
        try CheckpointFile.open(temporary.path("run/epoch-00.bin")),
        try CheckpointFile.open(temporary.path("run/epoch-02.bin"))
      )
      for (name, tensor) in before.parameters {
        let isSame =
          try tensor.withBytes { Data($0) } == after.parameter(name).withBytes { Data($0) }
        // A decoder of one position attends to that one, whatever the query: no gradient.
        let hasGradient = !name.contains("decoder") || !name.contains("SelfAttention.q")
        #expect(isSame != (name.contains(".lora_") && hasGradient), "\(name)")
      }
      let score = try Command.run([
        "score", temporary.path("run/epoch-02.bin"), "--reference", "none", "--quiet",
      ])
      #expect(score.status == 0, "\(score.error)")
    }

    @Test func divergenceHasItsOwnExitCode() throws {
      let temporary = try TemporaryFolder()
      let result = try train(
        [checkpoint, "--optimizer", "sgd", "--learning-rate", "1e38", "--quiet"] + data, temporary)
      #expect(result.status == 1)
      #expect(result.output == "")
      try expectSnapshot(
        result.error.replacingOccurrences(of: temporary.url.path, with: "DIR"), "train-diverged")
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: temporary.path("run")).sorted()
          == ["epoch-00.bin", "epochs.csv", "steps.csv", "train.json"])
    }

    /// SIGINT in the middle of a run that would take minutes.
    @Test func interruptedRunKeepsWhatIsFinished() throws {
      let temporary = try TemporaryFolder()
      let process = Process()
      process.executableURL = URL(fileURLWithPath: Command.path)
      process.arguments =
        ["train", checkpoint, "--epochs", "100000", "--quiet", "-o", temporary.path("run")] + data
      let output = Pipe()
      (process.standardOutput, process.standardError) = (output, FileHandle.nullDevice)
      try process.run()
      let first = temporary.path("run/epochs.csv")
      for _ in 0..<600 where !FileManager.default.fileExists(atPath: first) {
        Thread.sleep(forTimeInterval: 0.1)
      }
      process.interrupt()
      // Otherwise a full pipe would hold the process up.
      _ = output.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      #expect(process.terminationReason == .exit)
      #expect(process.terminationStatus == 130)
      let epochs = try csvRows(first)
      #expect(epochs.count >= 1)
      for epoch in epochs {
        let name = try #require(epoch["checkpoint"])
        #expect(try CheckpointFile.open(temporary.path("run/" + name)).epoch != nil)
      }
      let steps = try csvRows(temporary.path("run/steps.csv"))
      #expect(steps.count >= Int(epochs.last?["step"] ?? "") ?? .max)
      #expect(
        try String(contentsOfFile: temporary.path("run/train.json"), encoding: .utf8)
          .contains("\"outcome\": \"interrupted\""))
    }

    private func trainPrompt(
      _ options: [String], _ folder: TemporaryFolder
    ) throws -> Command.Result {
      let prompt = Fixture.path("hf/t5_prompt")
      return try train(
        [
          prompt + "/base", "--adapter", prompt + "/adapter", "--data",
          prompt + "/data.safetensors",
          "--epochs", "1",
        ] + options, folder)
    }

    private func optimizer(_ folder: TemporaryFolder) throws -> [String: Any] {
      let record = try JSONSerialization.jsonObject(
        with: Data(contentsOf: URL(fileURLWithPath: folder.path("run/train.json"))))
      let fields = try #require(record as? [String: Any])
      #expect(fields["recipe"] as? String == "t5-prompt-tuning")
      return try #require(fields["optimizer"] as? [String: Any])
    }

    @Test func recipeIsShownAndRecorded() throws {
      let temporary = try TemporaryFolder()
      let result = try trainPrompt(["--recipe", "t5-prompt-tuning"], temporary)
      #expect(result.status == 0, "\(result.error)")
      try expectSnapshot(
        result.error.split(separator: "\n").drop { !$0.hasPrefix("recipe") }.prefix(3)
          .joined(separator: "\n") + "\n", "train-recipe")
      let fields = try optimizer(temporary)
      #expect(fields["name"] as? String == "ief" && fields["learning_rate"] as? Double == 50)
      #expect(fields["reduction"] as? String == "mean" && fields["damping"] as? String == "1e-12")
    }

    /// What is given beside a recipe wins, the optimiser too; the rest is the recipe's.
    @Test func optionsBesideARecipeWin() throws {
      let temporary = try TemporaryFolder()
      let result = try trainPrompt(
        [
          "--recipe", "t5-prompt-tuning", "--optimizer", "transformers-adafactor", "--decay-rate",
          "-0.5", "--schedule", "linear", "--batch-size", "2",
        ], temporary)
      #expect(result.status == 0, "\(result.error)")
      try expectSnapshot(
        result.error.split(separator: "\n").drop { !$0.hasPrefix("recipe") }.prefix(4)
          .joined(separator: "\n") + "\n", "train-recipe-beside")
      let fields = try optimizer(temporary)
      #expect(fields["name"] as? String == "transformers-adafactor")
      #expect(fields["decay_rate"] as? Double == -0.5 && fields["schedule"] as? String == "linear")
      #expect(fields["learning_rate"] as? Double == 0.3)
      #expect(fields["weight_decay"] as? Double == 1e-5)
      let steps = try csvRows(temporary.path("run/steps.csv"))
      #expect(steps.map { $0["samples"] } == ["2", "2", "1"])
    }

    @Test func recipeOfAnotherModelIsRefused() throws {
      let temporary = try TemporaryFolder()
      let result = try trainPrompt(["--recipe", "vit-lora"], temporary)
      #expect(result.status == 64 && result.output == "")
      #expect(try temporary.content == [])
      try expectSnapshot(result.error, "train-recipe-of-another-model")
    }

    /// A network by torch.export does not tell what it is.
    @Test func recipeForAnExportedNetworkIsTakenWithANote() throws {
      let temporary = try TemporaryFolder()
      let network = Fixture.path("golden/exported/mlp_core_aten")
      let result = try train(
        [
          network + "/model.pt2", "--data", network + "/data.npz", "--epochs", "1", "--recipe",
          "t5-lora", "--optimizer", "sgd",
        ], temporary)
      #expect(result.status == 0, "\(result.error)")
      #expect(result.error.contains("does not tell whether it is t5 with LoRA"), "\(result.error)")
    }

    static let mistakes: [(name: String, status: Int32, options: [String])] = [
      ("unknown-recipe", 64, ["--recipe", "t5-loar"]),
      ("unlike-any-recipe", 64, ["--recipe", "resnet"]),
      ("recipe-without-optimizer", 64, ["--recipe", "t5-lora", "--optimizer", "adam"]),
      ("recipe-for-a-sequential-model", 64, ["--recipe", "t5-lora", "--optimizer", "adamw"]),
      ("recipe-and-foreign-option", 64, ["--recipe", "t5-lora", "--momentum", "0.9"]),
      ("foreign-reduction", 64, ["--reduction", "mean"]),
      (
        "growing-decay", 64, ["--optimizer", "transformers-adafactor", "--decay-rate", "0.8"]
      ),
      ("no-clipping", 64, ["--optimizer", "transformers-adafactor", "--clip-threshold", "0"]),
      ("unknown-optimizer", 64, ["--optimizer", "adma"]),
      ("foreign-momentum", 64, ["--momentum", "0.9"]),
      ("foreign-damping", 64, ["--damping", "1e-3"]),
      ("two-dampings", 64, ["--optimizer", "ief", "--damping", "1,2"]),
      ("sf-without-length", 64, ["--optimizer", "sf", "--damping", "0", "--no-normalize"]),
      ("nesterov-alone", 64, ["--optimizer", "sgd", "--nesterov"]),
      ("betas", 64, ["--betas", "0.9"]),
      ("beta-one", 64, ["--betas", "0.9,1"]),
      ("negative-rate", 64, ["--learning-rate", "-1"]),
      ("no-epochs", 64, ["--epochs", "0"]),
      ("whole-held-out", 64, ["--hold-out", "1"]),
      ("nothing-held-out", 64, ["--hold-out", "0.0001"]),
      ("batch-too-large", 64, ["--batch-size", "1798"]),
      ("loss-of-a-checkpoint", 64, ["--loss", "mse"]),
      ("no-validation-file", 66, ["--validation", "/nowhere/data.npz"]),
    ]

    @Test(arguments: mistakes.indices)
    func mistakeIsNamedAndNothingIsWritten(_ index: Int) throws {
      let (name, status, options) = Self.mistakes[index]
      let temporary = try TemporaryFolder()
      let result = try train([checkpoint] + data + options, temporary)
      #expect(result.status == status, "\(result.error)")
      #expect(result.output == "")
      #expect(try temporary.content == [])
      try expectSnapshot(
        result.error.replacingOccurrences(of: Fixture.root.path, with: "fixtures"),
        "train-" + name)
    }

    /// Found by the first look at the data: nothing is written.
    @Test func overflowingStartIsBadData() throws {
      let temporary = try TemporaryFolder()
      var draft = try CheckpointDraft()
      for index in 0..<5 { draft.set("params.4.weight", index, 3e38) }
      try draft.write(to: temporary.path("start.bin"))
      var data = SafetensorsWriter()
      for name in ["inputs", "labels"] {
        let tensor = try #require(draft.tensors["batch." + name])
        data.add(name, dtype: tensor.dtype, shape: tensor.shape, data: tensor.data)
      }
      try data.write(to: temporary.path("data.bin"))
      let result = try train(
        [temporary.path("start.bin"), "--data", temporary.path("data.bin"), "--quiet"], temporary)
      #expect(result.status == 65)
      #expect(
        result.error.hasPrefix("error: before the first step the logits of sample "),
        "\(result.error)")
      #expect(try temporary.content == ["data.bin", "start.bin"])
    }

    @Test func dataMustFitTheModel() throws {
      let temporary = try TemporaryFolder()
      let result = try train(
        [checkpoint, "--data", Fixture.path("data/samples.npz")], temporary)
      #expect(result.status == 65, "\(result.error)")
      #expect(try temporary.content == [])
    }

    @Test func checkpointsAreNeverReplaced() throws {
      let temporary = try TemporaryFolder()
      let arguments =
        [checkpoint, "--epochs", "1", "--batch-size", "1797", "--quiet"] + data
      #expect(try train(arguments, temporary).status == 0)
      let second = try train(arguments, temporary)
      #expect(second.status == 64)
      #expect(second.error.contains("holds epoch-00.bin already"), "\(second.error)")
    }

    @Test func unwritableFolderIsFoundBeforeTheComputation() throws {
      let temporary = try TemporaryFolder()
      try Data().write(to: temporary.url.appendingPathComponent("run"))
      let result = try train([checkpoint] + data, temporary)
      #expect(result.status == 73)
      #expect(result.output == "")
    }
  }
}
