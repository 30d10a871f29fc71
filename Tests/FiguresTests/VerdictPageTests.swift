import Foundation
import TestSupport
import Testing

@testable import Figures

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// The verdict on the page and as text: extreme tables, and names that mean harm.
@Suite struct VerdictPageTests {
  typealias Method = VerdictDraft.Method

  private func page(_ draft: VerdictDraft) throws -> String {
    let results = try draft.results
    return ResultsPage(results, try FigureSet(results), .none).html
  }

  private static let hostile = [
    "a|b", "<script>alert(1)</script>", "two\nlines", "`code`", "[x](javascript:alert(1))", "*_~#",
    "&lt;", "\\|", "https://evil.example", "www.evil.example", "<!-- ", "", "# x", "| --- |", "$x$",
  ]

  /// Whatever a name is, a row has as many cells as its title, no line begins with a block of its own, and there
  /// is no tag.
  @Test func namesAreOnlyTextInMarkdown() throws {
    let draft = try VerdictDraft(
      run: "",
      Self.hostile.enumerated().map { index, name in
        Method(name) { _, _ in 0.5 + 0.01 * Double(index) }
      })
    let text = try VerdictMarkdown(draft.results).text
    let body = text.dropFirst(VerdictMarkdown.marker.count)
    #expect(!body.contains("<") && !body.contains("\r"))
    #expect(!body.contains("https://evil") && !body.contains("www.evil"))
    var cells: Int?
    for line in body.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("|") {
        let count = line.replacing("\\\\", with: "").replacing("\\|", with: "").count { $0 == "|" }
        #expect(cells == nil || cells == count, "\(line)")
        cells = count
      } else {
        cells = nil
        // A word, or a block of ours.
        let start = line.hasPrefix("  ") ? line.dropFirst(2) : line
        let isBlock = ["# Scores", "## Verdict", "### How", "- **", "- ", "\\["].contains {
          line.hasPrefix($0)
        }
        #expect(line.isEmpty || isBlock || start.first!.isLetter, "\(line)")
        // Broken before words that begin with a letter, of which there is one soon.
        #expect(line.count <= 160, "\(line)")
      }
    }
    #expect(text.contains("two?lines") && text.contains("\\`code\\`") && text.contains("a\\|b"))
  }

  @Test func namesAreOnlyTextOnThePage() throws {
    let draft = try VerdictDraft(
      Self.hostile.enumerated().map { index, name in
        Method(name) { _, _ in 0.5 + 0.01 * Double(index) }
      })
    let html = try page(draft)
    let parser = XMLParser(data: Data(html.utf8))
    #expect(parser.parse(), "\(String(describing: parser.parserError))")
    #expect(html.components(separatedBy: "<script").count == 2, "the page's own")
    #expect(html.contains("<strong>&lt;script&gt;alert(1)&lt;/script&gt;</strong>"))
  }

  /// Tables that can be sorted have the number behind every text.
  @Test func cellsHaveTheirNumbers() throws {
    let html = try page(VerdictDraft([Method("ef") { stage, _ in [1.0 / 3, 2, 1e-12][stage] }]))
    #expect(html.contains("<table class=\"sortable\">"))
    #expect(
      html.contains("data-value=\"0.3333333333333333\">[0.333<span class=\"mark\">]</span></td>"))
    #expect(
      html.contains(
        "class=\"number worse\" data-value=\"2.0\">2.000<span class=\"mark\">!</span></td>"))
    #expect(html.contains("data-value=\"1e-12\">[1.00e-12"))
    #expect(html.contains("data-value=\"10.0\">10.0</td>"), "no marks, no room")
    // Which of the tables is seen needs no script.
    #expect(html.components(separatedBy: "type=\"radio\"").count == 3)
    #expect(
      html.range(of: "id=\"verdict\"")!.lowerBound
        < html.range(
          of: "<h2>", range: html.range(of: "id=\"verdict\"")!.upperBound..<html.endIndex)!
        .upperBound)
  }

  @Test func longAndWideTablesStayLegible() throws {
    let methods = (0..<40).map { index in
      Method("method-\(index)") { stage, batch in 0.5 + 0.01 * Double((index + stage) % 40) }
    }
    let draft = try VerdictDraft(stages: 60, batches: 2, methods)
    let text = try VerdictMarkdown(draft.results).text
    let lines = text.split(separator: "\n")
    #expect(lines.filter { $0.hasPrefix("|") }.allSatisfy { $0.count <= 110 })
    let verdict = try draft.text
    #expect(verdict.headline.count < 400, "\(verdict.headline)")
    #expect(verdict.headline.hasPrefix("Best: "))
    #expect(verdict.views[0].table.rows.count == 60 && verdict.views[0].table.columns.count == 43)
    let parser = XMLParser(data: Data(try page(draft).utf8))
    #expect(parser.parse())
  }

  @Test func denormalNumbersAreShown() throws {
    let text = try VerdictDraft(
      stages: 1,
      [Method("a") { _, _ in Double.leastNonzeroMagnitude }, Method("b") { _, _ in 1e300 }]
    ).text
    #expect(
      text.views[0].table.rows[0].prefix(3).map(\.whole) == [
        "epoch 0", "[4.94e-324]", "1.00e+300!",
      ])
  }

  /// Two folders are two runs, each with its verdict.
  @Test func runsHaveAVerdictEach() throws {
    let (a, b) = (
      try VerdictDraft([Method("ef") { _, _ in 0.5 }]),
      try VerdictDraft([Method("ef") { _, _ in 2 }])
    )
    let texts = try VerdictText.all(Results(folders: [a.path, b.path]))
    #expect(
      texts.count == 2 && texts.allSatisfy { $0.title != nil && $0.views[0].table.rows.count == 3 })
    #expect(texts[0].headline.hasPrefix("Best: ef at all 3 stages"))
    #expect(texts[1].headline == "Best: sgd at all 3 stages. Worse than sgd: ef at all 3 stages.")
    #expect(texts[1].views[0].table.rows[0][0].text == "epoch 0", "the title tells the run")
  }

  /// epochs.csv of train, where it lies beside the tables.
  @Test func accuracyStandsBesideTheStages() throws {
    let draft = try VerdictDraft([Method("ef") { _, _ in 0.5 }])
    #expect(try !draft.text.views[0].table.columns.contains { $0.title == "accuracy %" })
    try draft.draft.write(
      "epochs.csv",
      ["epoch,step,train_loss,train_accuracy,checkpoint", "0,0,2,0.1,epoch-0.bin", "2,9,1,0.875,"])
    let table = try draft.text.views[0].table
    let column = try #require(table.columns.firstIndex { $0.title == "accuracy %" })
    #expect(table.rows.map { $0[column].text } == ["10.0", "", "87.5"])
    try draft.draft.write("epochs.csv", ["of,another", "program,1"])
    #expect(try draft.results.epochs == nil)
  }

  /// Records of many checkpoints with many tensors stay short, and folded.
  @Test func recordIsFoldedAndShort() throws {
    let draft = try VerdictDraft([Method("ef") { _, _ in 0.5 }])
    let parameters = (0..<200).map {
      #"{"name": "layer.\#($0).weight", "count": 8, "status": "trained"}"#
    }
    .joined(separator: ", ")
    let checkpoints = (0..<50).map {
      #"{"path": "run/\#($0).bin", "base": null, "parameters": [\#(parameters)]}"#
    }
    .joined(separator: ", ")
    try draft.draft.write(
      "run.json", [#"{"version": "1", "start": "today", "checkpoints": [\#(checkpoints)]}"#])
    let html = try page(draft)
    #expect(!html.contains("{&quot;"), "no JSON")
    #expect(html.contains("<details><summary>The record"))
    #expect(html.contains("200 entries") && html.contains("checkpoints: 30 more rows in run.json."))
    #expect(html.contains("parameters of run/0.bin") && !html.contains("parameters of run/1.bin"))
    #expect(!html.contains("<th scope=\"col\">base</th>"), "what says nothing")
    #expect(html.utf8.count < 60_000, "\(html.utf8.count)")
  }

  /// Digits stand below digits: 0.5 is 0.5000 beside 0.4375.
  @Test func zerosAtTheEndAreKept() throws {
    #expect(
      significant(0.5) == "0.5000" && significant(214) == "214.0" && significant(2140) == "2140")
    #expect(
      significant(65_000) == "6.500e+04" && significant(.nan) == ""
        && significant(.infinity) == "inf")
    #expect(spread(0.5, 0.03) == "0.5000 ± 0.030")
    let draft = try ResultsDraft()
    let tables = ScoreTables(try Results(folder: draft.path)).scores
    #expect(tables.contains(">0.3750 ± 0.18<"))
  }
}
