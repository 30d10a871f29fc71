/// gnuplot's SVG as part of a page.
struct InlineSVG {
  let markup: String

  /// - Parameters:
  ///   - name: Begins every id, so that pictures of one page do not meet.
  ///   - description: What the picture shows, in words.
  ///   - elements: Of the plot command that drew it: their groups name the legend's entry, and their
  ///     marks say what they stand for.
  init(
    _ document: String, name: String, title: String, description: String,
    elements: [PlotElement] = []
  ) {
    // Scalars and not characters: text may begin with an accent, which is then part of a `>`.
    var parts = document.unicodeScalars.split(separator: "<", omittingEmptySubsequences: false)
    // Before the root element stand the XML declaration and perhaps a document type.
    let root = parts.firstIndex { $0.starts(with: "svg".unicodeScalars) } ?? 0
    parts.removeFirst(root)
    let tags = parts.compactMap { part -> Tag? in
      // Text cannot hold `<` or `>`: gnuplot escapes them. So only tags are changed here.
      part.firstIndex(of: ">").map {
        Tag(name: String(part[..<$0]), text: String(part[part.index(after: $0)...]))
      }
    }
    let notes = Self.notes(tags, elements)
    let empty = Self.emptyGroups(tags)
    var markup = ""
    for (index, tag) in tags.enumerated() where !empty.contains(index) {
      if tag.name.hasPrefix("svg") {
        markup += Self.root(tag.name, name: name)
        markup += "<title id=\"\(name)-title\">\(HTML.escaped(title))</title>"
        markup += "<desc id=\"\(name)-description\">\(HTML.escaped(description))</desc>"
        continue
      }
      // Those of the document name the program, or parts by number.
      if ["title", "/title", "desc", "/desc"].contains(tag.name) { continue }
      let changed = Self.changed(tag.name, name: name)
      switch notes[index] {
      case .entry(let entry)?:
        markup += "<\(changed) data-entry=\"\(HTML.escaped(entry))\">\(tag.text)"
      case .value(let value)? where changed.hasSuffix("/"):
        let element = changed.prefix { $0 != " " }
        markup +=
          "<\(changed.dropLast())><title>\(HTML.escaped(value))</title></\(element)>\(tag.text)"
      default: markup += "<" + changed + ">" + tag.text
      }
    }
    self.markup = markup
  }

  private struct Tag {
    /// With its attributes.
    var name: String
    /// Up to the next.
    var text: String
  }

  /// gnuplot opens a group for every change of its pen: many hold nothing.
  private static func emptyGroups(_ tags: [Tag]) -> Set<Int> {
    var empty: Set<Int> = []
    for index in tags.indices.dropLast()
    where tags[index].name.hasPrefix("g fill=") && tags[index + 1].name == "/g"
      && tags[index].text.allSatisfy(\.isWhitespace)
    {
      empty.formUnion([index, index + 1])
    }
    return empty
  }

  private enum Note {
    case entry(String)
    case value(String)
  }

  /// What is to be said of tags, by their index. The n-th group of the plot command is the n-th
  /// element; where its marks are not as many as its values, they stay silent.
  private static func notes(_ tags: [Tag], _ elements: [PlotElement]) -> [Int: Note] {
    let starts = tags.indices.filter { tags[$0].name.hasPrefix("g id=\"gnuplot_plot_") }
    guard starts.count == elements.count else { return [:] }
    var notes: [Int: Note] = [:]
    for (place, element) in elements.enumerated() {
      let start = starts[place]
      let end = place + 1 < starts.count ? starts[place + 1] : tags.count
      if !element.entry.isEmpty { notes[start] = .entry(element.entry) }
      let marks = (start..<end).filter {
        tags[$0].name.hasPrefix("use ") || tags[$0].name.hasPrefix("polygon ")
      }
      if marks.count != element.values.count { continue }
      for (mark, value) in zip(marks, element.values) { notes[mark] = .value(value) }
    }
    return notes
  }

  /// The size is the page's business, within what keeps text readable; the shape is the picture's.
  private static func root(_ tag: String, name: String) -> String {
    let box = tag.split(separator: "viewBox=\"").dropFirst().first?.prefix { $0 != "\"" } ?? ""
    let width = box.split(separator: " ").dropFirst(2).first.flatMap { Double($0) } ?? 0
    return "<svg viewBox=\"\(box)\" role=\"img\" "
      + "style=\"min-width: \(Int(width * 0.76))px; max-width: \(Int(width * 1.2))px\" "
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
