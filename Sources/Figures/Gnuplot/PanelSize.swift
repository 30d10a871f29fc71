/// How large a panel is, in pixels of the svg: what its labels need, so that none is cut and no key
/// runs into the picture. Sizes of text are estimates for the fonts that browsers and Debian have.
struct PanelSize {
  let width: Int
  let height: Int
  /// Of the key.
  let keyColumns: Int

  /// Of text, in pixels of the svg: 9 of them are left at half the width.
  static let font = 18
  private static let character = 10
  private static let line = 24

  init(_ panel: Panel) {
    switch panel.content {
    case .curves(let curves, let guides):
      let entries = Self.keyEntries(curves, guides)
      width = entries.count > 8 ? 640 : 520
      // gnuplot lays the key out within the width of the axes, each entry as wide as the widest,
      // with line and gaps of about six characters. No more columns than it can agree to.
      let longest = entries.map(\.count).max() ?? 0
      keyColumns = max(1, (width - 120) / ((longest + 6) * 11))
      height =
        430 + (entries.count + keyColumns - 1) / keyColumns * Self.line
        + Self.slanted(panel.x) * Self.character * 2 / 3
    case .bars(let bars):
      (width, keyColumns) = (400 + Self.longest(panel.y) * Self.character, 1)
      height = 130 + 34 * bars.count
    case .cells(let grid):
      width = 190 + Self.longest(panel.y) * Self.character + 66 * max(grid.columns.count, 4)
      keyColumns = 1
      height =
        max(130 + 34 * grid.rows.count, 260) + Self.slanted(panel.x) * Self.character * 2 / 3
    }
  }

  /// Whether a narrow screen should scroll it rather than shrink it.
  var isWide: Bool { width > 700 }

  /// Labels in the key; where there is one only, the title says it.
  static func keyEntries(_ curves: [Curve], _ guides: [Guide]) -> [String] {
    let entries = (guides.map(\.label) + curves.map(\.label)).filter { !$0.isEmpty }
    return entries.count > 1 ? entries : []
  }

  /// Whether names below the axis are written at an angle, as they would meet.
  static func isSlanted(_ axis: Axis) -> Bool {
    !axis.isLogarithmic && (axis.ticks?.count ?? 0) > 3
  }

  private static func slanted(_ axis: Axis) -> Int { isSlanted(axis) ? longest(axis) : 0 }

  private static func longest(_ axis: Axis) -> Int {
    axis.ticks?.map(\.label.count).max() ?? 0
  }
}
