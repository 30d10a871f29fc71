import Metrics

/// A method as a curve knows it: with the number of draws where a run has several, and apart from
/// its reference where the method is the natural gradient.
package struct Variant: Hashable, Sendable {
  package var method: String
  package var family: String
  package var draws: Int?
  package var role = ScoredDirection.Role.method
  /// Where a run is one of several.
  package var run: String?

  var isReference: Bool { role == .reference }
}

/// Scores by method and damping.
struct ScoreGroups {
  /// In the order of the table.
  let variants: [Variant]
  let styles: [Variant: CurveStyle]
  /// The dampings of a variant by their mean lambda, the smallest first; `[nil]` without damping.
  private let dampings: [Variant: [String?]]
  private let groups: [Key: [ScoreRow]]
  private let combinations: [String: [Combination]]
  /// Without the run.
  private let names: [Variant: String]
  private let runs: RunNames
  /// Those that are left out.
  private let omitted: Int

  /// A variant at one of its dampings.
  struct Combination {
    var variant: Variant
    var damping: String?
  }

  private struct Key: Hashable {
    var checkpoint: String
    var variant: Variant
    var damping: String?
  }

  /// Labels are cut to so many characters, and only so many variants are shown: a picture has little
  /// room.
  init(_ rows: [ScoreRow], labelLimit: Int = 16, variantLimit: Int = 64) {
    let runs = RunNames(rows.lazy.map(\.place))
    self.runs = runs
    var draws: [String: Set<Int?>] = [:]
    for row in rows { draws[row.direction.method, default: []].insert(row.direction.draws) }
    var variants: [Variant] = []
    var groups: [Key: [ScoreRow]] = [:]
    var lambdas: [Variant: [String?: [Double]]] = [:]
    for row in rows {
      let direction = row.direction
      let variant = Variant(
        method: direction.method, family: direction.family,
        draws: draws[direction.method, default: []].count > 1 ? direction.draws : nil,
        role: direction.role, run: runs.label(row.place.run) == nil ? nil : row.place.run)
      if lambdas[variant] == nil { variants.append(variant) }
      lambdas[variant, default: [:]][direction.damping, default: []].append(row.lambda)
      let key = Key(
        checkpoint: row.place.checkpoint, variant: variant, damping: direction.damping)
      groups[key, default: []].append(row)
    }
    omitted = max(variants.count - variantLimit, 0)
    variants.removeLast(omitted)
    self.variants = variants
    self.groups = groups
    styles = CurveStyle.of(variants)
    let dampings = lambdas.mapValues { byDamping in
      byDamping.map { (text: $0, size: Self.size($0, lambdas: $1)) }
        .sorted { ($0.size, $0.text ?? "") < ($1.size, $1.text ?? "") }.map(\.text)
    }
    self.dampings = dampings
    var combinations: [String: [Combination]] = [:]
    var checkpoints: [Variant: [String?: [String]]] = [:]
    for key in groups.keys {
      checkpoints[key.variant, default: [:]][key.damping, default: []].append(key.checkpoint)
    }
    // In the order of variants, then of dampings, for every checkpoint.
    for variant in variants {
      for damping in dampings[variant] ?? [] {
        for checkpoint in checkpoints[variant]?[damping] ?? [] {
          combinations[checkpoint, default: []].append(
            Combination(variant: variant, damping: damping))
        }
      }
    }
    self.combinations = combinations
    let others = Set(variants.filter { !$0.isReference }.map(\.method))
    names = Dictionary(
      uniqueKeysWithValues: variants.map { variant in
        var label = singleLine(variant.method, limit: labelLimit)
        if let draws = variant.draws { label += " K=\(draws)" }
        if variant.isReference && others.contains(variant.method) { label += " (exact)" }
        return (variant, label)
      })
  }

  /// What dampings are ordered by: lambda, or the number as given where the table has no lambda.
  private static func size(_ text: String?, lambdas: [Double]) -> Double {
    let mean = Summary(lambdas).mean
    return mean.isNaN ? text.flatMap(DampingText.init)?.value ?? .infinity : mean
  }

  /// What a figure says about variants that it leaves out.
  var note: [String] {
    omitted == 0
      ? [] : ["The first \(variants.count) of \(variants.count + omitted) methods are shown."]
  }

  /// Without the run, for what is of one run alone.
  func name(_ variant: Variant) -> String { names[variant] ?? variant.method }

  func label(_ variant: Variant) -> String {
    name(variant) + (variant.run.flatMap(runs.label).map { ", " + $0 } ?? "")
  }

  func style(_ variant: Variant) -> CurveStyle { styles[variant] ?? .guide }

  /// What has rows at a checkpoint: by variant, then by damping, the smallest first.
  func combinations(_ checkpoint: String) -> [Combination] { combinations[checkpoint] ?? [] }

  func dampings(_ variant: Variant) -> [String?] { dampings[variant] ?? [] }

  func rows(_ checkpoint: String, _ variant: Variant, _ damping: String?) -> [ScoreRow] {
    groups[Key(checkpoint: checkpoint, variant: variant, damping: damping)] ?? []
  }

  /// Those of the method's smallest damping at this checkpoint: the experiments of the paper over a
  /// training run have dampings near zero.
  func leastDamped(_ checkpoint: String, _ variant: Variant) -> [ScoreRow] {
    guard let least = combinations(checkpoint).first(where: { $0.variant == variant }) else {
      return []
    }
    return rows(checkpoint, variant, least.damping)
  }

  /// All but the one that ratios are relative to.
  var compared: [Variant] { variants.filter { $0.role != .baseline } }

  func variants(of method: String) -> [Variant] {
    variants.filter { $0.method == method && !$0.isReference }
  }
}

/// A damping as reports repeat it: `1e-3` or `rel:1e-7`.
struct DampingText {
  var value: Double
  var isRelative: Bool

  init?(_ text: String) {
    isRelative = text.hasPrefix("rel:")
    guard let value = Double(isRelative ? String(text.dropFirst(4)) : text) else { return nil }
    self.value = value
  }
}

// MARK: - Points

extension Curve.Point {
  /// Mean and standard deviation over batches. Where a batch has no value the mean has none either.
  init(x: Double, _ values: [Double]) {
    let summary = Summary(values)
    self.init(x: x, y: summary.mean, deviation: summary.standardDeviation, batches: summary.count)
  }

  /// Whether a logarithmic axis has a place for it.
  var isDrawable: Bool { y > 0 && y.isFinite && x.isFinite }
}

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
    if !curve.points.isEmpty { kept.append(curve) }
  }
  return (kept, notes)
}

extension Panel {
  /// Curves on a logarithmic axis that holds their means, their bars as far as they can be shown,
  /// and the guides.
  static func curves(
    _ title: String, x: Axis, y label: String, _ curves: [Curve], guides: [Guide] = []
  ) -> Panel {
    let points = curves.flatMap(\.points)
    // A bar that reaches to zero has no end on a logarithmic axis, and one that nearly does would
    // take the picture with it: bars count for the axis down to a tenth of their mean.
    let ends = points.flatMap { point in
      [
        point.y, point.y + (point.deviation ?? 0),
        max(point.y - (point.deviation ?? 0), point.y / 10),
      ]
    }
    return Panel(
      title: title, x: x, y: .logarithmic(label, holding: ends + guides.map(\.level)),
      content: .curves(curves, guides: guides))
  }
}
