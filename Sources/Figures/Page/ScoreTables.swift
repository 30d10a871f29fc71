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
    let facts = BatchFacts(results.batches ?? [])
    var text = HTML.paragraph(
      "Mean over batches ± one standard deviation. Efficiency: the share of the loss decrease of "
        + "the exact natural gradient, under the local quadratic model; where its solver did not "
        + "converge, ≥ is what is proved."
        + (rows.markNote.map { " \($0) They have a star." } ?? ""))
    for stage in stages.stages {
      var table = DataTable(
        singleLine(stage.checkpoint, limit: 80), words: ["method", "damping"],
        numbers: ["γ (1/√nats)", "γ / γ(sgd)", "efficiency (%)", "batches"])
      for one in groups.combinations(stage.checkpoint) {
        let scores = groups.rows(stage.checkpoint, one.variant, one.damping)
        let varies = facts.varies(scores)
        var gamma = Self.cell(scores.map(\.gamma), varies)
        if scores.contains(where: \.isMarked) { gamma.after = " *" }
        table.rows.append([
          .init(groups.name(one.variant)), Self.damping(one, scores), gamma,
          Self.cell(scores.map(\.gammaRelativeToSGD), varies),
          Self.efficiency(scores, low: facts.provedEfficiency(scores), varies),
          .init(String(scores.count), Double(scores.count)),
        ])
      }
      if table.rows.isEmpty { continue }
      // The verdict has said what most want to know; of several stages each is a press away.
      let isOpen = stages.stages.count == 1
      text +=
        "<details\(isOpen ? " open=\"open\"" : "")><summary>\(HTML.escaped(stage.label))</summary>\n"
        + HTML.table(table) + "</details>\n"
    }
    return text
  }

  /// Sorted by the lambda that was used.
  private static func damping(
    _ one: ScoreGroups.Combination, _ rows: [ScoreRow]
  ) -> DataTable.Cell {
    one.variant.isReference
      ? .init("reference") : .init(one.damping ?? "", Summary(rows.map(\.lambda)).mean)
  }

  /// - Parameter varies: Whether the spread is one of batches.
  private static func cell(_ values: [Double], _ varies: Bool = true) -> DataTable.Cell {
    let summary = Summary(values)
    return .init(spread(summary.mean, varies ? summary.standardDeviation : nil), summary.mean)
  }

  private static func efficiency(
    _ rows: [ScoreRow], low: Double?, _ varies: Bool
  ) -> DataTable.Cell {
    let share = cell(rows.map { 100 * $0.efficiency }, varies)
    guard let low = low.map({ 100 * $0 }) else { return share }
    return share.text.isEmpty
      ? .init("≥ " + significant(low), low)
      : .init(share.text + " (≥ \(significant(low)))", share.value)
  }

  /// One row per checkpoint; empty without batches.
  var batches: String {
    guard let rows = results.batches, !rows.isEmpty else { return "" }
    let byCheckpoint = Dictionary(grouping: rows, by: \.place.checkpoint)
    var table = DataTable("Batches and references by checkpoint", words: ["stage", "checkpoint"])
    table.columns +=
      ["batches", "samples", "mean loss", "imbalance", "iterations", "residual"].map {
        .init(title: $0, isNumber: true)
      } + [.init(title: "stopped by")]
    for (index, stage) in stages.stages.enumerated() {
      guard let rows = byCheckpoint[stage.checkpoint] else { continue }
      let residual = rows.compactMap(\.referenceResidual).max()
      table.rows.append([
        .init(stage.label, Double(index)), .init(singleLine(stage.checkpoint, limit: 60)),
        .init(String(rows.count), Double(rows.count)), Self.range(rows.map(\.samples)),
        Self.cell(rows.map(\.meanLoss)), Self.cell(rows.map(\.gradientNormRatio)),
        Self.range(rows.compactMap(\.referenceIterations)),
        .init(residual.map { significant($0, digits: 2) } ?? "", residual), .init(Self.stops(rows)),
      ])
    }
    return HTML.paragraph(
      "Mean loss: per scored position. Imbalance: the largest over the smallest per-sample gradient "
        + "norm. Residual: the worst of all batches.")
      + (table.rows.count <= 6
        ? HTML.table(table)
        : "<details><summary>\(table.rows.count) checkpoints</summary>\n" + HTML.table(table)
          + "</details>\n")
  }

  private static func range(_ values: [Double]) -> DataTable.Cell {
    guard let low = values.min(), let high = values.max() else { return .init("") }
    return .init(
      low == high
        ? shown(low, digits: 12) : "\(shown(low, digits: 12)) to \(shown(high, digits: 12))", high)
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
