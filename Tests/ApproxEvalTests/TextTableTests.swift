import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// Tables on screens: `inspect` had lines of 179 characters whatever the width.
struct TextTableTests {
  private static func table(_ rows: [[String]]) -> TextTable {
    var table = TextTable([
      ("layer", .left), ("operation", .left), ("count", .right), ("parameters", .left),
    ])
    for row in rows { table.append(row) }
    return table
  }

  private static let rows = [
    [
      "vit.encoder.layer.0.attention.attention.query", "low rank update", "1,234",
      "a_long_name_of_a.weight, another_long_name_of_a.bias",
    ],
    ["head", "linear", "5", "weight, bias"],
    [String(repeating: "x", count: 60), "view", "1", ""],
  ]

  @Test func linesAreNoWiderThanTheScreen() {
    let table = Self.table(Self.rows)
    // 3 x 12 of words, 5 of numbers, 6 between them: narrower it cannot be.
    for width in 47...140 {
      let lines = table.text(TextStyle(width: width)).split(separator: "\n")
      for line in lines { #expect(line.count <= width, "\(width): \(line)") }
      #expect(lines[1].count == min(width, 138), "the room is used")
    }
    let least = table.text(TextStyle(width: 10)).split(separator: "\n").map(\.count).max()
    #expect(least == 47)
  }

  /// Nothing is lost or changes its order: the pieces of a column are its cells.
  @Test(arguments: [47, 60, 90])
  func piecesMakeUpTheCells(_ width: Int) {
    let lines = Self.table(Self.rows).text(TextStyle(width: width)).split(separator: "\n")
    var columns: [Range<Int>] = []
    var start = 0
    for rule in lines[1].split(separator: " ") {
      columns.append(start..<start + rule.count)
      start += rule.count + 2
    }
    for (index, column) in columns.enumerated() {
      let found = lines.dropFirst(2).map { line in
        String(line.dropFirst(column.lowerBound).prefix(column.count))
      }.joined().filter { $0 != " " }
      #expect(found == Self.rows.map { $0[index] }.joined().filter { $0 != " " })
    }
  }

  /// At spaces first, then behind the dots of a name.
  @Test func cellsAreBrokenWhereTheyAreRead() {
    var table = TextTable([("name", .left)])
    table.append(["model.first.weight, b"])
    #expect(
      table.text(TextStyle(width: 19))
        == "name\n-------------------\nmodel.first.weight,\n  b\n")
    #expect(
      table.text(TextStyle(width: 14)) == "name\n--------------\nmodel.first.\n  weight, b\n")
  }

  /// A pipe has no width: whoever searches it finds whole rows.
  @Test func withoutAScreenRowsAreWhole() {
    let text = Self.table(Self.rows).text
    #expect(text.split(separator: "\n").count == 2 + Self.rows.count)
    #expect(text.contains(Self.rows[0][3]))
  }
}
