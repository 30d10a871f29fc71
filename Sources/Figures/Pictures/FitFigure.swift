/// How well the network is fitted over training, beside the figures that this explains: loss, accuracy
/// and imbalance, on the axis of the indicators.
enum FitFigure {
  private static let name = "fit"
  private static let title = "Loss, accuracy and imbalance over training"
  static let imbalanceLabel = "max ‖gₙ‖ / min ‖gₙ‖, ratio"

  static func make(_ results: Results) throws(FigureGap) -> Figure {
    let batches = results.batches ?? []
    let epochs = results.epochs ?? []
    var places = (results.scores ?? []).map(\.place) + batches.map(\.place)
    if places.isEmpty {
      places = epochs.map {
        Place(
          checkpoint: "\($0.run) \($0.epoch ?? -1)", epoch: $0.epoch, step: $0.step, batch: "",
          run: $0.run)
      }
    }
    let stages = Stages(places)
    let training = TrainingRuns(epochs, stages)
    let losses =
      curves("batches", .blue, batches, stages, \.meanLoss)
      + training.curves("training data", .green, \.loss)
      + training.curves("validation data", .orange, \.validationLoss)
    let accuracies =
      training.curves("training data", .green) { 100 * ($0.accuracy ?? .nan) }
      + training.curves("validation data", .orange) { 100 * $0.validationAccuracy }
    let imbalances = curves("imbalance", .purple, batches, stages, \.gradientNormRatio)
    var panels: [Panel] = []
    var notes: [String] = []
    for (title, label, curves) in [
      ("mean loss", "loss (nats)", losses),
      ("imbalance of the batch", imbalanceLabel, imbalances),
    ] {
      let (kept, lost) = drawable(curves, panel: title)
      notes += lost
      if !kept.isEmpty { panels.append(.curves(title, x: stages.axis, y: label, kept)) }
    }
    let shares = accuracies.filter { !$0.points.isEmpty }
    if !shares.isEmpty {
      let values = shares.flatMap(\.points).map(\.y)
      panels.insert(
        Panel(
          title: "accuracy", x: stages.axis, y: .linear("accuracy (%)", holding: values),
          content: .curves(shares, guides: [])), at: min(1, panels.count))
    }
    if panels.isEmpty || !batches.contains(where: { $0.meanLoss.isFinite }) && shares.isEmpty {
      throw FigureGap(
        name: name, title: title, reason: "neither batches.csv nor epochs.csv has a loss.",
        remedy: "Score with an output folder, and name the folder of the training as well.")
    }
    if shares.isEmpty {
      notes.append(
        "There is no accuracy: name the folder of the training, with epochs.csv, as well.")
    }
    return Figure(
      name: name, title: title,
      caption:
        "Mean over batches, per scored position; \(bandSentence). Training and validation data "
        + "are all that the training had. The imbalance is the largest over the smallest per-sample "
        + "gradient norm.",
      panels: panels, notes: notes)
  }

  /// A curve for each run.
  static func curves(
    _ label: String, _ color: Color, _ batches: [BatchRow], _ stages: Stages,
    _ value: (BatchRow) -> Double
  ) -> [Curve] {
    let byCheckpoint = Dictionary(grouping: batches, by: \.place.checkpoint)
    let runs = RunNames(batches.lazy.map(\.place))
    return runs.runs.enumerated().map { index, run in
      Curve(
        label: label + (runs.label(run).map { ", " + $0 } ?? ""), style: .ofRun(index, color),
        points: stages.stages.compactMap { stage in
          guard stage.run == run, let rows = byCheckpoint[stage.checkpoint] else { return nil }
          let values = rows.map(value)
          return values.allSatisfy(\.isNaN) ? nil : .init(x: stage.position, values)
        })
    }.filter { !$0.points.isEmpty }
  }
}

/// Tables of trainings, and the runs of scores that they are of.
private struct TrainingRuns {
  private let rows: [(run: String, rows: [EpochRow])]
  private let stages: Stages
  private let names: RunNames

  init(_ epochs: [EpochRow], _ stages: Stages) {
    var folders: [String] = []
    for row in epochs where !folders.contains(row.run) { folders.append(row.run) }
    let runs = Set(stages.stages.map(\.run))
    rows = folders.map { folder in
      // As the table has it, which may be another path to the same folder.
      let last = folder.split(separator: "/").last
      let run =
        runs.count == 1 && folders.count == 1
        ? runs.first! : runs.sorted().first { $0.split(separator: "/").last == last } ?? folder
      return (run, epochs.filter { $0.run == folder })
    }
    self.stages = stages
    names = RunNames(
      (stages.stages.map(\.run) + rows.map(\.run)).map { Place(checkpoint: "", batch: "", run: $0) }
    )
  }

  func curves(_ label: String, _ color: Color, _ value: (EpochRow) -> Double) -> [Curve] {
    rows.enumerated().map { index, part in
      Curve(
        label: label + (names.label(part.run).map { ", " + $0 } ?? ""), style: .ofRun(index, color),
        points: part.rows.compactMap { row in
          guard let x = stages.position(epoch: row.epoch, step: row.step), value(row).isFinite
          else {
            return nil
          }
          return Curve.Point(x: x, y: value(row), deviation: nil, range: nil, batches: 1)
        }.sorted { $0.x < $1.x })
    }.filter { !$0.points.isEmpty }
  }
}
