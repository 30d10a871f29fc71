import Checkpoints
import Foundation
import Metrics

/// The results of a run as one page of HTML that needs nothing else: no network, no fonts, and its own
/// script only for convenience. It is well-formed XML as well, so that any reader of either can check
/// it.
package struct ResultsPage: Sendable {
  private let results: Results
  private let figures: FigureSet
  private let pictures: PanelPictures

  /// By which a page of ours is known.
  package static let generator = "eval-cli report"

  package init(_ results: Results, _ figures: FigureSet, _ pictures: PanelPictures) {
    self.results = results
    self.figures = figures
    self.pictures = pictures
  }

  /// Whether a page, or a text, that this program has written is at the path.
  package static func isReport(_ path: String) -> Bool {
    guard let file = try? MappedFile(path: path, acceptsPipes: false) else { return false }
    defer { withExtendedLifetime(file) {} }
    let head = String(decoding: file.bytes.prefix(1000), as: UTF8.self)
    return head.contains("content=\"\(generator)\"") || head.hasPrefix(VerdictMarkdown.marker)
  }

  static func title(_ results: Results) -> String {
    "Scores: " + singleLine(results.folder, limit: 60)
  }

  /// What every reader has to know of the numbers.
  static let explanation =
    "γ says how much of the loss a direction can take away per step: smaller is better, and the natural "
    + "gradient has the least. γ / γ(sgd) below 1 beats plain gradient descent."

  package var html: String {
    let records = results.records.map { RunSection($0.run) }
    let tables = ScoreTables(results)
    let title = Self.title(results)
    let sections: [(id: String, title: String, body: String)] =
      verdict
      + figures.figures.map { ($0.name, $0.title, FigureSection($0, pictures[$0]).body) }
      + [("scores", "Scores", tables.scores), ("batches", "Batches", tables.batches)]
      .filter { !$0.2.isEmpty }
      + zip(results.records, records).enumerated().map { index, record in
        records.count == 1
          ? ("run", "The run", record.1.body)
          : (
            "run-\(index + 1)", "The run in " + singleLine(record.0.folder, limit: 60),
            record.1.body
          )
      }
    let links = sections.map { section in
      "<li><a href=\"#\(section.id)\">\(HTML.escaped(section.title))</a></li>"
    }.joined(separator: "\n")
    let parts = sections.map { section in
      "<section id=\"\(section.id)\">\n" + HTML.heading(2, section.title) + section.body
        + "</section>\n"
    }.joined(separator: "\n")
    let gaps = figures.gaps.map { "<li>\(HTML.escaped($0.sentence))</li>\n" }.joined()
    return """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8" />
      <meta name="viewport" content="width=device-width, initial-scale=1" />
      <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src '\(PageScript.digest)'" />
      <meta name="generator" content="\(Self.generator)" />
      <title>\(HTML.escaped(title))</title>
      <style>
      \(Stylesheet.text)
      \(Stylesheet.figures)
      \(VerdictHTML.style)
      </style>
      </head>
      <body>
      <header>
      <h1>\(HTML.escaped(title))</h1>
      \(records.map { HTML.paragraph($0.lead) }.joined())\(HTML.paragraph(
        Self.explanation))</header>
      <nav aria-label="Contents"><ul>
      \(links)
      </ul></nav>
      <main>
      \(parts)\(gaps.isEmpty ? "" : "<section id=\"missing\">\n<h2>Not drawn</h2>\n<ul>\n\(gaps)</ul>\n</section>\n")</main>
      <script>\(PageScript.text)</script>
      </body>
      </html>

      """
  }

  /// What a reader wants first.
  private var verdict: [(id: String, title: String, body: String)] {
    let body = VerdictHTML(VerdictText.all(results)).body
    return body.isEmpty ? [] : [("verdict", "Verdict", body)]
  }
}
