/// Fig 5 of Wu et al. 2024: all methods over training, the K-FAC family among them.
enum MethodsFigure {
  private static let name = "methods"
  private static let title = "All methods over training (Wu et al. 2024, Fig. 5)"
  private static let kroneckerFactored = ["kfac", "ekfac", "iekfac"]

  static func make(_ results: Results) throws(FigureGap) -> Figure {
    let scores = results.scores ?? []
    let groups = ScoreGroups(scores, styles: MethodStyles(results))
    let stages = Stages(scores.map(\.place))
    let variants = groups.compared
    var panels: [Panel] = []
    var notes = groups.note
    func add(_ title: String, _ values: (Stages.Stage, Variant) -> Curve.Point?) {
      let curves = variants.map { variant in
        Curve(
          label: groups.label(variant), style: groups.style(variant),
          points: stages.stages.compactMap { values($0, variant) })
      }
      let (kept, lost) = drawable(curves, panel: title)
      notes += lost
      if kept.isEmpty { return }
      panels.append(
        .curves(
          title, x: stages.axis, y: "γ / γ(sgd), ratio", kept,
          guides: [.sgd]))
    }
    add("at the smallest damping") { stage, variant in
      let rows = groups.leastDamped(stage.checkpoint, variant)
      return rows.isEmpty ? nil : .init(x: stage.position, rows.map(\.gammaRelativeToSGD))
    }
    if variants.contains(where: { groups.dampings($0).count > 1 }) {
      add("at the best damping of each") { best(groups, $0, $1) }
    }
    if panels.isEmpty {
      throw FigureGap(
        name: name, title: title,
        reason: results.scores == nil
          ? "scores.csv is missing." : "scores.csv has no finite ratio to sgd.",
        remedy: "Score sgd, ef, ief and sf with an output folder.")
    }
    let methods = Set(variants.map(\.method))
    let absent = kroneckerFactored.filter { !methods.contains($0) }
    if !absent.isEmpty {
      notes.append(
        "scores.csv has no \(absent.joined(separator: ", ")); score them too to compare "
          + "with the K-FAC family.")
    }
    let (shared, far) = panels.sharingHeight()
    return Figure(
      name: name, title: title,
      caption:
        "Mean over batches of γ relative to plain gradient descent; \(bandSentence). Below 1 "
        + "the method beats sgd; ng is the natural gradient, which no direction beats. The best "
        + "damping is the one with the smallest mean at that stage.",
      panels: shared, notes: far + notes)
  }

  private static func best(
    _ groups: ScoreGroups, _ stage: Stages.Stage, _ variant: Variant
  ) -> Curve.Point? {
    let points = groups.combinations(stage.checkpoint).filter { $0.variant == variant }.map {
      let rows = groups.rows(stage.checkpoint, variant, $0.damping)
      return Curve.Point(x: stage.position, rows.map(\.gammaRelativeToSGD))
    }
    return points.filter(\.isDrawable).min { $0.y < $1.y } ?? points.first
  }
}
