/// The verdict as a part of the page. Which of its tables is seen is chosen without a script; where style
/// sheets are not known all of them are.
struct VerdictHTML {
  let body: String

  /// - Parameter texts: One for each run.
  init(_ texts: [VerdictText]) {
    body = texts.enumerated().map { Self.body($1, "verdict-\($0 + 1)") }.joined()
  }

  private static func body(_ text: VerdictText, _ id: String) -> String {
    var body = "<div class=\"verdict\">\n"
    if let title = text.title { body += HTML.heading(3, title) }
    body += HTML.element("p", "class=\"headline\"", HTML.escaped(text.headline)) + "\n"
    body += views(text.views, id)
    body += HTML.element("p", "class=\"note\"", HTML.escaped(text.legend)) + "\n"
    body += list(
      text.methods.map {
        HTML.element("strong", "", HTML.escaped($0.name)) + ": " + HTML.escaped($0.sentence)
      })
    body +=
      HTML.element(
        "h3", "", text.title == nil ? "How sure" : HTML.escaped("How sure, \(text.title!)"))
      + "\n" + list(text.confidence.map { HTML.escaped($0) })
    if let evidence = text.evidence {
      body +=
        "<details><summary>\(HTML.escaped(evidence.caption))</summary>\n" + HTML.table(evidence)
        + "</details>\n"
    }
    return body + "</div>\n"
  }

  private static func views(_ views: [VerdictTables.View], _ id: String) -> String {
    let tables = views.map { "<div class=\"view\">\n" + HTML.table($0.table) + "</div>\n" }.joined()
    if views.count == 1 { return tables }
    let choices = views.enumerated().map { index, view in
      "<input type=\"radio\" name=\"\(id)-view\" id=\"\(id)-\(index + 1)\""
        + (index == 0 ? " checked=\"checked\"" : "") + " /><label for=\"\(id)-\(index + 1)\">"
        + HTML.escaped(view.name) + "</label>\n"
    }.joined()
    return "<div class=\"views\" role=\"group\" aria-label=\"Which table\">\n" + choices + tables
      + "</div>\n"
  }

  private static func list(_ items: [String]) -> String {
    items.isEmpty ? "" : "<ul>\n" + items.map { "<li>\($0)</li>\n" }.joined() + "</ul>\n"
  }

  /// Beside the page's own.
  static let style = """
    .headline { font-size: 1.1rem; font-weight: 600; }
    .verdict table { margin-right: 1rem; }
    .verdict th, .verdict td { min-width: 0; padding-right: 0.5rem; }
    .verdict tbody th { white-space: nowrap; }
    .verdict ul { padding-left: 1.25rem; }
    .verdict .scroll { max-height: 30rem; overflow: auto; }
    .best { font-weight: 700; background: color-mix(in srgb, #009e73 22%, transparent); }
    .worse { background: color-mix(in srgb, #d55e00 18%, transparent); }
    td.number .mark { display: inline-block; min-width: 1.4em; text-align: left; }
    td.number { padding-left: 0.5rem; }
    .views > .view { display: none; }
    .views > input:nth-of-type(1):checked ~ .view:nth-of-type(1),
    .views > input:nth-of-type(2):checked ~ .view:nth-of-type(2),
    .views > input:nth-of-type(3):checked ~ .view:nth-of-type(3) { display: block; }
    .views > label { margin: 0 1rem 0 0.25rem; cursor: pointer; }
    @media print {
      .views > .view { display: block; } .views > input, .views > label { display: none; }
      .verdict .scroll { max-height: none; }
    }
    """
}
