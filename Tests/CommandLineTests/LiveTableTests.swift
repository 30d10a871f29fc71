import Foundation
import Testing

@testable import ApproxEval
@testable import eval_cli

@Suite struct LiveTableTests {
  private static func table() throws -> LiveTable {
    let evaluation = Evaluation()
    let path = Fixture.path("golden/mlp_tanh.bin")
    let results = try evaluation.score(checkpoint: path)
    let report = try evaluation.plan(checkpoints: [path]).report([0: results[0]])
    return LiveTable(entry: report.entries[0], checkpoint: 0, planned: 3)
  }

  @Test func rowsAreThoseOfTheTable() throws {
    let table = try Self.table()
    let lines = table.lines(width: 200, height: 24)
    // A title, two lines of headings, four methods and the reference.
    #expect(lines.count == 8)
    #expect(lines[0].hasSuffix("mlp_tanh.bin: 1 of 3 batches"))
    #expect(
      Array(lines.dropFirst()) == table.entry.tableText.split(separator: "\n").map(String.init))
  }

  @Test func linesAreWithinTheTerminal() throws {
    let table = try Self.table()
    let whole = table.lines(width: 200, height: 8)
    #expect(whole.count == 8)
    let cut = table.lines(width: 20, height: 6)
    #expect(cut.count == 6 && cut.allSatisfy { $0.count <= 20 })
    #expect(cut.last == "and 3 more rows")
    // No row has a place.
    #expect(table.lines(width: 80, height: 4).isEmpty)
    #expect(table.lines(width: -1, height: 8).allSatisfy { $0.isEmpty })
  }
}

extension CommandLineTests {
  @Suite struct TablesOfARunTests {
    private static let paths = ["mlp_tanh", "mlp_trained"].map {
      Fixture.path("golden/\($0).bin")
    }

    /// The first table is there before the second checkpoint's batch is done, and each is there once.
    @Test func tablesComeAsCheckpointsAreDone() throws {
      let result = try Command.start(
        ["score", "--verbose"] + Self.paths, shell: "exec \"$0\" \"$@\" 2>&1"
      ).result()
      #expect(result.status == 0)
      let tables = result.output.ranges(of: "efficiency %")
      let batches = result.output.ranges(of: ".bin, batch 0: ")
      try #require(tables.count == 2 && batches.count == 2)
      #expect(batches[0].lowerBound < tables[0].lowerBound)
      #expect(tables[0].lowerBound < batches[1].lowerBound)
    }

    /// A reader that leaves costs no result.
    @Test func filesAreWrittenThoughTablesAreNot() throws {
      let folder = try TemporaryFolder()
      let result = try Command.start(
        ["score"] + Self.paths + ["--output", folder.path("r")],
        shell: "exec \"$0\" \"$@\" > /dev/full"
      ).result()
      #expect(result.status == 73)
      #expect(result.error.contains("at standard output"))
      #expect(try csvRows(folder.path("r/scores.csv")).count == 10)
    }
  }
}
