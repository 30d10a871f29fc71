import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// `report --format markdown`, and that no two tables of one run contradict each other.
  @Suite struct VerdictCommandTests {
    @Test func textNeedsNoGnuplotAndGoesWhereItIsTold() throws {
      let draft = try ResultsDraft()
      let written = try Command.run(
        ["report", draft.path, "--format", "markdown"], environment: ["PATH": ""])
      #expect(written.status == 0, "\(written.error)")
      #expect(written.output == "written: \(draft.path)/report.md\n")
      let printed = try Command.run(["report", draft.path, "--format", "markdown", "-o", "-"])
      #expect(printed.status == 0)
      let text = try String(contentsOfFile: draft.path + "/report.md", encoding: .utf8)
      #expect(printed.output == text)
      try expectSnapshot(
        text.replacingOccurrences(of: draft.path, with: "DIR"), "report-markdown")
      // One of ours is made again, another file is not.
      #expect(try Command.run(["report", draft.path, "--format", "markdown"]).status == 0)
      try draft.write("report.md", ["mine"])
      #expect(try Command.run(["report", draft.path, "--format", "markdown"]).status == 73)
    }

    @Test func withoutScoresThereIsNoVerdict() throws {
      let draft = try ResultsDraft()
      try draft.remove("scores.csv")
      let result = try Command.run(["report", draft.path, "--format", "markdown", "-o", "-"])
      #expect(result.status == 66 && result.output == "")
      #expect(result.error.contains("no scores.csv"))
    }

    /// The table that ends scoring and the first table of the verdict have the same numbers and marks.
    @Test func verdictAgreesWithTheClosingTable() throws {
      let folder = try TemporaryFolder()
      let score = try Command.run(
        ["score"] + ["00", "20", "40"].map { Fixture.path("digits/epoch-\($0).bin") } + [
          "--data", Fixture.path("digits/digits.safetensors"), "--batch-size", "32", "--batches",
          "6",
          "--damping", "1e-7,1e-1", "--reference", "gram", "--output", folder.path("r"), "--quiet",
        ])
      #expect(score.status == 0, "\(score.error)")
      let report = try Command.run(["report", folder.path("r"), "--format", "markdown", "-o", "-"])
      #expect(report.status == 0, "\(report.error)")
      func words(_ line: Substring) -> [String] {
        line.split { " |".contains($0) }.map(String.init)
      }
      let closing = score.output.split(separator: "\n").drop { !$0.hasPrefix("epoch ") }.dropFirst()
        .prefix(3).map(words)
      let table = report.output.split(separator: "\n").drop { !$0.hasPrefix("| stage") }.dropFirst(
        2
      )
      .prefix(3).map(words)
      #expect(closing.count == 3 && table.count == 3)
      for (row, other) in zip(closing, table) {
        #expect(row.count == 5)
        // `epoch`, its number, ef, ief, sf, ng; then loss and imbalance.
        #expect(other.dropFirst(1).prefix(5).map { $0.replacing("?", with: "") } == row)
      }
      #expect(
        report.output.contains("ef at epochs 20 and 40")
          || report.output.contains("Worse than sgd: ef"))
    }
  }
}
