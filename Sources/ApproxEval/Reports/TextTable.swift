import Checkpoints
import Foundation

/// Columns of text, aligned. Cells are shown as `printable` has them.
public struct TextTable: Sendable {
  /// Which side of its column a cell keeps to.
  public enum Alignment: Sendable {
    /// Words.
    case left
    /// Numbers.
    case right
  }

  private let columns: [(title: String, alignment: Alignment)]
  private var rows: [[String]] = []

  /// A table without rows, which has these titles.
  public init(_ columns: [(title: String, alignment: Alignment)]) { self.columns = columns }

  /// - Parameter row: A cell for each column.
  public mutating func append(_ row: [String]) {
    precondition(row.count == columns.count, "TextTable: \(row.count) cells")
    rows.append(row.map { printable($0, limit: Self.longestCell) })
  }

  /// Every row is as wide as the longest: one name must not make a table of a gigabyte.
  private static let longestCell = 400

  /// A line of titles, a rule, and a line per row, each ended by a line feed.
  public var text: String { text(TextStyle()) }

  /// The same in lines that are no wider than the screen, as far as titles and numbers let them: the widest
  /// words are broken, each within its column.
  public func text(_ style: TextStyle) -> String {
    let titles = columns.map(\.title)
    let widths = widths(within: style.width)
    let rule = widths.map { String(repeating: "-", count: $0) }
    var text = line(titles, widths) + line(rule, widths)
    for row in rows {
      let cells = zip(row, widths).map { Self.broken($0, width: $1) }
      for part in 0..<(cells.map(\.count).max() ?? 0) {
        text += line(cells.map { part < $0.count ? $0[part] : "" }, widths)
      }
    }
    return text
  }

  /// Of each column.
  private func widths(within limit: Int?) -> [Int] {
    var widths = columns.indices.map { column in
      rows.reduce(columns[column].title.count) { max($0, $1[column].count) }
    }
    guard let limit else { return widths }
    let least = columns.indices.map { column in
      columns[column].alignment == .right
        ? widths[column] : max(columns[column].title.count, Self.shortestCell)
    }
    var excess = widths.reduce(0, +) + 2 * (widths.count - 1) - limit
    while excess > 0 {
      let broken = widths.indices.filter { widths[$0] > least[$0] }
      guard let widest = broken.max(by: { widths[$0] < widths[$1] }) else { break }
      widths[widest] -= 1
      excess -= 1
    }
    return widths
  }

  /// A column of words is not made narrower.
  private static let shortestCell = 12

  /// In lines of at most `width` characters, all but the first with an indent: at spaces where there are any,
  /// or else behind the dots and strokes of names.
  private static func broken(_ cell: String, width: Int) -> [String] {
    var lines: [String] = []
    var rest = Array(cell)
    while true {
      let indent = lines.isEmpty ? "" : "  "
      let room = max(width - indent.count, 1)
      if rest.count <= room { return lines + [indent + String(rest)] }
      let space = rest[...room].lastIndex(of: " ") ?? 0
      let joint = rest[..<room].lastIndex { "._-/".contains($0) } ?? 0
      let end = space > 0 ? space : joint > 0 ? joint + 1 : room
      lines.append(indent + String(rest[..<end]))
      rest.removeFirst(space > 0 ? end + 1 : end)
    }
  }

  private func line(_ cells: [String], _ widths: [Int]) -> String {
    var line = ""
    for (index, cell) in cells.enumerated() {
      let space = String(repeating: " ", count: widths[index] - cell.count)
      line += index == 0 ? "" : "  "
      line += columns[index].alignment == .left ? cell + space : space + cell
    }
    while line.last == " " { line.removeLast() }
    return line + "\n"
  }
}

// MARK: - Words and numbers

/// The text in lines of at most `width` characters, broken at spaces; every line but the first
/// begins with `indent`. Names in it are shown as `printable` has them.
public func wrapped(_ text: String, width: Int = 80, indent: String = "  ") -> String {
  var lines: [String] = []
  var (line, length) = ("", 0)
  for word in printable(text).split(separator: " ") {
    let added = word.count
    if length > 0 && length + 1 + added > width {
      lines.append(line)
      (line, length) = (indent + word, indent.count + added)
    } else {
      line += length == 0 ? String(word) : " " + word
      length += added + (length == 0 ? 0 : 1)
    }
  }
  return (lines + [line]).joined(separator: "\n")
}

/// The same for parts that are joined by commas, none of which is broken unless it is longer than a line.
public func wrapped(parts: [String], width: Int = 80, indent: String = "  ") -> String {
  let unbreakable = parts.map { part in
    part.count + indent.count > width
      ? part : part.split(separator: " ").joined(separator: "\u{A0}")
  }
  let text = wrapped(unbreakable.joined(separator: ", "), width: width, indent: indent)
  return text.split(separator: "\u{A0}").joined(separator: " ")
}

/// `10,510,346`
public func grouped(_ number: Int) -> String {
  var text = ""
  for (place, digit) in String(number.magnitude).reversed().enumerated() {
    if place > 0 && place % 3 == 0 { text = "," + text }
    text = String(digit) + text
  }
  return number < 0 ? "-" + text : text
}

/// The number with so many significant digits, trailing zeros left out.
public func shortened(_ number: Double, digits: Int = 4) -> String {
  number.isNaN ? "nan" : String(format: "%.\(digits)g", number)
}

/// `1.536 GB`, in powers of a thousand.
public func bytes(_ count: Int, digits: Int = 4) -> String {
  bytes(Double(count), digits: digits)
}

/// The same for a prediction, which may be larger than anything that can be allocated.
public func bytes(_ count: Double, digits: Int = 4) -> String {
  count == 1
    ? "1 byte" : scaled(count, units: ["bytes", "kB", "MB", "GB", "TB"], digits: digits)
}

/// `35.1 GFLOP`: multiplications and additions.
public func operations(_ count: Double) -> String {
  scaled(
    count, units: ["FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP", "EFLOP"], digits: 3)
}

private func scaled(_ number: Double, units: [String], digits: Int) -> String {
  var (value, unit) = (number, 0)
  // What would round to 1000 belongs to the next unit.
  let limit = 1000 - 500 * pow(10, -Double(digits))
  while value >= limit && unit < units.count - 1 { (value, unit) = (value / 1000, unit + 1) }
  return shortened(value, digits: digits) + " " + units[unit]
}

/// `2 h 5 min`, `12 min`, `45 s`
public func duration(_ seconds: Double) -> String {
  if seconds < 100 { return "\(Int(max(seconds, 0).rounded(.up))) s" }
  // A NaN, as of a rate that was not measured, is as long as it gets.
  let minutes = Int((seconds < 1e15 ? seconds / 60 : 1e15 / 60).rounded(.up))
  if minutes < 100 { return "\(minutes) min" }
  return "\(grouped(minutes / 60)) h \(minutes % 60) min"
}
