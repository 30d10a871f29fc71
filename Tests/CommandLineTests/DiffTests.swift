import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// Results beside expected ones.
  @Suite struct DiffTests {
    private static func scored(_ folder: TemporaryFolder, _ name: String, _ more: [String]) throws {
      let result = try Command.run(
        [
          "score", Fixture.path("digits/epoch-03.bin"), Fixture.path("digits/epoch-10.bin"),
          "--batch-size", "16", "--batches", "2", "--methods", "sgd,ief", "--quiet", "--output",
          folder.path(name),
        ] + more)
      #expect(result.status == 0, "\(result.error)")
    }

    private static func diff(_ folder: TemporaryFolder, _ more: [String] = []) throws
      -> Command.Result
    {
      // Rows in one line, whatever the length of the paths.
      try Command.run(
        ["diff", folder.path("a"), folder.path("b")] + more, environment: ["COLUMNS": "300"])
    }

    private static func change(
      _ folder: TemporaryFolder, _ change: (inout [String]) -> Void
    ) throws {
      let url = folder.url.appendingPathComponent("b/scores.csv")
      var lines = try String(contentsOf: url, encoding: .utf8).components(separatedBy: "\r\n")
      change(&lines)
      try lines.joined(separator: "\r\n").write(to: url, atomically: true, encoding: .utf8)
    }

    @Test func equalResultsDoNotDiffer() throws {
      let folder = try TemporaryFolder()
      try Self.scored(folder, "a", [])
      try Self.scored(folder, "b", ["--threads", "1"])
      let result = try Self.diff(folder, ["--tolerance", "0"])
      #expect(result.status == 0, "\(result.output)")
      #expect(
        result.output
          == "0 of 12 rows moved by more than 0 % and their errors; the largest change is 0 %.\n")
    }

    /// By the tolerance, and by the error that the rows tell.
    @Test func rowsThatMovedAreListed() throws {
      let folder = try TemporaryFolder()
      try Self.scored(folder, "a", [])
      try Self.scored(folder, "b", [])
      try Self.change(folder) { lines in
        let columns = lines[0].components(separatedBy: ",")
        let gamma = columns.firstIndex(of: "gamma")!
        let error = columns.firstIndex(of: "gamma_error")!
        for (line, factor, allowance) in [(1, 1.002, "1e-12"), (2, 1.5, "0.6"), (3, 1.5, "0.01")] {
          var cells = lines[line].components(separatedBy: ",")
          cells[gamma] = String(Double(cells[gamma])! * factor)
          cells[error] = allowance
          lines[line] = cells.joined(separator: ",")
        }
        var cells = lines[4].components(separatedBy: ",")
        cells[gamma] = ""
        lines[4] = cells.joined(separator: ",")
      }
      let result = try Self.diff(folder)
      #expect(result.status == 1 && result.error == "")
      let rows = result.output.split(separator: "\n").filter { $0.contains("epoch-") }
      #expect(rows.count == 3, "\(result.output)")
      // No number is the worst; then what moved most beyond what is allowed.
      #expect(rows[0].contains("nan"))
      let heading = try #require(
        result.output.split(separator: "\n").first { $0.contains("moved") })
      #expect(heading.split(separator: " ").suffix(4) == ["moved", "%", "allowed", "%"])
      #expect(rows.map { $0.split(separator: " ").dropLast().last } == ["inf", "50", "0.2"])
      #expect(
        result.output.hasSuffix(
          "3 of 12 rows moved by more than 0.1 % and their errors; the largest change is\n  inf %.\n"
        ))
      let wide = try Self.diff(folder, ["--tolerance", "0.01"])
      #expect(wide.output.contains("2 of 12 rows moved"))
    }

    /// A checkpoint may stand twice in a folder, with files of its own each time.
    @Test func rowsOfACheckpointGivenTwiceAreTwo() throws {
      let folder = try TemporaryFolder()
      let checkpoint = Fixture.path("data/optimizer/checkpoint.bin")
      func score(_ name: String, _ states: [String]) throws {
        let result = try Command.run(
          ["score"]
            + states.flatMap { state in
              [checkpoint, "--optimizer-state", Fixture.path("data/optimizer/\(state).pt")]
            } + ["--reference", "none", "--quiet", "--output", folder.path(name)])
        #expect(result.status == 0, "\(result.error)")
      }
      try score("a", ["adam", "adamw"])
      try score("b", ["adam", "adamw"])
      let same = try Self.diff(folder, ["--tolerance", "0"])
      #expect(same.status == 0, "\(same.output)")
      let rows = try csvRows(folder.path("a/scores.csv")).count
      #expect(same.output.hasPrefix("0 of \(rows) rows moved"))
      try FileManager.default.removeItem(atPath: folder.path("b"))
      try score("b", ["adam"])
      let less = try Self.diff(folder, ["--tolerance", "0"])
      #expect(less.output.contains("only in \(folder.path("a")):\n"))
      #expect(less.output.contains("0 of \(rows / 2) rows moved"))
    }

    @Test func rowsOfOneFolderAloneAreListed() throws {
      let folder = try TemporaryFolder()
      try Self.scored(folder, "a", [])
      try Self.scored(folder, "b", ["--methods", "sgd,ief,ef"])
      let result = try Self.diff(folder)
      #expect(result.status == 1)
      #expect(result.output.contains("only in \(folder.path("b")):\n"))
      #expect(result.output.contains("batch 1, ef at rel:1e-7\n"))
      #expect(!result.output.contains("only in \(folder.path("a"))"))
      let none = try Command.run(["diff", folder.path("a"), folder.path("absent")])
      #expect(none.status == 66)
    }
  }
}
