/// The verdict as text, for a README or an appendix.
package struct VerdictMarkdown: Sendable {
  package let text: String

  /// By which a text of ours is known; readers of Markdown do not show it.
  static let marker = "<!-- \(ResultsPage.generator) -->\n"

  /// - Throws: `.noTables` where no folder has scores.
  package init(_ results: Results) throws(TableError) {
    if results.scores == nil { throw TableError(.noTables(["scores.csv"]), file: results.folder) }
    var text = Self.marker + "\n" + Markdown.heading(1, ResultsPage.title(results))
    text += results.records.map { Markdown.paragraph(RunSection($0.run).lead) }.joined()
    text += Markdown.paragraph(ResultsPage.explanation)
    let verdicts = VerdictText.all(results)
    if verdicts.isEmpty {
      text += Markdown.paragraph(
        "The scores have no method beside sgd, and so there is no verdict.")
    }
    for verdict in verdicts { text += Self.text(verdict) }
    // One line feed at the end.
    self.text = String(text.dropLast())
  }

  private static func text(_ verdict: VerdictText) -> String {
    var text = Markdown.heading(2, verdict.title.map { "Verdict: \($0)" } ?? "Verdict")
    text += Markdown.paragraph(verdict.headline)
    for view in verdict.views {
      text += Markdown.paragraph(view.table.caption + ":") + Markdown.table(view.table)
    }
    text += Markdown.paragraph(verdict.legend)
    text += Markdown.list(
      verdict.methods.map { "**\(Markdown.escaped($0.name))**: \(Markdown.escaped($0.sentence))" })
    text += "### How sure\n\n" + Markdown.list(verdict.confidence.map { Markdown.escaped($0) })
    if let evidence = verdict.evidence {
      text += Markdown.paragraph(evidence.caption + ":") + Markdown.table(evidence)
    }
    return text
  }
}
