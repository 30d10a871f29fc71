import Foundation
import Testing

@testable import ApproxEval

extension CommandLineTests {
  /// Checkpoints of one model, each with what belongs to it.
  @Suite struct SeriesTests {
    private static let t5 = Fixture.path("hf/t5_lora") + "/"
    private static let sizes = ["--batch-size", "4", "--batches", "1"]

    /// Two folders as Transformers' Trainer leaves them, in the middle and at the end of an epoch.
    private static func trainerFolders(_ folder: TemporaryFolder) throws -> [String] {
      try [(5, "0.5"), (10, "1.0")].map { step, epoch in
        let path = folder.path("run/checkpoint-\(step)")
        try FileManager.default.createDirectory(
          atPath: folder.path("run"), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: t5 + "adapter", toPath: path)
        try FileManager.default.copyItem(
          atPath: Fixture.path("data/optimizer/t5_lora.pt"), toPath: path + "/optimizer.pt")
        try #"{"epoch": \#(epoch), "global_step": \#(step), "log_history": []}"#.write(
          toFile: path + "/trainer_state.json", atomically: true, encoding: .utf8)
        return path
      }
    }

    private static func rows(_ arguments: [String]) throws -> [[String: String]] {
      let folder = try TemporaryFolder()
      let csv = folder.path("scores.csv")
      let result = try Command.run(["score"] + arguments + ["--quiet", "--csv", csv])
      #expect(result.status == 0, "\(result.error)")
      return try csvRows(csv)
    }

    private static func numbers(_ rows: [[String: String]]) -> [[String?]] {
      rows.map { [$0["method"], $0["gamma"], $0["update_norm"], $0["cosine_gradient"]] }
    }

    /// Adapters, their epochs, steps and optimisers, from the folders alone.
    @Test func foldersOfATrainerAreCheckpoints() throws {
      let folder = try TemporaryFolder()
      let paths = try Self.trainerFolders(folder)
      let data = ["--data", Self.t5 + "data.safetensors"] + Self.sizes
      let series = try Self.rows(
        ["--model", Self.t5 + "base"] + paths + data + ["--optimizer-state", "auto"])
      let single = try Self.rows(
        [Self.t5 + "base", "--adapter", Self.t5 + "adapter"] + data
          + ["--optimizer-state", Fixture.path("data/optimizer/t5_lora.pt")])
      let half = series.count / 2
      #expect(single.contains { $0["method"] == "update:adam-state" })
      #expect(Self.numbers(Array(series.prefix(half))) == Self.numbers(single))
      #expect(Self.numbers(Array(series.suffix(half))) == Self.numbers(single))
      #expect(
        series.map { $0["checkpoint"] } == paths.flatMap { Array(repeating: $0, count: half) })
      #expect(Set(series.prefix(half).map { $0["epoch"] }) == [""])
      #expect(Set(series.suffix(half).map { $0["epoch"] }) == ["1"])
      #expect(Set(series.map { $0["step"] }) == ["5", "10"])
      #expect(Set(series.map { $0["run"] }) == [folder.path("run")])
      #expect(Set(single.map { $0["checkpoint"] }) == [Self.t5 + "adapter"])
    }

    /// The other spelling, and files by patterns.
    @Test func adaptersMayBeOptions() throws {
      let folder = try TemporaryFolder()
      let paths = try Self.trainerFolders(folder)
      let data = ["--data", Self.t5 + "data.safetensors"] + Self.sizes
      let series = try Self.rows(
        ["--model", Self.t5 + "base"] + paths + data
          + ["--optimizer-state", "{checkpoint}/optimizer.pt", "--run", "mine"])
      let options = try Self.rows(
        [Self.t5 + "base"] + paths.flatMap { ["--adapter", $0] } + data
          + [
            "--optimizer-state", folder.path("run/checkpoint-{step}/optimizer.pt"), "--run", "mine",
          ])
      let columns = Set(series[0].keys).subtracting(["seconds"])
      for (a, b) in zip(series, options) {
        for column in columns { #expect(a[column] == b[column], "\(column)") }
      }
      #expect(series.count == options.count && series[0]["run"] == "mine")
    }

    /// The weights of a folder, or of a file, in place of the model's own.
    @Test func weightsAreCheckpointsOfAHuggingFaceModel() throws {
      let folder = try TemporaryFolder()
      let base = Fixture.path("hf/vit_lora/base")
      let weights = folder.path("epoch-03/model.safetensors")
      try FileManager.default.createDirectory(
        atPath: folder.path("epoch-03"), withIntermediateDirectories: true)
      try FileManager.default.copyItem(atPath: base + "/model.safetensors", toPath: weights)
      let data = ["--data", Fixture.path("hf/vit_lora/data.safetensors")] + Self.sizes
      let own = try Self.rows([base] + data)
      for checkpoint in [weights, folder.path("epoch-03")] {
        let rows = try Self.rows(["--model", base, checkpoint] + data)
        #expect(Self.numbers(rows) == Self.numbers(own))
        #expect(Set(rows.map { $0["epoch"] }) == ["3"])
        #expect(Set(rows.map { $0["run"] }) == [folder.url.path])
      }
    }

    // MARK: Directions

    /// Directions that have the names of their files have one name over a series.
    @Test func directionsOfASeriesHaveOneName() throws {
      let folder = try TemporaryFolder()
      let checkpoints = ["03", "20"].map { Fixture.path("digits/epoch-\($0).bin") }
      let names = ["03", "20"].map { folder.path("ng-\($0).safetensors") }
      for (checkpoint, name) in zip(checkpoints, names) {
        let made = try Command.run([
          "reference", checkpoint, "--batch-size", "16", "-o", name, "--reference", "dense",
        ])
        #expect(made.status == 0, "\(made.error)")
      }
      let size = ["--batch-size", "16", "--methods", "sgd,update:ng", "--reference", "none"]
      let listed = try Self.rows(checkpoints + size + names.flatMap { ["--updates", $0] })
      let pattern = try Self.rows(
        checkpoints + size + ["--updates", folder.path("ng-{epoch}.safetensors")])
      #expect(listed.map { $0["method"] } == ["sgd", "update:ng", "sgd", "update:ng"])
      #expect(Self.numbers(listed) == Self.numbers(pattern))
    }

    @Test(arguments: [
      ("state-shared", ["--optimizer-state", "adam.pt"]),
      ("state-count", ["--optimizer-state", "a.pt", "--optimizer-state", "b.pt"]),
      ("updates-count", ["--updates", "a.st", "--updates", "b.st"]),
      ("adapters-of-several", ["--adapter", "a", "--adapter", "b"]),
      ("adapter-twice-told", ["--model", "m", "--adapter", "a"]),
      ("resume-and-force", ["--output", "never", "--resume", "--force"]),
      ("shard", ["--shard", "4/3"]),
    ])
    func whatDoesNotBelongTogetherIsRefused(_ name: String, _ arguments: [String]) throws {
      let checkpoints =
        ["fixtures/digits/epoch-03.bin"]
        + ["10", "20"].map {
          "fixtures/digits/epoch-\($0).bin"
        }
      let root = Fixture.root.deletingLastPathComponent().path
      let result = try Command.start(
        ["score"] + checkpoints + arguments, shell: "cd '\(root)'; exec \"$0\" \"$@\""
      ).result()
      #expect(result.status == 64)
      #expect(result.output == "")
      try expectSnapshot(result.error, "series-" + name)
    }

    @Test func aPatternAsksForWhatIsTold() throws {
      let base = Fixture.path("hf/vit_lora/base")
      let result = try Command.run([
        "score", base, "--data", Fixture.path("hf/vit_lora/data.safetensors"),
        "--optimizer-state", "adam-{epoch}.pt",
      ])
      #expect(result.status == 64)
      #expect(
        result.error == """
          error: \(base) does not tell its epoch
            at --optimizer-state adam-{epoch}.pt
            Use {name} or {checkpoint}, or save the epoch with the checkpoint.

          """)
    }

    // MARK: Lists

    @Test func listsCollect() throws {
      let checkpoint = [
        Fixture.path("digits/epoch-10.bin"), "--data", Fixture.path("digits/digits.safetensors"),
        "--batch-size", "16", "--batches", "1",
      ]
      let together = try Self.rows(
        checkpoint + [
          "--reference", "none", "--methods", "sgd,sf", "--damping", "1,1e-3", "--mc-samples",
          "1,2",
        ])
      let apart = try Self.rows(
        checkpoint + [
          "--reference", "none", "--methods", "sgd", "--methods", "sf", "--damping", "1",
          "--damping", "1e-3",
          "--mc-samples", "1", "--mc-samples", "2",
        ])
      #expect(together.count == 5, "sgd, and sf at two dampings with two draws")
      #expect(
        together.map { [$0["method"], $0["damping"], $0["mc_samples"], $0["gamma"]] }
          == apart.map { [$0["method"], $0["damping"], $0["mc_samples"], $0["gamma"]] })
    }
  }
}
