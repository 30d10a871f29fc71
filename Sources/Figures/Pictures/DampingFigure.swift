/// Fig 3 of Wu et al. 2024: what damping does to each method, at a few stages of training.
enum DampingFigure {
  private static let name = "damping"
  private static let title = "Methods against damping (Wu et al. 2024, Fig. 3)"
  private static let panelLimit = 6

  static func make(_ results: Results) throws(FigureGap) -> Figure {
    let scores = results.scores ?? []
    let groups = ScoreGroups(scores, styles: MethodStyles(results))
    let swept = groups.variants.filter { groups.dampings($0).count > 1 }
    if swept.isEmpty {
      throw FigureGap(
        name: name, title: title,
        reason: results.scores == nil
          ? "scores.csv is missing." : "scores.csv has no method at more than one damping.",
        remedy: "Score at several dampings, such as 1e-7, 1e-5 and 1e-3, with an output folder.")
    }
    let stages = Stages(scores.map(\.place))
    let scale = Scale(swept.flatMap { groups.dampings($0) })
    var panels: [Panel] = []
    var notes = stages.note(panelLimit) + groups.note
    for stage in stages.selection(panelLimit) {
      let curves = swept.map { variant in
        Curve(
          label: groups.label(variant), style: groups.style(variant),
          points: groups.dampings(variant).compactMap { damping in
            let rows = groups.rows(stage.checkpoint, variant, damping)
            guard let x = scale.position(damping, rows), x > 0 else { return nil }
            return .init(x: x, rows.map(\.gammaRelativeToSGD))
          }.sorted { $0.x < $1.x })
      }
      let (kept, lost) = drawable(curves, panel: stage.label)
      notes += lost
      if kept.isEmpty { continue }
      let positions = Set(kept.flatMap(\.points).map(\.x)).sorted()
      panels.append(
        .curves(
          stage.label, x: .logarithmic(scale.label, holding: positions), y: "γ / γ(sgd), ratio",
          kept + levels(groups, swept, stage, at: positions),
          guides: [.sgd]))
    }
    if panels.isEmpty {
      throw FigureGap(
        name: name, title: title, reason: "scores.csv has no finite ratio to sgd.",
        remedy: "Score sgd, ef, ief and sf at several dampings above 0.")
    }
    if swept.contains(where: { groups.dampings($0).contains { DampingText($0 ?? "")?.value == 0 } })
    {
      notes.append("Damping 0 has no place on a logarithmic axis and is left out.")
    }
    let (shared, far) = panels.sharingHeight()
    return Figure(
      name: name, title: title,
      caption: "Mean over batches of γ relative to plain gradient descent, for every damping; "
        + bandSentence + ". Below 1 the method beats sgd. Methods without damping are levels.",
      panels: shared, notes: far + notes)
  }

  /// The methods that have one value for all dampings.
  private static func levels(
    _ groups: ScoreGroups, _ swept: [Variant], _ stage: Stages.Stage, at positions: [Double]
  ) -> [Curve] {
    groups.compared.filter { !swept.contains($0) }.compactMap { variant in
      let rows = groups.leastDamped(stage.checkpoint, variant)
      let level = Curve.Point(x: 0, rows.map(\.gammaRelativeToSGD))
      if !level.isDrawable { return nil }
      return Curve(
        label: groups.label(variant), style: groups.style(variant),
        points: positions.map {
          .init(x: $0, y: level.y, deviation: nil, range: nil, batches: level.batches)
        }, markerInterval: max(1, positions.count - 1))
    }
  }

  /// How dampings are laid out: as given where all are of one kind, else by the lambda used.
  private struct Scale {
    private let isAsGiven: Bool
    let label: String

    init(_ dampings: [String?]) {
      let texts = dampings.compactMap { $0 }.map(DampingText.init)
      let kinds = Set(texts.map { $0?.isRelative })
      switch kinds {
      case [true]:
        (isAsGiven, label) = (true, "damping λ over its scale (rel:x), ratio")
      case [false]:
        (isAsGiven, label) = (true, "damping λ (units of the matrix)")
      default:
        (isAsGiven, label) = (false, "mean λ used (units of the matrix)")
      }
    }

    /// - Returns: `nil` without rows.
    func position(_ damping: String?, _ rows: [ScoreRow]) -> Double? {
      if rows.isEmpty { return nil }
      if isAsGiven { return damping.flatMap(DampingText.init)?.value }
      return Curve.Point(x: 0, rows.map(\.lambda)).y
    }
  }
}
