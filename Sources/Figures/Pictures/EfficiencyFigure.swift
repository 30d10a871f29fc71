import Metrics

/// How much of what the natural gradient could gain each method gets, as bars with the bracket in
/// which the true share lies.
enum EfficiencyFigure {
  private static let name = "efficiency"
  private static let title = "Efficiency of each method"
  private static let panelLimit = 6

  static func make(_ results: Results) throws(FigureGap) -> Figure {
    let scores = results.scores ?? []
    let groups = ScoreGroups(scores, styles: MethodStyles(results))
    let stages = Stages(scores.map(\.place))
    let converged = results.batches.map { batches in
      Set(batches.filter(\.hasConvergedReference).map(\.place))
    }
    var charts: [(stage: Stages.Stage, bars: [Bar])] = []
    var notes = stages.note(panelLimit) + groups.note
    for stage in stages.selection(panelLimit) {
      var bars: [Bar] = []
      for variant in groups.variants where !variant.isReference {
        let rows = groups.leastDamped(stage.checkpoint, variant)
        if rows.isEmpty { continue }
        let bar = bar(groups.name(variant), groups.style(variant), rows, converged ?? [])
        if bar.value.isFinite {
          bars.append(bar)
        } else {
          notes.append("\(stage.label): no bar for \(bar.label), as a batch has no efficiency.")
        }
      }
      if !bars.isEmpty { charts.append((stage, bars)) }
    }
    let ends = charts.flatMap(\.bars).map { max($0.value, $0.low ?? 0) }
    guard let most = ends.max() else {
      throw FigureGap(
        name: name, title: title,
        reason: results.scores == nil
          ? "scores.csv is missing." : "scores.csv has no finite efficiency.",
        remedy: "Score sgd, ef, ief and sf with an output folder.")
    }
    // One scale for all, with room for the number at the end of the longest bar. It holds 100 %
    // unless bars would be slivers then, and little more: what a reference that has not come near
    // makes of a share says nothing.
    let whole = 100.0
    let axis = Axis.fromZero(
      "efficiency (%)", to: most < whole / 5 ? most : min(max(most, whole), 2 * whole))
    if axis.high < whole { notes.append("The scale ends far below 100 %.") }
    let far = ends.count { $0 > axis.high }
    if far > 0 { notes.append("\(far) bar\(far == 1 ? " goes" : "s go") off the scale.") }
    let panels = charts.map { stage, bars in
      Panel(
        title: stage.label, x: axis, y: .names(bars.map(\.label)),
        content: .bars(bars, mark: axis.high < whole ? nil : whole))
    }
    if converged == nil {
      notes.append("batches.csv is missing: every bracket begins at what the certificate proves.")
    }
    if scores.allSatisfy({ $0.efficiency.isNaN }) {
      notes.append("The run has no reference: bars are what the certificate proves at the least.")
    }
    return Figure(
      name: name, title: title,
      caption:
        "Share of the loss decrease of the exact natural gradient, under the local quadratic "
        + "model, that each method gets at its smallest damping: mean over batches. Where the "
        + "reference did not converge in every batch, the true share lies in the bracket. The line "
        + "is at 100 %, the natural gradient.",
      panels: panels, notes: notes)
  }

  private static func bar(
    _ label: String, _ style: CurveStyle, _ rows: [ScoreRow], _ converged: Set<Place>
  ) -> Bar {
    func percent(_ values: [Double]) -> Double { 100 * Summary(values).mean }
    let hasReference = !rows.contains { $0.efficiency.isNaN }
    let low = percent(
      rows.map { converged.contains($0.place) ? $0.efficiency : $0.efficiencyLow })
    var style = style
    if style.color == .ink { style.color = .grey }
    return Bar(
      label: label, style: style,
      value: hasReference ? percent(rows.map(\.efficiency)) : low,
      low: !hasReference || rows.allSatisfy { converged.contains($0.place) } || !low.isFinite
        ? nil : low)
  }
}
