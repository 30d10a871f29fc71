/// A picture: panels, each of which can stand alone. Plain numbers and labels; nothing here knows
/// what draws them.
package struct Figure: Equatable, Sendable {
  /// Of its files, without extension.
  package var name: String
  package var title: String
  /// What is shown and how to read it, in sentences.
  package var caption: String
  package var panels: [Panel]
  /// What the panels leave out, in sentences.
  package var notes: [String] = []

  /// What colours, markers and dashes mean, once for all panels. Nothing where titles say it.
  package var legend: [LegendEntry] {
    var entries: [LegendEntry] = []
    var known: Set<String> = []
    func add(_ entry: LegendEntry) {
      if !entry.label.isEmpty && known.insert(entry.label).inserted { entries.append(entry) }
    }
    for panel in panels {
      guard case .curves(let curves, let guides) = panel.content else { continue }
      for guide in guides { add(LegendEntry(label: guide.label, style: guide.style)) }
      for curve in curves { add(LegendEntry(label: curve.label, style: curve.style)) }
    }
    return entries.count > 1 ? entries : []
  }
}

package struct LegendEntry: Equatable, Sendable {
  package var label: String
  package var style: CurveStyle
}

package struct Panel: Equatable, Sendable {
  package var title: String
  package var x: Axis
  package var y: Axis
  package var content: Content

  package enum Content: Equatable, Sendable {
    case curves([Curve], guides: [Guide])
    /// With the place of a line that matters, if the axis holds it.
    case bars([Bar], mark: Double?)
    case cells(CellGrid)
  }

  /// Longer bars end here, with an arrow: behind it there is room for their number.
  package var longestBar: Double { x.high * 0.8 }
}

/// One axis. The range is always given, so that a picture does not depend on what draws it.
package struct Axis: Equatable, Sendable {
  /// With the unit.
  package var label: String
  package var isLogarithmic: Bool
  package var low: Double
  package var high: Double
  /// `nil` leaves the choice to the program.
  package var ticks: [Tick]?

  package struct Tick: Equatable, Sendable {
    package var position: Double
    /// Empty for a short mark without text.
    package var label: String
  }
}

/// Points that belong together, from left to right.
package struct Curve: Equatable, Sendable {
  package var label: String
  package var style: CurveStyle
  package var points: [Point]
  /// Of so many points one has a marker.
  package var markerInterval = 1

  package struct Point: Equatable, Sendable {
    package var x: Double
    /// The mean over batches.
    package var y: Double
    /// The standard deviation over batches; `nil` for a single one.
    package var deviation: Double?
    /// Where the middle 80 % of the batches are; `nil` for a single one.
    package var range: ClosedRange<Double>?
    package var batches: Int
  }
}

/// A level that matters, drawn across the panel below everything else.
package struct Guide: Equatable, Sendable {
  package var label: String
  package var level: Double
  package var style: CurveStyle

  /// Where a direction is worth as much as the gradient.
  static let sgd = Guide(label: "sgd = 1", level: 1, style: .guide)
}

/// A horizontal bar, and the bracket in which the true value lies.
package struct Bar: Equatable, Sendable {
  package var label: String
  /// Colour and marker.
  package var style: CurveStyle
  package var value: Double
  /// `nil` where the value is exact up to rounding.
  package var low: Double?
}

/// Values by row and column, as colours around 1 on a logarithmic scale, and as numbers.
package struct CellGrid: Equatable, Sendable {
  package var rows: [String]
  package var columns: [String]
  /// `[row][column]`; `nil` leaves the cell blank.
  package var values: [[Double?]]
  /// Colours reach their ends at `1 / reach` and `reach`.
  package var reach: Double
  /// Of the scale of colours.
  package var valueLabel: String
}

/// What a figure cannot be drawn from, and how to make it.
package struct FigureGap: Error, Equatable, Sendable {
  package var name: String
  package var title: String
  package var reason: String
  package var remedy: String

  package var sentence: String { "\(name) is not drawn: \(reason) \(remedy)" }
}

/// Every figure that the results have the numbers for, and what is missing for the others.
package struct FigureSet: Sendable {
  package private(set) var figures: [Figure] = []
  package private(set) var gaps: [FigureGap] = []

  /// - Throws: `.nothingToDraw` if there is no figure at all.
  package init(_ results: Results) throws(TableError) {
    let marks = (results.scores ?? []).markNote
    add(marks) { () throws(FigureGap) in try TrainingFigure.make(results) }
    add(marks) { () throws(FigureGap) in try DampingFigure.make(results) }
    add(marks) { () throws(FigureGap) in try MethodsFigure.make(results) }
    add { () throws(FigureGap) in try FitFigure.make(results) }
    add { () throws(FigureGap) in try ReferenceFigure.make(results) }
    add(marks) { () throws(FigureGap) in try EfficiencyFigure.make(results) }
    add { () throws(FigureGap) in try LayersFigure.make(results, kind: .block) }
    add { () throws(FigureGap) in try LayersFigure.make(results, kind: .tensor) }
    // A run may list only tensors or only blocks; and a missing table is one gap, not two.
    let isLayered = figures.contains { $0.name.hasPrefix(LayersFigure.prefix) }
    let layerGaps = gaps.filter { $0.name.hasPrefix(LayersFigure.prefix) }
    gaps.removeAll { $0.name.hasPrefix(LayersFigure.prefix) }
    if !isLayered { gaps += layerGaps.suffix(1) }
    if figures.isEmpty {
      throw TableError(.nothingToDraw(gaps.map(\.sentence)), file: results.folder)
    }
  }

  /// - Parameter note: What must be said of the numbers that it is drawn from.
  private mutating func add(_ note: String? = nil, _ make: () throws(FigureGap) -> Figure) {
    do {
      var figure = try make()
      figure.notes += [note].compactMap { $0 }
      figures.append(figure)
    } catch {
      gaps.append(error)
    }
  }
}
