/// Appendix F.2 of Wu et al. 2024: how the reference solve comes to the natural gradient.
enum ReferenceFigure {
  private static let name = "reference"
  private static let title = "The reference, iteration by iteration (Wu et al. 2024, F.2)"
  private static let curveLimit = 6

  static func make(_ results: Results) throws(FigureGap) -> Figure {
    let iterates = results.iterates ?? []
    if iterates.isEmpty {
      throw FigureGap(
        name: name, title: title,
        reason: results.iterates == nil
          ? "cg.csv is missing." : "cg.csv has no iterates: the reference was not iterative.",
        remedy: "Score with the reference cg and an output folder.")
    }
    let batches = results.batches ?? []
    let places = iterates.map {
      Place(checkpoint: $0.checkpoint, batch: $0.batch)
    }
    let known = Dictionary(
      (batches.map(\.place) + (results.scores ?? []).map(\.place)).map { ($0.checkpoint, $0) },
      uniquingKeysWith: { first, _ in first })
    let stages = Stages(places.map { known[$0.checkpoint] ?? $0 })
    let bounds = Dictionary(
      batches.map { (Solve($0.place.checkpoint, $0.place.batch), $0.gammaBound) },
      uniquingKeysWith: { first, _ in first })
    let solves = Dictionary(grouping: iterates) { Solve($0.checkpoint, $0.batch) }
    var gammas: [Curve] = []
    var excesses: [Curve] = []
    var residuals: [Curve] = []
    var guides: [Guide] = []
    for (index, stage) in stages.selection(curveLimit).enumerated() {
      // One batch stands for all: the mean of solves of different lengths would be of none.
      guard let batch = iterates.first(where: { $0.checkpoint == stage.checkpoint })?.batch
      else { continue }
      let solve = Solve(stage.checkpoint, batch)
      let rows = (solves[solve] ?? []).sorted { $0.iteration < $1.iteration }
      let style = CurveStyle.ofStage(index)
      func curve(_ value: (IterateRow) -> Double) -> Curve {
        let points = thinned(
          rows.map {
            Curve.Point(x: $0.iteration, y: value($0), deviation: nil, range: nil, batches: 1)
          }.filter(\.isDrawable))
        return Curve(
          label: stage.label, style: style, points: points,
          markerInterval: max(1, points.count / 8))
      }
      gammas.append(curve(\.gamma))
      residuals.append(curve(\.relativeResidual))
      if let bound = bounds[solve], bound > 0, bound.isFinite {
        guides.append(
          Guide(
            label: "", level: bound,
            style: CurveStyle(color: style.color, dash: .dotted)))
        excesses.append(curve { $0.gamma / bound - 1 })
      }
    }
    func panel(_ title: String, y: String, _ curves: [Curve], _ guides: [Guide] = []) -> Panel? {
      let kept = curves.filter { !$0.points.isEmpty }
      if kept.isEmpty { return nil }
      let iterations = kept.flatMap(\.points).map(\.x)
      return .curves(
        title, x: .linear("iteration of the solver", holding: iterations), y: y, kept,
        guides: guides)
    }
    var panels = [
      panel("gamma", y: "γ (1/√nats)", gammas, guides),
      panel("gamma above its bound", y: "γ / γ_bound − 1, ratio", excesses),
      panel("residual", y: "‖g − F x‖ / ‖g‖, ratio", residuals),
    ].compactMap { $0 }
    if panels.isEmpty {
      throw FigureGap(
        name: name, title: title, reason: "cg.csv has no finite number.",
        remedy: "Look at reference_stop in batches.csv for what went wrong.")
    }
    let iterations = panels.map(\.x).max { $0.high < $1.high }!
    for index in panels.indices { panels[index].x = iterations }
    var notes = stages.note(curveLimit)
    if excesses.isEmpty {
      notes.append("batches.csv has no gamma_bound for these solves: score with an output folder.")
    }
    return Figure(
      name: name, title: title,
      caption: "The first batch of each checkpoint. Dotted levels are gamma_bound, below which no "
        + "direction gets; curves end where the solver stopped, or where the difference to the "
        + "bound is lost in rounding.",
      panels: panels, notes: notes)
  }

  /// Of so many points, as many as a picture can show, with the first and the last.
  private static func thinned(_ points: [Curve.Point]) -> [Curve.Point] {
    let limit = 200
    if points.count <= limit { return points }
    return (0..<limit).map { points[$0 * (points.count - 1) / (limit - 1)] }
  }

  private struct Solve: Hashable {
    var checkpoint: String
    var batch: String

    init(_ checkpoint: String, _ batch: String) {
      (self.checkpoint, self.batch) = (checkpoint, batch)
    }
  }
}
