import Foundation

/// One panel of a picture of pgfplots.
struct PGFPanel {
  private let panel: Panel
  private(set) var text = ""

  init(_ panel: Panel) {
    self.panel = panel
    text = "\\nextgroupplot[title={\(TeXText.escaped(panel.title))},\n"
    text += Self.axis("x", panel.x) + ",\n" + Self.axis("y", panel.y)
    switch panel.content {
    case .curves(let curves, let guides):
      text += ", ymajorgrids]\n"
      write(curves, guides)
    case .bars(let bars, let mark):
      text += ", xmajorgrids, ytick style={draw=none}, height=\(10 * bars.count + 70)pt]\n"
      write(bars, mark)
    case .cells(let grid):
      text +=
        ", xtick style={draw=none}, ytick style={draw=none}, height=\(12 * grid.rows.count + 70)pt]\n"
      write(grid)
    }
  }

  private static func axis(_ name: String, _ axis: Axis) -> String {
    var ticks = (axis.ticks ?? []).filter { !$0.label.isEmpty }
    // A panel of half a line has room for about five numbers; names are all there.
    if ticks.count > 5 && ticks.allSatisfy({ Double($0.label) != nil }) {
      let step = (ticks.count + 4) / 5
      ticks = ticks.enumerated().filter { $0.offset % step == 0 }.map(\.element)
    }
    let isSlanted = name == "x" && FigureLayout.isSlanted(axis)
    return
      "  \(name)label={\(TeXText.escaped(axis.label))}, \(name)mode=\(axis.isLogarithmic ? "log" : "normal"), "
      + "\(name)min=\(number(axis.low)), \(name)max=\(number(axis.high)),\n"
      + "  \(name)tick={\(ticks.map { number($0.position) }.joined(separator: ","))}, "
      + "\(name)ticklabels={\(ticks.map { "{\(TeXText.escaped($0.label))}" }.joined(separator: ","))}"
      + (isSlanted ? ", xticklabel style={rotate=45, anchor=east}" : "")
  }

  private static func number(_ value: Double) -> String { GnuplotText.number(value) }

  private static func coordinates(_ points: [(Double, Double)]) -> String {
    "coordinates {" + points.map { "(\(number($0)),\(number($1)))" }.joined(separator: " ") + "}"
  }

  // MARK: - Contents

  private mutating func write(_ curves: [Curve], _ guides: [Guide]) {
    for guide in guides {
      let line = Self.coordinates([(panel.x.low, guide.level), (panel.x.high, guide.level)])
      text += "\\addplot[\(guide.style.tex)] \(line);\n"
    }
    let opacity = Curve.bandOpacity(of: curves.count)
    for curve in curves {
      let ranged = curve.points.filter { $0.range != nil }
      if ranged.isEmpty { continue }
      let highs = ranged.map { ($0.x, $0.range!.upperBound) }
      let lows = ranged.reversed().map { ($0.x, max($0.range!.lowerBound, panel.y.low)) }
      let color = curve.style.color.tex
      let look =
        ranged.count == 1
        ? "\(color), mark=none" : "draw=none, fill=\(color), fill opacity=\(opacity), mark=none"
      text +=
        "\\addplot[\(look)] \(Self.coordinates(highs + lows))\(ranged.count == 1 ? "" : " -- cycle");\n"
    }
    for curve in curves {
      let points = curve.points.map { ($0.x, $0.y) }
      text +=
        "\\addplot[\(curve.style.tex), mark repeat=\(curve.markerInterval)] % "
        + "\(TeXText.escaped(curve.label))\n  \(Self.coordinates(points));\n"
    }
    for marks in OffScale.marks(of: panel) {
      for (index, point) in marks.points.enumerated() {
        text +=
          "\\draw[->, \(marks.style.color.tex)] (axis cs:\(Self.number(point.x)),\(Self.number(point.from))) "
          + "-- (axis cs:\(Self.number(point.x)),\(Self.number(point.to)))"
        if index == marks.farthest {
          text +=
            " node[midway, right, black, font=\\scriptsize] "
            + "{\(TeXText.escaped("\(marks.label) \(shown(point.value, digits: 3))"))}"
        }
        text += ";\n"
      }
    }
  }

  private mutating func write(_ bars: [Bar], _ mark: Double?) {
    let limit = panel.longestBar
    if let mark {
      let line = Self.coordinates([(mark, panel.y.low), (mark, panel.y.high)])
      text += "\\addplot[\(CurveStyle.guide.tex)] \(line);\n"
    }
    for (index, bar) in bars.enumerated() {
      let y = Double(bars.count - 1 - index)
      let end = min(bar.value, limit)
      let corners = [(0, y - 0.36), (end, y - 0.36), (end, y + 0.36), (0, y + 0.36)]
      text +=
        "\\addplot[draw=none, fill=\(bar.style.color.tex), fill opacity=0.75, mark=none] "
        + "\(Self.coordinates(corners)) -- cycle;\n"
      if let low = bar.low {
        text += "\\addplot[black, mark=|] \(Self.coordinates([(low, y), (end, y)]));\n"
      }
      text += "\\addplot[\(bar.style.tex)] \(Self.coordinates([(end, y)]));\n"
      let value = (bar.value > limit ? "→ " : "") + shown(bar.value, digits: 3)
      text +=
        "\\node[right, xshift=2pt, font=\\scriptsize] at (axis cs:\(Self.number(end)),\(Self.number(y))) "
        + "{\(TeXText.escaped(value))};\n"
    }
  }

  private mutating func write(_ grid: CellGrid) {
    for cell in grid.cells {
      let (x, y) = (Double(cell.column), Double(grid.rows.count - 1 - cell.row))
      let color = Palette.color(cell.place)
      text +=
        "\\fill[fill={rgb,255:red,\(color.red);green,\(color.green);blue,\(color.blue)}] "
        + "(axis cs:\(Self.number(x - 0.48)),\(Self.number(y - 0.48))) rectangle "
        + "(axis cs:\(Self.number(x + 0.48)),\(Self.number(y + 0.48)));\n"
        + "\\node[font=\\scriptsize, text=\(abs(cell.place) > Palette.darkness ? "white" : "black")] at "
        + "(axis cs:\(Self.number(x)),\(Self.number(y))) {\(shown(cell.value, digits: 2))};\n"
    }
  }
}
