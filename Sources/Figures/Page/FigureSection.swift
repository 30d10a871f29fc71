/// A figure on a page: its panels, or what they show in words, and what its marks mean.
struct FigureSection {
  private let figure: Figure
  private let pictures: [String]?

  /// - Parameter pictures: Of each panel; `nil` where they could not be drawn.
  init(_ figure: Figure, _ pictures: [String]?) {
    self.figure = figure
    self.pictures = pictures
  }

  var body: String {
    var body = HTML.paragraph(figure.caption)
    if let pictures {
      body += legend
      body += "<div class=\"panels\">\n" + zip(figure.panels, pictures).map(element).joined()
      body += "</div>\n"
    } else {
      body += "<p class=\"note\">gnuplot could not draw it. In words:</p>\n<ul>\n"
      for panel in figure.panels {
        body += "<li>\(HTML.escaped(panel.title + ". " + panel.description))</li>\n"
      }
      body += "</ul>\n"
    }
    if !figure.notes.isEmpty {
      body += "<ul class=\"note\">\n"
      for note in figure.notes { body += HTML.element("li", "", HTML.escaped(note)) + "\n" }
      body += "</ul>\n"
    }
    return body
  }

  private func element(_ panel: Panel, _ picture: String) -> String {
    guard case .cells(let grid) = panel.content, grid.columns.count > 4 else {
      return HTML.element("figure", "", picture) + "\n"
    }
    // What scrolls has to be reachable by keyboard.
    return HTML.element(
      "figure", "class=\"wide\" tabindex=\"0\"",
      "<p class=\"hint\">The map is wider than the screen: it scrolls sideways.</p>" + picture)
      + "\n"
  }

  // MARK: - Legend

  private var legend: String {
    let entries = figure.legend
    if entries.isEmpty { return "" }
    return "<ul class=\"legend\" aria-label=\"Legend\">\n"
      + entries.map { entry in
        HTML.element(
          "li", "data-entry=\"\(HTML.escaped(entry.label))\"",
          sample(entry.style) + HTML.element("span", "", HTML.escaped(entry.label))) + "\n"
      }.joined() + "</ul>\n"
  }

  /// A line with its marker, which is the one of the first panel's picture.
  private func sample(_ style: CurveStyle) -> String {
    let color = style.color == .ink ? "currentColor" : style.color.rawValue
    let marker =
      style.marker == .none
      ? ""
      : "<use href=\"#\(figure.name)-panel1-gpPt\(style.marker.rawValue - 1)\" "
        + "transform=\"translate(20,8) scale(5)\" color=\"\(color)\"/>"
    let dash = style.dash.pixels.map { "stroke-dasharray=\"\($0)\" " } ?? ""
    return "<svg viewBox=\"0 0 40 16\" fill=\"none\" aria-hidden=\"true\">"
      + "<path d=\"M0 8H40\" stroke=\"\(color)\" stroke-width=\"2\" \(dash)/>"
      + "\(marker)</svg>"
  }
}

extension Dash {
  /// As in gnuplot's pictures, about.
  fileprivate var pixels: String? {
    switch self {
    case .solid: nil
    case .dashed: "4 6"
    case .dotted: "2 3"
    case .dashDot: "6 3 2 3"
    case .dashDotDot: "7 3 1 3 1 3"
    case .long: "13 3"
    case .longDot: "13 3 2 3"
    }
  }
}
