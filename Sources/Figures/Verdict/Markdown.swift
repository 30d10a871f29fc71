/// Pieces of Markdown (CommonMark and the tables of GitHub), legible as plain text. Whatever comes from
/// results goes through `escaped`: no name can end a cell, begin a block, or be a tag or a link.
enum Markdown {
  static func escaped(_ text: String) -> String {
    var result = ""
    let scalars = Array(singleLine(text).unicodeScalars)
    for (index, scalar) in scalars.enumerated() {
      let isWithin =
        index > 0 && index + 1 < scalars.count && scalars[index - 1].properties.isAlphabetic
        && scalars[index + 1].properties.isAlphabetic
      switch scalar {
      // Entities rather than backslashes: also what shows Markdown with HTML in it must not see a tag.
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\\", "`", "*", "[", "]", "|", "~", "#", "$": result += "\\" + String(scalar)
      // Within words it is a letter like others.
      case "_": result += isWithin ? "_" : "\\_"
      // Of an address, which readers make links of.
      case ":" where scalars[(index + 1)...].starts(with: "//".unicodeScalars): result += "\\:"
      case "."
      where scalars[..<index].suffix(3).map({ $0.properties.lowercaseMapping }) == ["w", "w", "w"]:
        result += "\\."
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }

  static func paragraph(_ text: String) -> String { wrapped(escaped(text)) + "\n\n" }

  static func heading(_ level: Int, _ text: String) -> String {
    String(repeating: "#", count: level) + " " + escaped(text) + "\n\n"
  }

  /// - Parameter items: Markup.
  static func list(_ items: [String]) -> String {
    items.map { wrapped("- " + $0, indent: "  ") + "\n" }.joined() + (items.isEmpty ? "" : "\n")
  }

  /// In lines for people. Only words that begin with a letter begin a line: others may begin a block there.
  private static func wrapped(_ text: String, indent: String = "") -> String {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ", omittingEmptySubsequences: false) {
      if line.count + 1 + word.count > lineWidth, !line.isEmpty, word.first?.isLetter ?? false {
        lines.append(line)
        line = indent + word
      } else {
        line += lines.isEmpty && line.isEmpty ? String(word) : " " + word
      }
    }
    return (lines + [line]).joined(separator: "\n")
  }

  /// Lines are no longer, where words and columns let them.
  private static let lineWidth = 110

  /// Its columns below each other; where they are too many for a line, in several tables of some of them, each
  /// with the first column.
  static func table(_ table: DataTable) -> String {
    let columns = table.columns.indices.map { column in
      Column(table.columns[column], table.rows.map { $0[column] })
    }
    var blocks: [[Column]] = [[columns[0]]]
    for column in columns.dropFirst() {
      let used = blocks[blocks.count - 1].reduce(1) { $0 + $1.width + 3 }
      if used + column.width + 3 > lineWidth && blocks[blocks.count - 1].count > 1 {
        blocks.append([columns[0]])
      }
      blocks[blocks.count - 1].append(column)
    }
    return blocks.map { block in
      (0..<(table.rows.count + 2)).map { line in
        "| " + block.map { $0.lines[line] }.joined(separator: " | ") + " |\n"
      }.joined() + "\n"
    }.joined()
  }

  /// Title, rule and cells, all as wide.
  private struct Column {
    var width: Int
    var lines: [String]

    init(_ column: DataTable.Column, _ cells: [DataTable.Cell]) {
      // Room for the longest mark behind every number: digits stand below digits. Marks are our own.
      let room = column.isNumber ? cells.map(\.after.count).max() ?? 0 : 0
      let texts = cells.map { cell in
        cell.text.isEmpty
          ? ""
          : cell.before + escaped(cell.text) + cell.after
            + String(repeating: " ", count: max(room - cell.after.count, 0))
      }
      let title = escaped(column.title)
      let width = ([title] + texts).map(\.count).max()!
      func padded(_ text: String) -> String {
        let space = String(repeating: " ", count: max(width - text.count, 0))
        return column.isNumber ? space + text : text + space
      }
      let rule = String(repeating: "-", count: max(width - 1, 1))
      self.width = max(width, 2)
      lines = [padded(title), column.isNumber ? rule + ":" : ":" + rule] + texts.map(padded)
    }
  }
}
