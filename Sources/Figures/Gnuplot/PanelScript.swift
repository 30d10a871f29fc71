import Foundation

/// The commands of one panel, and the texts that they call by name.
struct PanelScript {
  private let panel: Panel
  private let prefix: String
  private(set) var texts = ""
  private(set) var commands = ""
  /// Of the plot command, in its order.
  private(set) var elements: [PlotElement] = []
  private var parts: [String] = []

  init(_ panel: Panel, prefix: String) {
    self.panel = panel
    self.prefix = prefix
  }

  /// - Parameter box: Where the axes are.
  mutating func write(_ data: inout DataFile, in box: FigureLayout.Box) {
    commands += "\n" + indented(GnuplotText.comment(panel.title, width: .max))
    place(box)
    let title = text("title", panel.title)
    command("set title \(title) offset 0,-0.6 textcolor rgb '\(ink)'")
    axis("x", panel.x)
    axis("y", panel.y)
    command("unset key")
    switch panel.content {
    case .curves(let curves, let guides): write(curves, guides, &data)
    case .bars(let bars, let mark): write(bars, mark, &data)
    case .cells(let grid): write(grid, &data)
    }
    command("plot " + parts.joined(separator: ", \\\n    "))
  }

  /// What markers and lines mean, in a box without axes.
  mutating func write(_ legend: [LegendEntry], columns: Int, in box: FigureLayout.Box) {
    commands += "\n  # Legend\n"
    place(box)
    command("unset title; unset xlabel; unset ylabel; unset tics; unset border; unset grid")
    command("unset logscale; unset colorbox")
    command(
      "set key inside center center horizontal Left reverse samplen 2.5 maxcols \(columns) "
        + "textcolor rgb '\(ink)'")
    for (index, entry) in legend.enumerated() {
      let label = text("entry\(index + 1)", entry.label)
      let marker =
        entry.style.marker == .none
        ? "lines lw 1.8 \(look(entry.style))"
        : "linespoints lw 2 \(look(entry.style)) pt \(entry.style.marker.rawValue) ps 1"
      parts.append("NaN with \(marker) title \(label)")
    }
    command("plot [0:1] [0:1] " + parts.joined(separator: ", \\\n    "))
  }

  private let ink = Color.ink.rawValue

  private mutating func command(_ line: String) { commands += "  " + line + "\n" }

  private func indented(_ lines: String) -> String {
    lines.split(separator: "\n").map { "  " + $0 + "\n" }.joined()
  }

  /// - Returns: the name by which commands call the text.
  private mutating func text(_ name: String, _ value: String) -> String {
    texts += "\(prefix)_\(name) = \(GnuplotText.quoted(value))\n"
    return "\(prefix)_\(name)"
  }

  private mutating func add(_ part: String, _ element: PlotElement) {
    parts.append(part)
    elements.append(element)
  }

  private func look(_ style: CurveStyle) -> String {
    "dt \(style.dash.gnuplot) lc rgb '\(style.color.rawValue)'"
  }
}

extension Dash {
  var gnuplot: String {
    switch self {
    case .solid: "1"
    case .dashed: "2"
    case .dotted: "3"
    case .dashDot: "4"
    case .dashDotDot: "5"
    case .long: "(16,4)"
    case .longDot: "(16,4,2,4)"
    }
  }
}

// MARK: - Axes

extension PanelScript {
  private mutating func place(_ box: FigureLayout.Box) {
    command("set lmargin at screen \(box.left)./width; set rmargin at screen \(box.right)./width")
    command(
      "set tmargin at screen 1-\(box.top)./height; set bmargin at screen 1-\(box.bottom)./height")
  }

  private mutating func axis(_ name: String, _ axis: Axis) {
    if axis.label.isEmpty {
      command("unset \(name)label")
    } else {
      let label = text(name, axis.label)
      // gnuplot leaves more room between the numbers and the label than there is.
      let offset = name == "x" ? "0,0.45" : "0.4,0"
      command("set \(name)label \(label) offset \(offset) textcolor rgb '\(ink)'")
    }
    command("\(axis.isLogarithmic ? "set" : "unset") logscale \(name)")
    command(
      "set \(name)range [\(GnuplotText.number(axis.low)):\(GnuplotText.number(axis.high))]")
    command("set \(name)tics \(ticks(name, axis)) textcolor rgb '\(ink)'")
  }

  private mutating func ticks(_ name: String, _ axis: Axis) -> String {
    var list: [String] = []
    for (index, tick) in (axis.ticks ?? []).enumerated() {
      let position = GnuplotText.number(tick.position)
      if tick.label.isEmpty {
        list.append("'' \(position) 1")
      } else if Double(tick.label) != nil {
        list.append("'\(tick.label)' \(position)")
      } else {
        list.append(text("\(name)\(index + 1)", tick.label) + " \(position)")
      }
    }
    // Names that would meet stand at an angle, and end at their marks: so they stay in their panel.
    let isSlanted = name == "x" && FigureLayout.isSlanted(axis)
    return (isSlanted ? "rotate by 45 right" : "norotate") + " nomirror ("
      + list.joined(separator: ", ") + ")"
  }
}

// MARK: - Contents

extension PanelScript {
  /// A line with a cross-bar at each end. Not error bars: gnuplot 5.4 puts a disc in the colour of
  /// the background below each of their points, which shows on any other background.
  private static func bar(_ size: Double) -> String { "vectors heads size graph \(size),90 fixed" }

  private mutating func write(_ curves: [Curve], _ guides: [Guide], _ data: inout DataFile) {
    command("set grid ytics lt 1 lw 0.5 lc rgb '#b0b0b0'")
    for guide in guides {
      add(
        "\(GnuplotText.number(guide.level)) with lines lw 1.8 \(look(guide.style)) notitle",
        PlotElement(entry: guide.label))
    }
    let blocks = curves.map { data.append($0, of: panel) }
    let opacity = Curve.bandOpacity(of: curves.count)
    for (curve, block) in zip(curves, blocks) {
      let color = "lc rgb '\(curve.style.color.rawValue)'"
      switch curve.points.count(where: { $0.range != nil }) {
      case 0: continue
      case 1:
        add(
          "data index \(block) using 1:4:(0):($5-$4) with \(Self.bar(0.01)) lw 1.2 dt 1 \(color) "
            + "notitle", PlotElement(entry: curve.label))
      default:
        add(
          "data index \(block) using 1:4:5 with filledcurves fs transparent solid \(opacity) "
            + "noborder \(color) notitle", PlotElement(entry: curve.label))
      }
    }
    for (curve, block) in zip(curves, blocks) {
      add(
        "data index \(block) using 1:2 with linespoints lw 2 \(look(curve.style)) "
          + "pt \(curve.style.marker.rawValue) ps 0.9 pointinterval \(curve.markerInterval) notitle",
        PlotElement(
          entry: curve.label,
          values: isDotted(curve) ? [] : panel.values(of: curve, every: curve.markerInterval)))
    }
    for (curve, block) in zip(curves, blocks) where isDotted(curve) {
      add(
        "data index \(block) using 1:2 with points pt 7 ps 0.3 "
          + "lc rgb '\(curve.style.color.rawValue)' notitle",
        PlotElement(entry: curve.label, values: panel.values(of: curve, every: 1)))
    }
    for marks in OffScale.marks(of: panel) { write(marks, &data) }
  }

  /// Whether points without a marker have a dot, to be pointed at; of solves with hundreds of iterations
  /// they would be half of the page.
  private func isDotted(_ curve: Curve) -> Bool {
    curve.markerInterval > 1 && curve.points.count <= 100
  }

  private mutating func write(_ marks: OffScale, _ data: inout DataFile) {
    let block = data.append(marks, of: panel)
    add(
      "data index \(block) using 1:3:(0):($4-$3) with vectors filled head size graph 0.022,22 fixed "
        + "lw 2 dt 1 lc rgb '\(marks.style.color.rawValue)' notitle",
      PlotElement(entry: marks.label))
    let name = text("far\(block)", marks.label)
    // On the side where there is room.
    let (low, high) = (panel.x.low, panel.x.high)
    let x = marks.points[marks.farthest].x
    let isLeft =
      panel.x.isLogarithmic ? log10(x) < (log10(low) + log10(high)) / 2 : x < low / 2 + high / 2
    add(
      "data index \(block) every ::\(marks.farthest)::\(marks.farthest) "
        + "using 1:(sqrt($3)*sqrt($4)):(\(name).sprintf(' %.3g', $2)) with labels "
        + (isLeft ? "left offset 0.8,0" : "right offset -0.8,0")
        + " textcolor rgb '\(ink)' notitle",
      PlotElement(entry: marks.label))
  }

  private mutating func write(_ bars: [Bar], _ mark: Double?, _ data: inout DataFile) {
    let block = data.append(bars, of: panel)
    // A mark before a number would read as a minus sign.
    command("set ytics scale 0")
    command("set grid xtics lt 1 lw 0.5 lc rgb '#b0b0b0'")
    let end = GnuplotText.number(panel.longestBar)
    command("limit = \(end)")
    add(
      "data index \(block) using (0):1:(0):($2 > limit ? limit : $2):($1-0.36):($1+0.36):4 "
        + "with boxxyerror fs solid 0.75 noborder lc rgb variable notitle",
      PlotElement(entry: "", values: panel.values(of: bars)))
    if let mark {
      let place = GnuplotText.number(mark)
      add(
        "'+' every ::0::0 using (\(place)):(\(GnuplotText.number(panel.y.low))):(0):"
          + "(\(GnuplotText.number(panel.y.high - panel.y.low))) with vectors nohead lw 1.8 dt 2 "
          + "lc rgb '\(ink)' notitle", PlotElement(entry: ""))
    }
    if bars.contains(where: { $0.low != nil }) {
      add(
        "data index \(block) using 3:1:(($2 > limit ? limit : $2)-$3):(0) with \(Self.bar(0.02)) "
          + "lw 2.5 dt 1 lc rgb '\(ink)' notitle", PlotElement(entry: ""))
    }
    add(
      "data index \(block) using ($2 > limit ? limit : $2):1:5:4 with points ps 1 pt variable "
        + "lc rgb variable notitle", PlotElement(entry: ""))
    add(
      "data index \(block) using ($2 > limit ? limit : $2):1:"
        + "(sprintf($2 > limit ? '→ %.3g' : '%.3g', $2)) with labels left offset 1,0 "
        + "textcolor rgb '\(ink)' notitle", PlotElement(entry: ""))
  }

  private mutating func write(_ grid: CellGrid, _ data: inout DataFile) {
    let block = data.append(grid, of: panel)
    let label = text("scale", grid.valueLabel)
    command("unset grid")
    let stops = Palette.stops.enumerated().map { "\($0) '\($1.hexadecimal)'" }
    command("set palette defined (\(stops.joined(separator: ", ")))")
    let reach = log10(grid.reach)
    command("set cbrange [\(GnuplotText.number(-reach)):\(GnuplotText.number(reach))]")
    let ticks = Axis.decades(-reach, reach).filter { !$0.label.isEmpty }.map {
      "'\($0.label)' \(GnuplotText.number(log10($0.position)))"
    }
    command("set cbtics (\(ticks.joined(separator: ", "))) textcolor rgb '\(ink)'")
    command("set cblabel \(label) textcolor rgb '\(ink)'")
    add(
      "data index \(block) using 1:2:($1-0.48):($1+0.48):($2-0.48):($2+0.48):4 "
        + "with boxxyerror fs solid 1 noborder lc palette notitle",
      PlotElement(entry: "", values: panel.values(of: grid)))
    // Dark on light colours and light on dark ones, on a dark page too.
    add(
      "data index \(block) using 1:2:(sprintf($3 >= 99.5 && $3 < 9999.5 ? '%.0f' : '%.2g', $3)):"
        + "(abs($4) > \(GnuplotText.number(reach * Palette.darkness)) ? 0xffffff : 0x101010) "
        + "with labels textcolor rgb variable notitle", PlotElement(entry: ""))
  }
}
