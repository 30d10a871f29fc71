import Foundation
import Metrics

extension Curve.Point {
  /// Mean, standard deviation and the middle of the values of all batches. Where a batch has no value
  /// the mean has none either.
  init(x: Double, _ values: [Double]) {
    let summary = Summary(values)
    self.init(
      x: x, y: summary.mean, deviation: summary.standardDeviation, range: Self.middle(values),
      batches: summary.count)
  }

  /// From the 10th to the 90th percentile, interpolated between the two nearest values; `nil` for a
  /// single value, or where one is not finite. Percentiles lie among the values: what is positive has
  /// positive ones, however far it spreads, and a logarithmic axis has a place for them.
  private static func middle(_ values: [Double]) -> ClosedRange<Double>? {
    guard values.count > 1, values.allSatisfy(\.isFinite) else { return nil }
    let ordered = values.sorted()
    func percentile(_ share: Double) -> Double {
      let place = share * Double(ordered.count - 1)
      let index = min(Int(place), ordered.count - 2)
      let part = place - Double(index)
      return ordered[index] * (1 - part) + ordered[index + 1] * part
    }
    let (low, high) = (percentile(0.1), percentile(0.9))
    return low...max(low, high)
  }

  /// Whether a logarithmic axis has a place for it.
  var isDrawable: Bool { y > 0 && y.isFinite && x.isFinite }
}

/// What captions say of `range`.
let bandSentence = "bands hold the middle 80 % of the batches, from the 10th to the 90th percentile"

/// Curves without the points that a logarithmic axis has no place for, and a note on these.
func drawable(_ curves: [Curve], panel: String) -> (curves: [Curve], notes: [String]) {
  var kept: [Curve] = []
  var notes: [String] = []
  for curve in curves {
    var curve = curve
    let lost = curve.points.count { !$0.isDrawable }
    if lost > 0 {
      notes.append(
        "\(panel): \(lost) point\(lost == 1 ? "" : "s") of \(curve.label) left out, as a batch has "
          + "no finite positive value there.")
    }
    curve.points.removeAll { !$0.isDrawable }
    // Markers that touch hide each other and the dash.
    curve.markerInterval = max(1, curve.points.count / 12)
    if !curve.points.isEmpty { kept.append(curve) }
  }
  return (kept, notes)
}

extension Panel {
  /// Curves on a logarithmic axis.
  static func curves(
    _ title: String, x: Axis, y label: String, _ curves: [Curve], guides: [Guide] = []
  ) -> Panel {
    Panel(
      title: title, x: x, y: .logarithmic(label, holding: Self.ends(curves, guides)),
      content: .curves(curves, guides: guides))
  }

  /// What an axis holds: means, levels, and bands as far as a factor of ten from their means, so that
  /// no single batch takes the picture with it.
  private static func ends(_ curves: [Curve], _ guides: [Guide]) -> [Double] {
    curves.flatMap(\.points).flatMap { point in
      [
        point.y, min(point.range?.upperBound ?? point.y, point.y * 10),
        max(point.range?.lowerBound ?? point.y, point.y / 10),
      ]
    } + guides.map(\.level)
  }
}

extension [Panel] {
  /// All on the axis of what they hold together; with limits where a few curves would leave the rest
  /// less than a quarter of the height. `notes` say which.
  func sharingHeight(limited: Bool = true) -> (panels: [Panel], notes: [String]) {
    var curves: [Curve] = []
    var guides: [Guide] = []
    for panel in self {
      guard case .curves(let own, let levels) = panel.content else { return (self, []) }
      curves += own
      guides += levels
    }
    guard let label = first?.y.label else { return (self, []) }
    let far = limited ? Self.far(curves, guides) : []
    let near = curves.filter { !far.contains($0.label) }
    var axis = Panel.curves("", x: self[0].x, y: label, near, guides: guides).y
    let notes = far.sorted().map { name in
      let values = curves.filter { $0.label == name }.flatMap(\.points).map(\.y)
      let middle = (log10(axis.low) + log10(axis.high)) / 2
      let farthest = values.max { abs(log10($0) - middle) < abs(log10($1) - middle) }!
      return "\(name) goes off the scale, to \(shown(farthest, digits: 3))."
    }
    if !far.isEmpty { axis = axis.with(roomFor: far.count) }
    return (
      map {
        var panel = $0
        panel.y = axis
        return panel
      }, notes
    )
  }

  /// Names of at most a quarter of the curves, and three, without which the others spread over more than
  /// four times the height.
  private static func far(_ curves: [Curve], _ guides: [Guide]) -> Set<String> {
    var spans: [String: ClosedRange<Double>] = [:]
    for curve in curves {
      for point in curve.points {
        let y = log10(point.y)
        let span = spans[curve.label] ?? y...y
        spans[curve.label] = Swift.min(span.lowerBound, y)...Swift.max(span.upperBound, y)
      }
    }
    let levels = guides.map { log10($0.level) }
    func length(_ spans: [String: ClosedRange<Double>]) -> Double {
      let ends = levels + spans.values.flatMap { [$0.lowerBound, $0.upperBound] }
      return (ends.max() ?? 0) - (ends.min() ?? 0)
    }
    let whole = length(spans)
    var (near, far) = (spans, Set<String>())
    for _ in 0..<Swift.min(Swift.max(1, spans.count / 4), 3) where near.count > 1 {
      // The one whose absence shortens the axis most; of equal ones the first by name.
      let names = near.keys.sorted()
      let lengths = names.map { name in length(near.filter { $0.key != name }) }
      guard let least = lengths.min(), let place = lengths.firstIndex(of: least) else { break }
      near[names[place]] = nil
      far.insert(names[place])
      // Three decades are read without help.
      if whole > 4 * Swift.max(least, 0.75) { return far }
    }
    return []
  }
}
