import Foundation
import Testing

extension CommandLineTests {
  /// One file given several times, each time with files of its own.
  @Suite struct RepeatedCheckpointTests {
    private static func score(
      _ folder: TemporaryFolder, _ name: String, _ states: [String], _ more: [String] = []
    ) throws {
      let result = try Command.run(
        ["score"] + states.map { _ in Fixture.path("data/optimizer/checkpoint.bin") }
          + states.flatMap { ["--optimizer-state", Self.state($0)] }
          + ["--reference", "none", "--output", folder.path(name)]
          + more)
      #expect(result.status == 0, "\(result.error)")
    }

    private static func state(_ name: String) -> String {
      Fixture.path("data/optimizer/\(name).pt")
    }

    private static func states(_ folder: TemporaryFolder, _ name: String) throws -> [String] {
      let data = try Data(contentsOf: folder.url.appendingPathComponent("\(name)/run.json"))
      let run = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
      let checkpoints = try #require(run["checkpoints"] as? [[String: Any]])
      return try checkpoints.map { try #require($0["optimizer_state"] as? String) }
    }

    /// The record names the state of each, and a run that goes on with the two exchanged has their
    /// results exchanged.
    @Test func eachKeepsItsOwnState() throws {
      let folder = try TemporaryFolder()
      let (first, second) = (["adam", "adamw"], ["adamw", "adam"])
      try Self.score(folder, "r", first)
      #expect(try Self.states(folder, "r") == first.map(Self.state))
      try Self.score(folder, "r", second, ["--resume"])
      try Self.score(folder, "whole", second)
      #expect(try Self.states(folder, "r") == second.map(Self.state))
      let tables = try ["r", "whole"].map { try csvWithoutSeconds(folder.path("\($0)/scores.csv")) }
      #expect(tables[0] == tables[1])
      #expect(tables[0].count > 2 * 2 + 1, "other directions than sgd too")
    }

    /// Rows tell a direction by the name of its file: there is no going on with another one.
    @Test func aDirectionOfAnotherNameIsAnotherOne() throws {
      let folder = try TemporaryFolder()
      let checkpoint = Fixture.path("golden/mlp_tanh.bin")
      let old = folder.path("old.safetensors")
      #expect(try Command.run(["reference", checkpoint, "-o", old]).status == 0)
      func score(_ file: String, _ batches: Int) throws -> Command.Result {
        try Command.run([
          "score", checkpoint, "--batch-size", "4", "--reference", "none", "--quiet", "--updates",
          file, "--batches", "\(batches)", "--output", folder.path("r"), "--resume",
        ])
      }
      #expect(try score(old, 1).status == 0)
      try FileManager.default.createDirectory(
        atPath: folder.path("moved"), withIntermediateDirectories: false)
      let (moved, new) = (
        folder.path("moved/old.safetensors"), folder.path("moved/new.safetensors")
      )
      try FileManager.default.moveItem(atPath: old, toPath: moved)
      #expect(try score(moved, 2).status == 0, "it may lie elsewhere")
      try FileManager.default.moveItem(atPath: moved, toPath: new)
      let renamed = try score(new, 3)
      #expect(renamed.status == 64)
      #expect(renamed.error.contains("  \(new) was no input then\n"))
      #expect(renamed.error.contains("  \(moved) is no input now\n"))
    }
  }
}
