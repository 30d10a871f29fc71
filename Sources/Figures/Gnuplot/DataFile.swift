import Foundation

/// The numbers of a figure, in blocks that its script calls by their index.
struct DataFile {
  private(set) var text: String
  private var blocks = 0

  init(_ figure: Figure) {
    text = GnuplotText.comment(
      "\(figure.name).dat: the numbers of \(figure.name).gp, in blocks; ? is no number.")
  }

  /// - Returns: the index of the block.
  mutating func append(_ title: String, columns: [String], _ rows: [[Double?]]) -> Int {
    // Two empty lines end a block.
    if blocks > 0 { text += "\n\n" }
    text += GnuplotText.comment("block \(blocks): \(title)", width: .max)
    text += "# " + columns.joined(separator: " ") + "\n"
    for row in rows {
      text += row.map(GnuplotText.number).joined(separator: " ") + "\n"
    }
    blocks += 1
    return blocks - 1
  }

  mutating func append(_ curve: Curve, of panel: Panel) -> Int {
    append(
      "\(panel.title), \(curve.label)",
      columns: ["x", "mean", "deviation", "low", "high", "batches"],
      curve.points.map { point in
        // A value of zero has no place on a logarithm: it is drawn to the end of the axis.
        let low = point.range.map { $0.lowerBound > 0 ? $0.lowerBound : panel.y.low }
        return [
          point.x, point.y, point.deviation, low, point.range?.upperBound, Double(point.batches),
        ]
      })
  }

  mutating func append(_ marks: OffScale, of panel: Panel) -> Int {
    append(
      "\(panel.title), \(marks.label): off the scale", columns: ["x", "value", "from", "to"],
      marks.points.map { [$0.x, $0.value, $0.from, $0.to] })
  }

  mutating func append(_ bars: [Bar], of panel: Panel) -> Int {
    append(
      panel.title + ": " + bars.map(\.label).joined(separator: ", "),
      columns: ["position", "value", "low", "colour", "marker"],
      bars.enumerated().map { index, bar in
        [
          Double(bars.count - 1 - index), bar.value, bar.low, bar.style.color.number,
          Double(bar.style.marker.rawValue),
        ]
      })
  }

  mutating func append(_ grid: CellGrid, of panel: Panel) -> Int {
    append(
      panel.title, columns: ["column", "row", "value", "colour"],
      grid.cells.map { cell in
        [
          Double(cell.column), Double(grid.rows.count - 1 - cell.row), cell.value,
          cell.place * log10(grid.reach),
        ]
      })
  }
}

extension Color {
  var number: Double { Double(Int(rawValue.dropFirst(), radix: 16)!) }
}

extension CellGrid {
  struct Cell {
    var row: Int
    var column: Int
    var value: Double
    /// On the scale of colours, from -1 to 1.
    var place: Double
  }

  /// Those that are not blank.
  var cells: [Cell] {
    values.enumerated().flatMap { row, values in
      values.enumerated().compactMap { column, value in
        value.map {
          Cell(
            row: row, column: column, value: $0,
            place: min(max(log10($0) / log10(reach), -1), 1))
        }
      }
    }
  }
}
