import Foundation
import Testing

extension CommandLineTests {
  /// Shards of a run that goes on where a checkpoint fails.
  @Suite struct KeptGoingTests {
    private static let good = ["mlp_tanh", "mse_mlp"].map { Fixture.path("golden/\($0).bin") }

    private static func score(
      _ folder: TemporaryFolder, _ checkpoints: [String], shard: Int, _ more: [String] = []
    ) throws -> Command.Result {
      try Command.run(
        ["score"] + checkpoints + [
          "--keep-going", "--quiet", "--reference", "none", "--shard", "\(shard)/2", "--output",
          folder.path("part-\(shard)"),
        ] + more)
    }

    private static func merge(_ folder: TemporaryFolder, _ more: [String] = []) throws
      -> Command.Result
    {
      try Command.run(
        ["merge", folder.path("part-1"), folder.path("part-2"), "-o", folder.path("merged")] + more)
    }

    private static func record(_ folder: TemporaryFolder) throws -> [String: Any] {
      let data = try Data(contentsOf: folder.url.appendingPathComponent("merged/run.json"))
      return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    private static func failures(_ run: [String: Any]) throws -> [String] {
      let failures = try #require(run["failures"] as? [[String: Any]])
      return try failures.map { try #require($0["checkpoint"] as? String) }
    }

    @Test func whatWasLeftOutIsMissingInTheWholeToo() throws {
      let folder = try TemporaryFolder()
      let absent = folder.path("absent.bin")
      for shard in 1...2 {
        let result = try Self.score(folder, [absent] + Self.good, shard: shard)
        #expect(result.status == 66, "\(result.error)")
      }
      let merged = try Self.merge(folder)
      #expect(merged.status == 0, "\(merged.error)")
      #expect(merged.error == "not scored to the end: \(absent)\n")
      let run = try Self.record(folder)
      #expect(run["complete"] as? Bool == false)
      #expect(try Self.failures(run) == [absent])
      #expect(try csvRows(folder.path("merged/batches.csv")).count == 2)
      // It is not given up unasked, and goes on when the file is there.
      let again = try Self.merge(folder)
      #expect(again.status == 73)
      #expect(again.error.contains("an unfinished run has 2 of 2 batches in this folder"))
      try FileManager.default.copyItem(
        atPath: Fixture.path("golden/mlp_trained.bin"), toPath: absent)
      let resumed = try Command.run(
        ["score", absent] + Self.good
          + ["--reference", "none", "--output", folder.path("merged"), "--resume"])
      #expect(resumed.status == 0)
      #expect(resumed.error.hasPrefix("resumed: 2 of 3 batches are in the journal\n"))
      #expect(try Self.record(folder)["complete"] as? Bool == true)
      // One shard has it now, and the other has left it out.
      #expect(try Self.score(folder, [absent] + Self.good, shard: 2, ["--force"]).status == 0)
      let mixed = try Self.merge(folder, ["--force"])
      #expect(mixed.status == 64)
      #expect(
        mixed.error.contains(
          "what is left out of the checkpoints is none here, \(absent) there\n"))
    }

    /// Nothing more is to be expected of a checkpoint that fails: its shard is done.
    @Test func aCheckpointThatAlwaysFailsIsNoGap() throws {
      let folder = try TemporaryFolder()
      let bad = folder.path("bad.bin")
      var draft = try CheckpointDraft()
      draft.set("params.2.weight", 3, Double.nan)
      try draft.write(to: bad)
      // The first shard has nothing but the one that fails.
      #expect(try Self.score(folder, [bad, Self.good[0]], shard: 1).status == 65)
      #expect(try Self.score(folder, [bad, Self.good[0]], shard: 2).status == 0)
      let merged = try Self.merge(folder)
      #expect(merged.status == 0, "\(merged.error)")
      #expect(merged.error == "not scored to the end: \(bad), batch 0\n")
      let run = try Self.record(folder)
      #expect(run["complete"] as? Bool == false)
      #expect(run["batches_planned"] as? Int == 2 && run["batches_finished"] as? Int == 1)
      #expect(try Self.failures(run) == [bad])
      // Mended, it is scored, and no longer a failure.
      try CheckpointDraft().write(to: bad)
      #expect(try Self.score(folder, [bad, Self.good[0]], shard: 1, ["--resume"]).status == 0)
      #expect(try Self.merge(folder, ["--force"]).status == 64, "the other has read another file")
      #expect(try Self.score(folder, [bad, Self.good[0]], shard: 2, ["--resume"]).status == 0)
      #expect(try Self.merge(folder, ["--force"]).status == 0)
      #expect(try Self.record(folder)["complete"] as? Bool == true)
      #expect(try Self.failures(Self.record(folder)) == [])
    }

    /// A shard without a batch of its own has a journal all the same.
    @Test func anEmptyShardKnowsWhatWasLeftOut() throws {
      let folder = try TemporaryFolder()
      let checkpoints = [folder.path("absent.bin"), Self.good[0]]
      for shard in 1...2 {
        #expect(try Self.score(folder, checkpoints, shard: shard).status == 66)
      }
      #expect(try Self.merge(folder).status == 0)
      #expect(try Self.failures(Self.record(folder)) == [checkpoints[0]])
    }
  }
}
