/// Fig 2 of Wu et al. 2024: how EF, iEF and SF do while a network is trained, and how unevenly its
/// batches are fitted.
enum TrainingFigure {
  private static let name = "training"
  private static let title = "Approximations over training (Fig 2)"

  static func make(_ results: Results) throws(FigureGap) -> Figure {
    let scores = results.scores ?? []
    let batches = results.batches ?? []
    let stages = Stages(scores.map(\.place) + batches.map(\.place))
    let groups = ScoreGroups(scores)
    var panels: [Panel] = []
    var notes = groups.note
    func add(_ title: String, y label: String, _ curves: [Curve], level: Double?, absent: String) {
      let (kept, lost) = drawable(curves, panel: title)
      notes += lost
      if kept.isEmpty {
        notes.append("\(title): \(absent)")
        return
      }
      panels.append(
        .curves(
          title, x: stages.axis, y: label, kept,
          guides: level.map { [Guide(label: "", level: $0, style: .guide)] } ?? []))
    }
    for method in ["ef", "ief"] {
      add(
        "\(method) against sgd", y: "γ(\(method)) / γ(sgd), ratio",
        relativeToSGD(groups, method, stages), level: 1,
        absent: "scores.csv has no ratios of \(method); score sgd, ef, ief and sf.")
    }
    add(
      "sf against ef", y: "γ(sf) / γ(ef), ratio", sampledAgainstEmpirical(groups, stages), level: 1,
      absent: "scores.csv has no sf and ef of one batch; score sgd, ef, ief and sf.")
    add(
      "imbalance of the batch", y: "max ‖gₙ‖ / min ‖gₙ‖, ratio", imbalance(batches, stages),
      level: nil,
      absent: "batches.csv is missing or has no gradient_norm_ratio; score with an output folder.")
    if panels.isEmpty {
      throw FigureGap(
        name: name, title: title, reason: "scores.csv and batches.csv have nothing for it.",
        remedy: "Score sgd, ef, ief and sf with an output folder.")
    }
    return Figure(
      name: name, title: title,
      caption: "Mean over batches of the ratios of each batch, at the smallest damping of each "
        + "method; bars are one standard deviation, and a bar that would reach zero runs to the "
        + "bottom. Below 1 the first of the two is the better direction. The imbalance is the "
        + "largest over the smallest per-sample gradient norm.",
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

  private static func imbalance(_ batches: [BatchRow], _ stages: Stages) -> [Curve] {
    let byCheckpoint = Dictionary(grouping: batches, by: \.place.checkpoint)
    let runs = RunNames(batches.lazy.map(\.place))
    let markers: [Marker] = [.diamond, .openDiamond, .star, .plus, .openCircle, .openDown]
    let dashes: [Dash] = [.solid, .dashed, .dotted]
    return runs.runs.enumerated().map { index, run in
      Curve(
        label: "imbalance" + (runs.label(run).map { ", " + $0 } ?? ""),
        style: CurveStyle(
          color: .purple, marker: markers[index % markers.count],
          dash: dashes[index % dashes.count]),
        points: stages.stages.compactMap { stage in
          guard stage.run == run, let rows = byCheckpoint[stage.checkpoint] else { return nil }
          return .init(x: stage.position, rows.map(\.gradientNormRatio))
        })
    }
  }
}
