/// Where panels and legend are, in pixels of the svg. All panels of a figure have the same margins, so
/// that their axes are of one length and stand in line; sizes of text are estimates for the fonts that
/// browsers and Debian have.
struct FigureLayout {
  /// Of text. A figure is shown at about its own width or at 7 inches of paper, a panel on a page at
  /// least at 0.8 of its width: nowhere is text smaller than 9 points.
  static let font = 16
  private static let character = 9
  private static let line = 22

  /// Pixels of a picture's edges.
  struct Box {
    var left: Int
    var top: Int
    var right: Int
    var bottom: Int
  }

  private let figure: Figure
  let columns: Int
  let panelWidth: Int
  /// Of each row of panels.
  private let heights: [Int]
  /// From the edges of a panel to its axes.
  private let margins: Box
  /// The legend's columns, and its height below the panels; 0 where it has a place among them.
  let keyColumns: Int
  private let keyHeight: Int
  private let keyIsPanel: Bool

  init(_ figure: Figure) {
    self.figure = figure
    let panels = figure.panels
    margins = Box(
      left: panels.map(Self.left).max()!, top: 36, right: panels.map(Self.right).max()!,
      bottom: panels.map(Self.bottom).max()!)
    let margins = margins
    let grids = panels.compactMap { panel -> Int? in
      if case .cells(let grid) = panel.content { grid.columns.count } else { nil }
    }
    // Bars with long names need some length of their own.
    let inner = max((grids.max() ?? 0) * 58, panels.contains(where: \.hasBars) ? 220 : 0)
    panelWidth = max(420, inner + margins.left + margins.right)
    let columns = panels.count == 1 || panelWidth > 600 ? 1 : 2
    self.columns = columns
    heights = stride(from: 0, to: panels.count, by: columns).map { first in
      panels[first..<min(first + columns, panels.count)].map(Self.inner).max()! + margins.top
        + margins.bottom
    }
    let entries = figure.legend
    // Each entry is as wide as the widest, with its line and gaps: no more columns than gnuplot, which
    // thinks letters wider than they are, agrees to.
    let entryWidth = ((entries.map(\.label.count).max() ?? 0) + 6) * 11
    keyIsPanel =
      panels.count % columns != 0 && entryWidth <= panelWidth
      && (entries.count / max(1, panelWidth / entryWidth) + 1) * Self.line <= heights.last!
    let room = keyIsPanel ? panelWidth : columns * panelWidth
    keyColumns = max(1, min(entries.count, room / entryWidth))
    let lines = (entries.count + keyColumns - 1) / keyColumns
    keyHeight = entries.isEmpty || keyIsPanel ? 0 : lines * Self.line + 16
  }

  var width: Int { columns * panelWidth }
  var height: Int { heights.reduce(0, +) + keyHeight }

  /// Where the axes of a panel are in the whole picture.
  func axes(_ index: Int) -> Box {
    let (x, y) = (index % columns * panelWidth, heights.prefix(index / columns).reduce(0, +))
    return Box(
      left: x + margins.left, top: y + margins.top, right: x + panelWidth - margins.right,
      bottom: y + heights[index / columns] - margins.bottom)
  }

  /// Where the legend is; `nil` without one.
  var key: Box? {
    if figure.legend.isEmpty { return nil }
    if keyIsPanel {
      let y = heights.dropLast().reduce(0, +)
      return Box(
        left: figure.panels.count % columns * panelWidth, top: y, right: width,
        bottom: y + heights.last!)
    }
    return Box(left: 0, top: height - keyHeight, right: width, bottom: height)
  }

  /// Of each panel.
  var panelHeights: [Int] { figure.panels.indices.map { heights[$0 / columns] } }

  /// The layout of one panel that stands alone and keeps its margins.
  func axesAlone(_ index: Int) -> Box {
    Box(
      left: margins.left, top: margins.top, right: panelWidth - margins.right,
      bottom: heights[index / columns] - margins.bottom)
  }

  // MARK: - What labels need

  private static func left(_ panel: Panel) -> Int {
    let own = (panel.y.label.isEmpty ? 4 : 36) + longest(panel.y) * 10 + 14
    // Names below the axis end at their marks and begin to the left.
    guard isSlanted(panel.x), let first = panel.x.ticks?.first?.label.count else { return own }
    return max(own, 10 + first * character * 3 / 4)
  }

  private static func right(_ panel: Panel) -> Int {
    if case .cells = panel.content { return 104 }
    // Half of the last number of the axis.
    return 24
  }

  private static func bottom(_ panel: Panel) -> Int {
    10 + (isSlanted(panel.x) ? longest(panel.x) * character * 3 / 4 + 8 : line)
      + (panel.x.label.isEmpty ? 0 : line + 8)
  }

  /// The height of the axes.
  private static func inner(_ panel: Panel) -> Int {
    switch panel.content {
    case .curves: 230
    case .bars(let bars, _): max(26 * bars.count, 60)
    case .cells(let grid): max(24 * grid.rows.count, 140)
    }
  }

  /// Whether names below the axis are written at an angle, as they would meet.
  static func isSlanted(_ axis: Axis) -> Bool {
    guard !axis.isLogarithmic, let ticks = axis.ticks else { return false }
    return ticks.reduce(0) { $0 + $1.label.count + 1 } > 36
  }

  private static func longest(_ axis: Axis) -> Int {
    axis.ticks?.map(\.label.count).max() ?? 0
  }
}

extension Panel {
  fileprivate var hasBars: Bool {
    if case .bars = content { true } else { false }
  }
}
