import Metrics

/// The tables of a page: means over batches, a row per method and damping.
struct ScoreTables {
  private let results: Results
  private let stages: Stages

  init(_ results: Results) {
    self.results = results
    stages = Stages((results.scores ?? []).map(\.place) + (results.batches ?? []).map(\.place))
  }

  /// One table for each checkpoint; empty without scores.
  var scores: String {
    guard let rows = results.scores, !rows.isEmpty else { return "" }
    let groups = ScoreGroups(rows, labelLimit: 60, variantLimit: .max)
    let batches = results.batches ?? []
    let converged = Set(batches.filter(\.hasConvergedReference).map(\.place))
    // Batches that have all samples of the data: but for drawn labels their spread is rounding.
    let whole = Set(batches.filter { $0.samples == $0.dataSamples }.map(\.place))
    var text = HTML.paragraph(
      "Mean over batches ± one standard deviation. Efficiency: the share of the loss decrease of "
        + "the exact natural gradient, under the local quadratic model; where its solver did not "
        + "converge, ≥ is what is proved."
        + (rows.markNote.map { " \($0) They have a star." } ?? ""))
    for stage in stages.stages {
      var cells: [[String]] = []
      for one in groups.combinations(stage.checkpoint) {
        let scores = groups.rows(stage.checkpoint, one.variant, one.damping)
        let varies = scores.contains { $0.direction.draws != nil || !whole.contains($0.place) }
        cells.append([
          groups.name(one.variant), one.variant.isReference ? "reference" : one.damping ?? "",
          Self.cell(scores.map(\.gamma), varies) + (scores.contains(where: \.isMarked) ? " *" : ""),
          Self.cell(scores.map(\.gammaRelativeToSGD), varies),
          Self.efficiency(scores, converged, varies), String(scores.count),
        ])
      }
      if cells.isEmpty { continue }
      let isOpen = stage == stages.stages.first || stage == stages.stages.last
      text +=
        "<details\(isOpen ? " open=\"open\"" : "")><summary>\(HTML.escaped(stage.label))</summary>\n"
        + HTML.table(
          singleLine(stage.checkpoint, limit: 80),
          ["method", "damping", "γ (1/√nats)", "γ / γ(sgd)", "efficiency (%)", "batches"], cells,
          numbers: 2..<6) + "</details>\n"
    }
    return text
  }

  /// - Parameter varies: Whether the spread is one of batches.
  private static func cell(_ values: [Double], _ varies: Bool = true) -> String {
    let summary = Summary(values)
    return spread(summary.mean, varies ? summary.standardDeviation : nil)
  }

  private static func efficiency(
    _ rows: [ScoreRow], _ converged: Set<Place>, _ varies: Bool
  ) -> String {
    let summary = Summary(rows.map { 100 * $0.efficiency })
    let low = Summary(
      rows.map { 100 * (converged.contains($0.place) ? $0.efficiency : $0.efficiencyLow) }
    ).mean
    let share = spread(summary.mean, varies ? summary.standardDeviation : nil)
    if low.isNaN || rows.allSatisfy({ converged.contains($0.place) }) { return share }
    return share.isEmpty ? "≥ " + shown(low) : share + " (≥ \(shown(low)))"
  }

  /// One row per checkpoint; empty without batches.
  var batches: String {
    guard let rows = results.batches, !rows.isEmpty else { return "" }
    let byCheckpoint = Dictionary(grouping: rows, by: \.place.checkpoint)
    let cells = stages.stages.compactMap { stage -> [String]? in
      guard let rows = byCheckpoint[stage.checkpoint] else { return nil }
      return [
        stage.label, singleLine(stage.checkpoint, limit: 60), String(rows.count),
        Self.range(rows.map(\.samples)), Self.cell(rows.map(\.meanLoss)),
        Self.cell(rows.map(\.gradientNormRatio)),
        Self.range(rows.compactMap(\.referenceIterations)),
        rows.compactMap(\.referenceResidual).max().map { shown($0, digits: 2) } ?? "",
        Self.stops(rows),
      ]
    }
    return HTML.paragraph(
      "Mean loss: per scored position. Imbalance: the largest over the smallest per-sample gradient "
        + "norm. Residual: the worst of all batches.")
      + HTML.table(
        "Batches and references by checkpoint",
        [
          "stage", "checkpoint", "batches", "samples", "mean loss", "imbalance", "iterations",
          "residual", "stopped by",
        ], cells, numbers: 2..<8)
  }

  private static func range(_ values: [Double]) -> String {
    guard let low = values.min(), let high = values.max() else { return "" }
    return low == high
      ? shown(low, digits: 12) : "\(shown(low, digits: 12)) to \(shown(high, digits: 12))"
  }

  /// `certificate 9, iterations 1`
  private static func stops(_ rows: [BatchRow]) -> String {
    let counts = Dictionary(grouping: rows, by: \.referenceStop).mapValues(\.count)
    if counts.keys.allSatisfy(\.isEmpty) { return "no reference" }
    return counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { stop, count in
      (stop.isEmpty ? "none" : stop) + (counts.count > 1 ? " \(count)" : "")
    }.joined(separator: ", ")
  }
}
