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
      columns: ["x", "mean", "deviation", "bar_low", "bar_high", "batches"],
      curve.points.map { point in
        // What lies below the axis is drawn to its end: a logarithm has no zero.
        let low = point.deviation.map { max(point.y - $0, panel.y.low) }
        let high = point.deviation.map { min(point.y + $0, panel.y.high) }
        return [point.x, point.y, point.deviation, low, high, Double(point.batches)]
      })
  }

  mutating func append(_ bars: [Bar], of panel: Panel) -> Int {
    append(
      panel.title + ": " + bars.map(\.label).joined(separator: ", "),
      columns: ["position", "value", "low", "colour"],
      bars.enumerated().map { index, bar in
        [
          Double(bars.count - 1 - index), bar.value, bar.low,
          Double(Int(bar.color.rawValue.dropFirst(), radix: 16)!),
        ]
      })
  }

  mutating func append(_ grid: CellGrid, of panel: Panel) -> Int {
    var rows: [[Double?]] = []
    let reach = log10(grid.reach)
    for (row, values) in grid.values.enumerated() {
      for (column, value) in values.enumerated() {
        guard let value else { continue }
        rows.append([
          Double(column), Double(grid.rows.count - 1 - row), value,
          min(max(log10(value), -reach), reach),
        ])
      }
    }
    return append(panel.title, columns: ["column", "row", "value", "colour"], rows)
  }
}
