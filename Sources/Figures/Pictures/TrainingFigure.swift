/// Fig. 2 of Wu et al. 2024: how EF, iEF and SF do while a network is trained, and how unevenly its
/// batches are fitted.
enum TrainingFigure {
  private static let name = "training"
  private static let title = "Approximations over training (Wu et al. 2024, Fig. 2)"

  static func make(_ results: Results) throws(FigureGap) -> Figure {
    let scores = results.scores ?? []
    let batches = results.batches ?? []
    let stages = Stages(scores.map(\.place) + batches.map(\.place))
    let groups = ScoreGroups(scores, styles: MethodStyles(results))
    var panels: [Panel] = []
    var notes = groups.note
    func add(_ title: String, y label: String, _ curves: [Curve], _ guide: Guide?, absent: String) {
      let (kept, lost) = drawable(curves, panel: title)
      notes += lost
      if kept.isEmpty {
        notes.append("\(title): \(absent)")
        return
      }
      panels.append(
        .curves(title, x: stages.axis, y: label, kept, guides: [guide].compactMap { $0 }))
    }
    for method in ["ef", "ief"] {
      add(
        "\(method) against sgd", y: "γ / γ(sgd), ratio", relativeToSGD(groups, method, stages),
        .sgd,
        absent: "scores.csv has no ratios of \(method); score sgd, ef, ief and sf.")
    }
    // The two can be compared at a glance; here EF is what is looked for, wherever it goes.
    panels = panels.sharingHeight(limited: false).panels
    add(
      "sf against ef", y: "γ(sf) / γ(ef), ratio", sampledAgainstEmpirical(groups, stages),
      Guide(label: "equal", level: 1, style: CurveStyle(color: .grey, dash: .dotted)),
      absent: "scores.csv has no sf and ef of one batch; score sgd, ef, ief and sf.")
    add(
      "imbalance of the batch", y: FitFigure.imbalanceLabel,
      FitFigure.curves("imbalance", .purple, batches, stages, \.gradientNormRatio), nil,
      absent: "batches.csv is missing or has no gradient_norm_ratio; score with an output folder.")
    if panels.isEmpty {
      throw FigureGap(
        name: name, title: title, reason: "scores.csv and batches.csv have nothing for it.",
        remedy: "Score sgd, ef, ief and sf with an output folder.")
    }
    return Figure(
      name: name, title: title,
      caption: "Mean over batches of the ratios of each batch, at the smallest damping of each "
        + "method; \(bandSentence). Below 1 the first of the two is the better direction. The "
        + "imbalance is the largest over the smallest per-sample gradient norm.",
      panels: panels, notes: notes)
  }

  private static func relativeToSGD(
    _ groups: ScoreGroups, _ method: String, _ stages: Stages
  ) -> [Curve] {
    groups.variants(of: method).map { variant in
      Curve(
        label: groups.label(variant), style: groups.style(variant),
        points: stages.stages.compactMap { stage in
          let rows = groups.leastDamped(stage.checkpoint, variant)
          return rows.isEmpty
            ? nil : .init(x: stage.position, rows.map(\.gammaRelativeToSGD))
        })
    }
  }

  /// The ratio within each batch, then the mean.
  private static func sampledAgainstEmpirical(
    _ groups: ScoreGroups, _ stages: Stages
  ) -> [Curve] {
    groups.variants(of: "sf").compactMap { variant in
      guard let empirical = groups.variants(of: "ef").first(where: { $0.run == variant.run }) else {
        return nil
      }
      return Curve(
        label: "\(groups.name(variant)) / \(groups.label(empirical))", style: groups.style(variant),
        points: stages.stages.compactMap { stage in
          let references = Dictionary(
            groups.leastDamped(stage.checkpoint, empirical).map { ($0.place.batch, $0.gamma) },
            uniquingKeysWith: { first, _ in first })
          let ratios = groups.leastDamped(stage.checkpoint, variant).compactMap { row in
            references[row.place.batch].map { row.gamma / $0 }
          }
          return ratios.isEmpty ? nil : .init(x: stage.position, ratios)
        })
    }
  }
}
