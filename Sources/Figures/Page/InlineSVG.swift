/// gnuplot's SVG as part of a page.
struct InlineSVG {
  let markup: String

  /// - Parameters:
  ///   - name: Begins every id, so that pictures of one page do not meet.
  ///   - description: What the picture shows, in words.
  init(_ document: String, name: String, title: String, description: String) {
    // Scalars and not characters: text may begin with an accent, which is then part of a `>`.
    var parts = document.unicodeScalars.split(separator: "<", omittingEmptySubsequences: false)
    // Before the root element stand the XML declaration and perhaps a document type.
    let root = parts.firstIndex { $0.starts(with: "svg".unicodeScalars) } ?? 0
    parts.removeFirst(root)
    var markup = ""
    for part in parts {
      // Text cannot hold `<` or `>`: gnuplot escapes them. So only tags are changed here.
      guard let end = part.firstIndex(of: ">") else { continue }
      let text = String(part[part.index(after: end)...])
      let tag = String(part[..<end])
      if tag.hasPrefix("svg") {
        markup += Self.root(tag, name: name)
        markup += "<title id=\"\(name)-title\">\(HTML.escaped(title))</title>"
        markup += "<desc id=\"\(name)-description\">\(HTML.escaped(description))</desc>"
      } else if ["title", "/title", "desc", "/desc"].contains(tag) {
        // Those of the document name the program.
        continue
      } else {
        markup += "<" + Self.changed(tag, name: name) + ">" + text
      }
    }
    self.markup = markup
  }

  /// The size is the page's business; the shape is the picture's.
  private static func root(_ tag: String, name: String) -> String {
    let box = tag.split(separator: "viewBox=\"").dropFirst().first?.prefix { $0 != "\"" } ?? ""
    return "<svg viewBox=\"\(box)\" role=\"img\" "
      + "aria-labelledby=\"\(name)-title \(name)-description\">"
  }

  private static func changed(_ tag: String, name: String) -> String {
    var tag = tag
    for quote in ["'", "\""] {
      tag = replaced(tag, " id=\(quote)", " id=\(quote)\(name)-")
      tag = replaced(tag, "xlink:href=\(quote)#", "href=\(quote)#\(name)-")
    }
    tag = replaced(tag, "url(#", "url(#\(name)-")
    tag = replaced(tag, "color=\"black\"", "")
    for ink in ["rgb( 34,  34,  34)", "rgb(34,34,34)", "#222222"] {
      tag = replaced(tag, "\"\(ink)\"", "\"currentColor\"")
      tag = replaced(tag, "'\(ink)'", "'currentColor'")
    }
    return tag
  }

  private static func replaced(_ text: String, _ old: String, _ new: String) -> String {
    text.split(separator: old, omittingEmptySubsequences: false).joined(separator: new)
  }
}
