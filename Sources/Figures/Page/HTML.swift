import Foundation

/// Pieces of a page. Whatever comes from results goes through `escaped`.
enum HTML {
  static func escaped(_ text: String) -> String {
    var result = ""
    for character in singleLine(text).unicodeScalars {
      switch character {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      case "'": result += "&#39;"
      default: result.unicodeScalars.append(character)
      }
    }
    return result
  }

  /// An element around markup.
  static func element(_ name: String, _ attributes: String = "", _ content: String) -> String {
    "<\(name)\(attributes.isEmpty ? "" : " " + attributes)>\(content)</\(name)>"
  }

  static func paragraph(_ text: String) -> String { element("p", escaped(text)) + "\n" }

  /// An element around text.
  private static func element(_ name: String, _ content: String) -> String {
    element(name, "", content)
  }

  static func heading(_ level: Int, _ text: String) -> String {
    element("h\(level)", "", escaped(text)) + "\n"
  }

  /// A table that scrolls by itself where the screen is narrow. Cells are texts; the first of every
  /// row is its heading, and columns in `numbers` stand to the right.
  static func table(
    _ caption: String, _ columns: [String], _ rows: [[String]], numbers: Range<Int>
  ) -> String {
    func kind(_ column: Int) -> String { numbers.contains(column) ? "class=\"number\"" : "" }
    let head = columns.enumerated().map {
      element("th", "scope=\"col\" " + kind($0), escaped($1))
    }.joined()
    let body = rows.map { row in
      "<tr>"
        + row.enumerated().map { column, cell in
          column == 0
            ? element("th", "scope=\"row\"", escaped(cell))
            : element("td", kind(column), escaped(cell))
        }.joined() + "</tr>\n"
    }.joined()
    // A region that scrolls has to be reachable by keyboard.
    return """
      <div class="scroll" role="region" tabindex="0" aria-label="\(escaped(caption))"><table>
      <caption>\(escaped(caption))</caption>
      <thead><tr>\(head)</tr></thead>
      <tbody>
      \(body)</tbody></table></div>

      """
  }
}

/// Four significant digits for people; files keep all.
func shown(_ value: Double, digits: Int = 4) -> String {
  if value.isNaN { return "" }
  if value.isInfinite { return value > 0 ? "inf" : "-inf" }
  return String(format: "%.\(digits)g", value)
}

/// `0.4230 ± 0.0120`
func spread(_ mean: Double, _ deviation: Double?) -> String {
  guard let deviation, deviation > 0, !mean.isNaN else { return shown(mean) }
  return shown(mean) + " ± " + shown(deviation, digits: 2)
}
