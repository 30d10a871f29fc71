/// One part of a plot command, as those need it who look for it in an SVG.
package struct PlotElement: Equatable, Sendable {
  /// The legend's entry that it belongs to; empty where it belongs to none.
  package var entry: String
  /// What each of its marks says, in their order.
  package var values: [String] = []
}

extension Panel {
  /// What the marks of a curve say: those within the axes.
  func values(of curve: Curve, every interval: Int) -> [String] {
    curve.points.enumerated().compactMap { index, point in
      index % interval == 0 && holds(point) ? value(of: point, curve.label) : nil
    }
  }

  private func value(of point: Curve.Point, _ label: String) -> String {
    var text = "\(label): \(shown(point.y)) at \(Axis.short(point.x))"
    if let range = point.range {
      text +=
        ", from \(shown(range.lowerBound, digits: 3)) to \(shown(range.upperBound, digits: 3)) in the "
        + "middle of \(point.batches) batches"
    }
    return text
  }

  func values(of bars: [Bar]) -> [String] {
    bars.map { bar in
      "\(bar.label): \(shown(bar.value)) %" + (bar.low.map { ", at least \(shown($0)) %" } ?? "")
    }
  }

  func values(of grid: CellGrid) -> [String] {
    grid.cells.map { "\(grid.columns[$0.column]), \(grid.rows[$0.row]): \(shown($0.value))" }
  }
}
