import Foundation

/// The points of a curve that its axis does not reach: an arrow for each, at the end of the axis that
/// it lies beyond, and the value of the farthest.
struct OffScale {
  struct Point: Equatable {
    var x: Double
    var value: Double
    /// The arrow's ends.
    var from: Double
    var to: Double
  }

  let label: String
  let style: CurveStyle
  let points: [Point]
  /// Of the farthest.
  let farthest: Int

  /// Of every curve that has some, each on a line of its own below the end of the axis.
  static func marks(of panel: Panel) -> [OffScale] {
    guard case .curves(let curves, _) = panel.content else { return [] }
    let (bottom, top) = (log10(panel.y.low), log10(panel.y.high))
    let line = (top - bottom) * 0.075
    var (above, below) = (0, 0)
    var marks: [OffScale] = []
    for curve in curves {
      let far = curve.points.filter { !panel.holds($0) }
      if far.isEmpty { continue }
      let isAbove = far.contains { $0.y > panel.y.high }
      let (highest, lowest) = (Double(above), Double(below))
      if isAbove { above += 1 }
      if far.contains(where: { $0.y < panel.y.low }) { below += 1 }
      let points = far.map { point in
        point.y > panel.y.high
          ? Point(
            x: point.x, value: point.y, from: pow(10, top - line * (highest + 0.95)),
            to: pow(10, top - line * (highest + 0.15)))
          : Point(
            x: point.x, value: point.y, from: pow(10, bottom + line * (lowest + 0.95)),
            to: pow(10, bottom + line * (lowest + 0.15)))
      }
      /// Decades beyond the end of the axis.
      func distance(_ point: Point) -> Double {
        max(log10(point.value) - top, bottom - log10(point.value))
      }
      let farthest = points.indices.max { distance(points[$0]) < distance(points[$1]) }!
      marks.append(
        OffScale(label: curve.label, style: curve.style, points: points, farthest: farthest))
    }
    return marks
  }
}

extension Panel {
  /// Whether the axis reaches the point.
  func holds(_ point: Curve.Point) -> Bool { (y.low...y.high).contains(point.y) }
}
