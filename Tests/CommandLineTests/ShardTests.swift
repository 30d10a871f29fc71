import Foundation
import Testing

@testable import ApproxEval
@testable import eval_cli

extension CommandLineTests {
  /// Runs that are shared out, grow, and keep what others have left.
  @Suite struct ShardTests {
    private static func score(
      _ folder: TemporaryFolder, _ name: String, _ more: [String], batches: Int = 3
    ) throws -> Command.Result {
      try Command.run(
        ResumeTests.arguments(batches: batches) + ["--output", folder.path(name)] + more)
    }

    private static func record(_ folder: TemporaryFolder, _ name: String) throws -> [String: Any] {
      let data = try Data(contentsOf: folder.url.appendingPathComponent("\(name)/run.json"))
      return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    private static func expectSameTables(
      _ folder: TemporaryFolder, _ a: String, _ b: String,
      _ tables: [String] = ["scores", "batches", "cg", "summary"],
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      for table in tables {
        let texts = try [a, b].map { try csvWithoutSeconds(folder.path("\($0)/\(table).csv")) }
        #expect(texts[0].count > 2)
        #expect(texts[0] == texts[1], "\(table) of \(b)", sourceLocation: sourceLocation)
      }
    }

    /// Each shard is killed once and goes on; together they are the run in one piece.
    @Test func shardsAreTheRunInOnePiece() throws {
      let folder = try TemporaryFolder()
      #expect(try Self.score(folder, "whole", []).status == 0)
      let journals = (1...4).map { "part-\($0)" }
      for (index, name) in journals.enumerated() {
        let shard = ["--shard", "\(index + 1)/4"]
        #expect(try Self.score(folder, name, shard).status == 0)
        // As if it had been killed before its last batch was done.
        let journal = folder.url.appendingPathComponent("\(name)/journal.jsonl")
        let lines = try Data(contentsOf: journal).split(separator: UInt8(ascii: "\n"))
        try Data(lines.dropLast(2).map { $0 + Data("\n".utf8) }.joined()).write(to: journal)
        if index == 2 { continue }
        #expect(try Self.score(folder, name, shard + ["--resume"]).status == 0)
      }
      func merge(_ names: [String]) throws -> Command.Result {
        try Command.run(["merge"] + names.map { folder.path($0) } + ["-o", folder.path("merged")])
      }
      let unfinished = try merge(journals)
      #expect(unfinished.status == 66)
      #expect(
        unfinished.error == """
          missing as a job array: --array=3, with --shard auto/4
          error: 1 of 4 shards is missing or has not ended
            at --shard 3
            \(folder.path("part-3")) has 0 of 1 batches
            Run them, those that have begun with --resume.

          """)
      let absent = try merge(["part-2"])
      #expect(absent.error.contains("at --shard 1,3-4\n"))
      #expect(try !folder.content.contains("merged"), "nothing is half written")
      let again = try Self.score(folder, "part-3", ["--shard", "3/4", "--resume"])
      #expect(again.status == 0)
      let merged = try merge(journals.reversed())
      #expect(merged.status == 0, "\(merged.error)")
      try Self.expectSameTables(folder, "whole", "merged")
      let options = try ["whole", "merged"].map { try Self.record(folder, $0)["options"] }
      #expect(options[0] as? NSDictionary == options[1] as? NSDictionary)
      #expect(try merge(journals + ["part-1"]).error.contains("shard 1/4 is there twice"))
      #expect(try merge(["whole"]).error.contains("no shard"))
      // What was merged may grow as any run.
      #expect(try Self.score(folder, "merged", ["--resume"], batches: 4).status == 0)
      #expect(try Self.score(folder, "longer", [], batches: 4).status == 0)
      try Self.expectSameTables(folder, "longer", "merged")
    }

    @Test func shardsOfOtherRunsAreNotMerged() throws {
      let folder = try TemporaryFolder()
      #expect(try Self.score(folder, "a", ["--shard", "1/2"]).status == 0)
      #expect(try Self.score(folder, "b", ["--shard", "2/2", "--seed", "2"]).status == 0)
      let result = try Command.run(
        ["merge", folder.path("a"), folder.path("b"), "-o", folder.path("c")])
      #expect(result.status == 64)
      #expect(
        result.error == """
          error: this is a shard of another run than \(folder.path("a"))
            at \(folder.path("b"))
            --seed is 2 here, 1337 there
            Shards of one run have the same options and inputs.

          """)
    }

    @Test func theTaskOfAJobArrayIsAShard() throws {
      let slurm = [
        "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "7",
        "SLURM_ARRAY_TASK_COUNT": "8",
      ]
      #expect(try JobArray(slurm).shard("auto") == Shard(4, of: 8))
      #expect(try JobArray(slurm).shard("auto/9") == Shard(3, of: 9))
      #expect(try JobArray([:]).shard("2/3") == Shard(2, of: 3))
      #expect(try JobArray(["PBS_ARRAY_INDEX": "2"]).shard("auto/5") == Shard(2, of: 5))
      #expect(
        try JobArray(["LSB_JOBINDEX": "2", "LSB_JOBINDEX_END": "6"]).shard("auto")
          == Shard(2, of: 6))
      // Only those that were missing: their count is not that of the run.
      var missing = slurm
      (missing["SLURM_ARRAY_TASK_MIN"], missing["SLURM_ARRAY_TASK_COUNT"]) = ("3", "2")
      for (environment, text) in [
        (missing, "auto"), ([:], "auto"), (["PBS_ARRAYID": "2"], "auto"), (slurm, "auto/2"),
        (["LSB_JOBINDEX": "0"], "auto/4"), ([:], "0/3"), ([:], "1/\(Int.max)"),
        (slurm, "auto/\(Int.max)"), ([:], "3"), ([:], "1/2/3"), ([:], "x/2"),
        ([:], ""),
      ] {
        #expect(throws: UsageError.self, "\(text)") { try JobArray(environment).shard(text) }
      }
      #expect(try JobArray(missing).shard("auto/8") == Shard(3, of: 8))
      #expect(MergeError.list([9, 1, 3, 4, 5]) == "1,3-5,9")
    }

    // MARK: Growth

    /// By batches, by checkpoints in front of the others, and by files that have moved.
    @Test func aFinishedRunGrows() throws {
      let folder = try TemporaryFolder()
      let checkpoints = ["03", "20"].map { folder.path("epoch-\($0).bin") }
      for (path, epoch) in zip(checkpoints, ["03", "20"]) {
        try FileManager.default.copyItem(
          atPath: Fixture.path("digits/epoch-\(epoch).bin"), toPath: path)
      }
      func score(_ checkpoints: [String], _ batches: Int, _ name: String, _ more: [String] = [])
        throws -> Command.Result
      {
        try Command.run(
          ["score"] + checkpoints + [
            "--batch-size", "16", "--batches", "\(batches)", "--cg-iterations", "4", "--output",
            folder.path(name),
          ] + more)
      }
      #expect(try score([checkpoints[1]], 2, "r").status == 0)
      let moved = folder.path("epoch-20-moved.bin")
      try FileManager.default.moveItem(atPath: checkpoints[1], toPath: moved)
      let grown = try score([checkpoints[0], moved], 3, "r", ["--resume"])
      #expect(grown.status == 0, "\(grown.error)")
      #expect(grown.error.hasPrefix("resumed: 2 of 6 batches are in the journal\n"))
      #expect(try score([checkpoints[0], moved], 3, "whole").status == 0)
      try Self.expectSameTables(folder, "whole", "r")
      // Methods are more of each batch.
      let methods = ["--methods", "sgd,ef,ief,sf,sign"]
      let more = try score([checkpoints[0], moved], 3, "r", ["--resume"] + methods)
      #expect(
        more.error.hasPrefix(
          """
          resumed: 0 of 6 batches are in the journal
          6 batches that are in it are scored again, as more is asked of each

          """))
      #expect(try score([checkpoints[0], moved], 3, "with", methods).status == 0)
      try Self.expectSameTables(folder, "with", "r")
      let less = try score([checkpoints[0], moved], 2, "r", ["--resume"] + methods)
      #expect(less.status == 64)
      #expect(less.error.contains("batch 2 of \(checkpoints[0]) is in the journal"))
    }

    /// Lists that name the same in another order: nothing is scored again, and rows are in the order of
    /// the last run throughout.
    @Test func theOrderOfListsIsNoDifference() throws {
      let folder = try TemporaryFolder()
      func score(_ name: String, _ batches: Int, _ lists: [String], _ more: [String] = []) throws
        -> Command.Result
      {
        try Command.run(
          [
            "score", Fixture.path("digits/epoch-03.bin"), "--data",
            Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--batches",
            "\(batches)", "--reference", "none", "--per-layer", "--output", folder.path(name),
            "--methods", lists[0], "--damping", lists[1], "--mc-samples", lists[2],
          ] + more)
      }
      let (first, second) = (["sgd,ef,sf", "0,1e-3", "1,2"], ["sf,ef,sgd", "1e-3,0", "2,1"])
      #expect(try score("r", 1, first).status == 0)
      let other = try score("r", 2, second, ["--resume"])
      #expect(other.status == 0, "\(other.error)")
      #expect(
        other.error.hasPrefix("resumed: 1 of 2 batches are in the journal\n")
          && !other.error.contains("scored again"))
      #expect(try score("whole", 2, second).status == 0)
      try Self.expectSameTables(folder, "whole", "r", ["scores", "summary", "layers"])
    }

    // MARK: What is not overwritten

    /// An empty journal tells of no run that tables could be of.
    @Test func anEmptyJournalIsNone() throws {
      let folder = try TemporaryFolder()
      let base = [
        "score", Fixture.path("golden/mlp_tanh.bin"), "--quiet", "--output", folder.path("r"),
      ]
      #expect(try Command.run(base).status == 0)
      let tables = try Data(contentsOf: folder.url.appendingPathComponent("r/scores.csv"))
      try Data().write(to: folder.url.appendingPathComponent("r/journal.jsonl"))
      for more in [["--resume"], []] {
        let result = try Command.run(base + ["--batch-size", "4"] + more)
        #expect(result.status == 73)
        #expect(result.error.contains("tables in this folder that no journal tells of"))
      }
      #expect(try Data(contentsOf: folder.url.appendingPathComponent("r/scores.csv")) == tables)
      #expect(try Command.run(base + ["--force"]).status == 0)
    }

    /// A file with the scores beside a folder that is this run's is written again with it.
    @Test func scoresInAFileGoOnWithTheirFolder() throws {
      let folder = try TemporaryFolder()
      let csv = folder.path("scores.csv")
      func score(_ more: [String]) throws -> Command.Result {
        try Command.run(
          [
            "score", Fixture.path("golden/mlp_tanh.bin"), "--batch-size", "4", "--batches", "2",
            "--quiet", "--csv", csv, "--output", folder.path("r"),
          ] + more)
      }
      #expect(try score([]).status == 0)
      let whole = try csvWithoutSeconds(csv)
      #expect(try score([]).status == 0, "the same run again")
      // As an interruption leaves them: a batch in the journal, and its rows in the file.
      let journal = folder.url.appendingPathComponent("r/journal.jsonl")
      let lines = try Data(contentsOf: journal).split(separator: UInt8(ascii: "\n"))
      try Data(lines.prefix(2).map { $0 + Data("\n".utf8) }.joined()).write(to: journal)
      let rows = try String(contentsOfFile: csv, encoding: .utf8).components(separatedBy: "\r\n")
      try rows.prefix(2).joined(separator: "\r\n").write(
        toFile: csv, atomically: true, encoding: .utf8)
      let resumed = try score(["--resume"])
      #expect(resumed.status == 0, "\(resumed.error)")
      #expect(try csvWithoutSeconds(csv) == whole)
      // What is no table of scores is somebody else's, and so is one of another folder.
      try "mine".write(toFile: csv, atomically: true, encoding: .utf8)
      for more in [[], ["--resume"]] {
        let other = try score(more)
        #expect(other.status == 73)
        #expect(other.error.contains("there is a file of this name already\n  at \(csv)\n"))
      }
      #expect(try String(contentsOfFile: csv, encoding: .utf8) == "mine")
      #expect(try score(["--force"]).status == 0)
      try FileManager.default.removeItem(atPath: folder.path("r"))
      #expect(try score(["--resume"]).status == 73)
    }

    @Test func resultsOfOthersAreLeftAlone() throws {
      let folder = try TemporaryFolder()
      let base = ["score", Fixture.path("golden/mlp_tanh.bin"), "--quiet"]
      let into = base + ["--output", folder.path("r"), "--batch-size", "4"]
      #expect(try Command.run(into + ["--batches", "2", "--per-layer"]).status == 0)
      func content() throws -> [String: Data] {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path("r"))
        return try Dictionary(
          uniqueKeysWithValues: names.map {
            ($0, try Data(contentsOf: folder.url.appendingPathComponent("r/\($0)")))
          })
      }
      let before = try content()
      let other = try Command.run(into + ["--batches", "1"])
      #expect(other.status == 73)
      #expect(other.error.contains("the results of another run are in this folder, 2 batches\n"))
      #expect(try content() == before)
      // The same run may be made again, and by --force another one, of which alone the folder then is.
      #expect(try Command.run(into + ["--batches", "2", "--per-layer"]).status == 0)
      #expect(try Command.run(into + ["--batches", "1", "--force"]).status == 0)
      #expect(try content()["layers.csv"] == nil)
      #expect(try csvRows(folder.path("r/batches.csv")).count == 1)

      try FileManager.default.removeItem(atPath: folder.path("r/journal.jsonl"))
      let foreign = try Command.run(into + ["--batches", "1"])
      #expect(foreign.status == 73)
      #expect(
        foreign.error == """
          error: there are tables in this folder that no journal tells of
            at \(folder.path("r"))
            They are run.json, scores.csv, batches.csv, cg.csv, summary.csv.
            Give another folder as --output, or replace them by --force.

          """)
      #expect(try Command.run(into + ["--batches", "1", "--force"]).status == 0)
    }

    @Test func filesAreNotReplacedUnasked() throws {
      let folder = try TemporaryFolder()
      let checkpoint = folder.path("epoch-01.bin")
      try CheckpointDraft().write(to: checkpoint)
      let before = try Data(contentsOf: URL(fileURLWithPath: checkpoint))
      for arguments in [
        ["reference", checkpoint, "-o", checkpoint], ["pack", checkpoint, "-o", checkpoint],
        ["score", checkpoint, "--csv", checkpoint],
      ] {
        let result = try Command.run(arguments)
        #expect(result.status == 73)
        #expect(
          result.error == """
            error: there is a file of this name already
              at \(checkpoint)
              Give another name, or replace it by --force.

            """)
        #expect(try Data(contentsOf: URL(fileURLWithPath: checkpoint)) == before)
        #expect(try folder.content == ["epoch-01.bin"])
      }
      let csv = folder.path("a.csv")
      #expect(try Command.run(["score", checkpoint, "--csv", csv]).status == 0)
      #expect(try Command.run(["score", checkpoint, "--csv", csv, "--force"]).status == 0)
      #expect(try Command.run(["score", checkpoint, "--csv", "/dev/null"]).status == 0)
    }

    // MARK: Failures

    @Test func otherCheckpointsAreScoredWhereOneFails() throws {
      let folder = try TemporaryFolder()
      var draft = try CheckpointDraft()
      draft.set("params.2.weight", 3, Double.nan)
      let (bad, good) = (folder.path("bad.bin"), Fixture.path("golden/mlp_tanh.bin"))
      try draft.write(to: bad)
      let absent = folder.path("absent.bin")
      let base = ["score", absent, bad, good, "--output", folder.path("r")]
      #expect(try Command.run(base).status == 66)
      let result = try Command.run(base + ["--keep-going"])
      #expect(result.status == 66, "as the first failure")
      #expect(result.error.contains("\nerror: 2 checkpoints could not be scored to the end\n"))
      #expect(result.error.contains("\(absent): "))
      #expect(result.error.contains("\(bad), batch 0: "))
      #expect(try csvRows(folder.path("r/batches.csv")).map { $0["checkpoint"] } == [good])
      let data = try Data(contentsOf: folder.url.appendingPathComponent("r/run.json"))
      let run = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      #expect((run["failures"] as? [[String: Any]])?.count == 2)
      #expect(run["complete"] as? Bool == false)
      // What was scored is not scored again when the others have been mended.
      try CheckpointDraft("golden/mse_mlp.bin").write(to: bad)
      try CheckpointDraft("golden/mlp_trained.bin").write(to: absent)
      let mended = try Command.run(base + ["--resume"])
      #expect(mended.status == 0, "\(mended.error)")
      #expect(mended.error.hasPrefix("resumed: 1 of 3 batches are in the journal\n"))
      #expect(try csvRows(folder.path("r/batches.csv")).count == 3)
    }
  }
}
