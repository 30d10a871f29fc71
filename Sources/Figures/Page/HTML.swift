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

  /// A table that scrolls by itself where the screen is narrow. The first cell of every row is its heading.
  /// `data-value` has the number behind a text, with all digits, for whatever sorts the rows.
  static func table(_ table: DataTable) -> String {
    let head = table.columns.map { column in
      element(
        "th", "scope=\"col\"" + (column.isNumber ? " class=\"number\"" : ""), escaped(column.title))
    }.joined()
    // Room for a mark behind every number of a column that has some: digits stand below digits.
    let hasMarks = table.columns.indices.map { column in
      table.rows.contains { !$0[column].after.isEmpty }
    }
    let body = table.rows.map { row in
      "<tr>"
        + row.indices.map { cell(row[$0], $0, table.columns[$0], hasMark: hasMarks[$0]) }.joined()
        + "</tr>\n"
    }.joined()
    // A region that scrolls has to be reachable by keyboard.
    return """
      <div class="scroll" role="region" tabindex="0" aria-label="\(escaped(table.caption))"><table\(
        table.isSortable ? " class=\"sortable\"" : "")>
      <caption><span>\(escaped(table.caption))</span></caption>
      <thead><tr>\(head)</tr></thead>
      <tbody>
      \(body)</tbody></table></div>

      """
  }

  private static func cell(
    _ cell: DataTable.Cell, _ place: Int, _ column: DataTable.Column, hasMark: Bool
  ) -> String {
    let isHeading = place == 0
    var kinds = column.isNumber ? ["number"] : []
    switch cell.emphasis {
    case .none: break
    case .best: kinds.append("best")
    case .worse: kinds.append("worse")
    }
    let attributes = [
      isHeading ? "scope=\"row\"" : nil,
      kinds.isEmpty ? nil : "class=\"\(kinds.joined(separator: " "))\"",
      cell.value.map { "data-value=\"\($0)\"" },
    ].compactMap { $0 }.joined(separator: " ")
    let text = escaped(cell.before + cell.text)
    return element(
      isHeading ? "th" : "td", attributes,
      hasMark ? text + element("span", "class=\"mark\"", escaped(cell.after)) : text)
  }
}

/// Four significant digits for people; files keep all.
func shown(_ value: Double, digits: Int = 4) -> String {
  if value.isNaN { return "" }
  if value.isInfinite { return value > 0 ? "inf" : "-inf" }
  return String(format: "%.\(digits)g", value)
}

/// With so many significant digits, zeros at the end as well, so that digits stand below digits.
func significant(_ value: Double, digits: Int = 4) -> String {
  if !value.isFinite { return shown(value) }
  let text = String(format: "%#.\(digits)g", value)
  // `214.` is `214`.
  return text.last == "." ? String(text.dropLast()) : text
}

/// `0.4230 ± 0.012`
func spread(_ mean: Double, _ deviation: Double?) -> String {
  guard let deviation, deviation > 0, !mean.isNaN else { return significant(mean) }
  return significant(mean) + " ± " + significant(deviation, digits: 2)
}
