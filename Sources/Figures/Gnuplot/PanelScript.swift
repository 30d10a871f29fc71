import Foundation

/// The commands of one panel, and the texts that they call by name.
struct PanelScript {
  private let panel: Panel
  private let prefix: String
  private(set) var texts = ""
  private(set) var commands = ""

  init(_ panel: Panel, prefix: String) {
    self.panel = panel
    self.prefix = prefix
  }

  mutating func write(_ data: inout DataFile) {
    commands += "\n" + indented(GnuplotText.comment(panel.title, width: .max))
    let title = text("title", panel.title)
    command("set title \(title) textcolor rgb '\(ink)'")
    axis("x", panel.x)
    // The key stands below; without an empty line it would touch the label.
    if hasKey { command("set xlabel \(prefix)_x.\"\\n\"") }
    axis("y", panel.y)
    switch panel.content {
    case .curves(let curves, let guides): write(curves, guides, &data)
    case .bars(let bars): write(bars, &data)
    case .cells(let grid): write(grid, &data)
    }
  }

  private let ink = Color.ink.rawValue

  private var hasKey: Bool {
    guard case .curves(let curves, let guides) = panel.content else { return false }
    return !PanelSize.keyEntries(curves, guides).isEmpty
  }

  private mutating func command(_ line: String) { commands += "  " + line + "\n" }

  private func indented(_ lines: String) -> String {
    lines.split(separator: "\n").map { "  " + $0 + "\n" }.joined()
  }

  /// - Returns: the name by which commands call the text.
  private mutating func text(_ name: String, _ value: String) -> String {
    texts += "\(prefix)_\(name) = \(GnuplotText.quoted(value))\n"
    return "\(prefix)_\(name)"
  }

  private mutating func plot(_ parts: [String]) {
    command("plot " + parts.joined(separator: ", \\\n    "))
  }
}

// MARK: - Axes

extension PanelScript {
  private mutating func axis(_ name: String, _ axis: Axis) {
    if axis.label.isEmpty {
      command("unset \(name)label")
    } else {
      let label = text(name, axis.label)
      command("set \(name)label \(label) textcolor rgb '\(ink)'")
    }
    command("\(axis.isLogarithmic ? "set" : "unset") logscale \(name)")
    command(
      "set \(name)range [\(GnuplotText.number(axis.low)):\(GnuplotText.number(axis.high))]")
    command("set \(name)tics \(ticks(name, axis)) textcolor rgb '\(ink)'")
    if axis.ticks == nil { command("set format \(name) '%g'") }
  }

  private mutating func ticks(_ name: String, _ axis: Axis) -> String {
    guard let ticks = axis.ticks else { return "norotate nomirror autofreq" }
    // Names below an axis need room that numbers do not.
    let isRotated = name == "x" && PanelSize.isSlanted(axis)
    var list: [String] = []
    for (index, tick) in ticks.enumerated() {
      let position = GnuplotText.number(tick.position)
      if tick.label.isEmpty {
        list.append("'' \(position) 1")
      } else if axis.isLogarithmic {
        list.append("'\(tick.label)' \(position)")
      } else {
        list.append(text("\(name)\(index + 1)", tick.label) + " \(position)")
      }
    }
    return (isRotated ? "rotate by -40" : "norotate") + " nomirror (" + list.joined(separator: ", ")
      + ")"
  }
}

// MARK: - Contents

extension PanelScript {
  /// A line with a cross-bar at each end. Not error bars: gnuplot 5.4 puts a disc in the colour of
  /// the background below each of their points, which shows on any other background.
  private static func bar(_ size: Double) -> String { "vectors heads size graph \(size),90 fixed" }

  private mutating func write(_ curves: [Curve], _ guides: [Guide], _ data: inout DataFile) {
    command(
      hasKey
        ? "set key bmargin center horizontal Left reverse samplen 2.5 "
          + "maxcols \(PanelSize(panel).keyColumns) "
          + "textcolor rgb '\(ink)'" : "unset key")
    command("set grid ytics lt 1 lw 0.5 lc rgb '#b0b0b0'")
    var levels: [String] = []
    var bars: [String] = []
    var lines: [String] = []
    for (index, guide) in guides.enumerated() {
      let label =
        guide.label.isEmpty
        ? "notitle" : "title " + text("level\(index + 1)", guide.label)
      levels.append(
        "\(GnuplotText.number(guide.level)) with lines lw 1.8 \(look(guide.style)) \(label)")
    }
    for (index, curve) in curves.enumerated() {
      let block = data.append(curve, of: panel)
      let label = text("curve\(index + 1)", curve.label)
      if curve.points.contains(where: { $0.deviation != nil }) {
        bars.append(
          "data index \(block) using 1:4:(0):($5-$4) with \(Self.bar(0.01)) lw 1.2 dt 1 "
            + "lc rgb '\(curve.style.color.rawValue)' notitle")
      }
      lines.append(
        "data index \(block) using 1:2 with linespoints lw 2.2 \(look(curve.style)) "
          + "pt \(curve.style.marker.rawValue) ps 1 pointinterval \(curve.markerInterval) "
          + "title \(label)")
    }
    plot(levels + bars + lines)
  }

  private func look(_ style: CurveStyle) -> String {
    "dt \(style.dash.rawValue) lc rgb '\(style.color.rawValue)'"
  }

  private mutating func write(_ bars: [Bar], _ data: inout DataFile) {
    let block = data.append(bars, of: panel)
    command("unset key")
    // A mark before a number would read as a minus sign.
    command("set ytics scale 0")
    command("set grid xtics lt 1 lw 0.5 lc rgb '#b0b0b0'")
    var parts = [
      "data index \(block) using 2:1:(0):2:($1-0.36):($1+0.36):4 with boxxyerror "
        + "fs solid 1 noborder lc rgb variable"
    ]
    if bars.contains(where: { $0.low != nil }) {
      parts.append(
        "data index \(block) using 3:1:($2-$3):(0) with \(Self.bar(0.02)) lw 2.5 dt 1 lc rgb '\(ink)'"
      )
    }
    parts.append(
      "data index \(block) using 2:1:(sprintf('%.3g', $2)) with labels left offset 0.8,0 "
        + "textcolor rgb '\(ink)'")
    plot(parts)
  }

  private mutating func write(_ grid: CellGrid, _ data: inout DataFile) {
    let block = data.append(grid, of: panel)
    let label = text("scale", grid.valueLabel)
    command("unset key")
    command("unset grid")
    command("set palette defined (-1 '#5aa5dc', 0 '#f7f7f7', 1 '#f0a055')")
    let reach = log10(grid.reach)
    command("set cbrange [\(GnuplotText.number(-reach)):\(GnuplotText.number(reach))]")
    let ticks = Axis.decades(-reach, reach).filter { !$0.label.isEmpty }.map {
      "'\($0.label)' \(GnuplotText.number(log10($0.position)))"
    }
    command("set cbtics (\(ticks.joined(separator: ", "))) textcolor rgb '\(ink)'")
    command("set cblabel \(label) textcolor rgb '\(ink)'")
    plot([
      "data index \(block) using 1:2:($1-0.48):($1+0.48):($2-0.48):($2+0.48):4 "
        + "with boxxyerror fs solid 1 noborder lc palette",
      // Dark on every colour of the scale, on a dark page too.
      "data index \(block) using 1:2:(sprintf('%.2g', $3)) with labels textcolor rgb '#101010' "
        + "font ',15'",
    ])
  }
}
