import Metrics

extension Verdict {
  /// One for each training run, in the order of the tables; empty without scores.
  package static func all(_ results: Results) -> [Verdict] {
    let scores = results.scores ?? []
    let runs = RunNames(scores.lazy.map(\.place))
    let batches = results.batches ?? []
    // Which of several runs a training is of is not told.
    let epochs = results.epochs ?? []
    let isOne = runs.runs.count == 1 && Set(epochs.map(\.run)).count == 1
    return runs.runs.compactMap { run in
      Judge(
        scores.filter { $0.place.run == run }, batches.filter { $0.place.run == run },
        isOne ? epochs : []
      ).verdict(on: run, named: runs.label(run))
    }
  }
}

/// Makes the verdict on one run.
private struct Judge {
  private let groups: ScoreGroups
  private let stages: [Stages.Stage]
  private let notes: [String]
  private let columns: [Variant]
  private let sgd: Variant?
  private let measure: Verdict.Measure
  private let batches: [String: [BatchRow]]
  private let epochs: [EpochRow]
  private let facts: BatchFacts

  /// More rows than anybody reads.
  private static let stageLimit = 200

  init(_ scores: [ScoreRow], _ batches: [BatchRow], _ epochs: [EpochRow]) {
    groups = ScoreGroups(scores, labelLimit: 40)
    let stages = Stages(scores.map(\.place))
    self.stages = stages.selection(Self.stageLimit)
    notes = stages.note(Self.stageLimit) + groups.note
    columns = groups.compared
    sgd = groups.variants.first { $0.role == .baseline }
    let hasRatios = scores.contains {
      $0.direction.role != .baseline && !$0.gammaRelativeToSGD.isNaN
    }
    measure = hasRatios ? .ratio : .gamma
    self.batches = Dictionary(grouping: batches, by: \.place.checkpoint)
    self.epochs = epochs
    facts = BatchFacts(batches)
  }

  /// - Returns: `nil` without a method to judge.
  func verdict(on place: String, named run: String?) -> Verdict? {
    if columns.isEmpty { return nil }
    var best: [[Choice?]] = []
    var least: [[Choice?]] = []
    for stage in stages {
      let choices = columns.map { self.choices($0, at: stage.checkpoint) }
      best.append(
        choices.map { all in
          all.filter { !$0.mean.isNaN }.min { $0.mean < $1.mean } ?? all.first
        })
      least.append(choices.map { $0.first })
    }
    let dampings = columns.map { groups.dampings($0).count }
    return Verdict(
      place: place, run: run, measure: measure, stages: stages.map(\.label),
      methods: zip(columns, dampings).map {
        .init(name: groups.name($0), isReference: $0.isReference, dampings: max($1, 1))
      },
      // The best of several dampings may be best by chance: each is a test of its own.
      best: cells(best, tests: dampings.map { max($0, 1) * stages.count }),
      leastDamped: cells(least, tests: dampings.map { _ in stages.count }),
      baseline: stages.map { stage in
        baselineRows(stage.checkpoint).map(efficiency)
      },
      winners: winners(best, areChosen: true),
      leastDampedWinners: winners(least, areChosen: false), surroundings: stages.map(surroundings),
      notes: notes)
  }

  // MARK: - Cells

  /// A method at one damping and stage.
  private struct Choice {
    var damping: String?
    var rows: [ScoreRow]
    var mean: Double
    /// Of all dampings.
    var factor: Double?
  }

  private func value(_ row: ScoreRow) -> Double {
    measure == .ratio ? row.gammaRelativeToSGD : row.gamma
  }

  /// By damping, the smallest first.
  private func choices(_ variant: Variant, at checkpoint: String) -> [Choice] {
    let choices = groups.combinations(checkpoint).filter { $0.variant == variant }.map { one in
      let rows = groups.rows(checkpoint, variant, one.damping)
      return Choice(damping: one.damping, rows: rows, mean: Summary(rows.map(value)).mean)
    }
    let means = choices.map(\.mean).filter { !$0.isNaN }
    guard let low = means.min(), let high = means.max(), means.count > 1 else { return choices }
    return choices.map {
      var choice = $0
      choice.factor = high == low ? 1 : high / low
      return choice
    }
  }

  private func baselineRows(_ checkpoint: String) -> [ScoreRow]? {
    guard let sgd else { return nil }
    let rows = groups.leastDamped(checkpoint, sgd)
    return rows.isEmpty ? nil : rows
  }

  /// `[stage][method]`; each method's comparisons are one statement.
  private func cells(_ choices: [[Choice?]], tests: [Int]) -> [[Verdict.Cell?]] {
    var cells = zip(stages, choices).map { stage, row in
      row.map { choice in choice.map { cell($0, baselineRows(stage.checkpoint)) } }
    }
    for method in columns.indices {
      let places = cells.indices.filter { cells[$0][method]?.comparison != nil }
      var comparisons = places.map { cells[$0][method]!.comparison! }
      PairedComparison.correct(&comparisons, for: tests[method])
      for (stage, comparison) in zip(places, comparisons) {
        cells[stage][method]?.comparison = comparison
      }
    }
    return cells
  }

  private func cell(_ choice: Choice, _ baseline: [ScoreRow]?) -> Verdict.Cell {
    let rows = choice.rows
    let summary = Summary(rows.map(value))
    return Verdict.Cell(
      damping: choice.damping, mean: summary.mean,
      deviation: facts.varies(rows) ? summary.standardDeviation : nil, batches: rows.count,
      missing: rows.count { value($0).isNaN }, efficiency: efficiency(rows),
      isMarked: rows.contains(where: \.isMarked),
      comparison: baseline.flatMap {
        measure == .ratio ? PairedComparison(rows, $0, whole: facts.whole) : nil
      },
      dampingFactor: choice.factor)
  }

  private func efficiency(_ rows: [ScoreRow]) -> Verdict.Efficiency {
    .init(mean: Summary(rows.map(\.efficiency)).mean, low: facts.provedEfficiency(rows))
  }

  // MARK: - The best of each stage

  /// - Parameter areChosen: Whether the dampings are the best of several.
  private func winners(_ choices: [[Choice?]], areChosen: Bool) -> [Verdict.Winner?] {
    var winners = zip(stages, choices).map { stage, row in
      winner(row, baselineRows(stage.checkpoint))
    }
    // One statement about all stages; the winner's damping is the best of several.
    let places = winners.indices.filter { winners[$0]?.rival != nil }
    var comparisons = places.map { winners[$0]!.rival!.comparison }
    let tests = places.reduce(0) { sum, stage in
      let dampings = winners[stage]!.methods.map { max(groups.dampings(columns[$0]).count, 1) }
      return sum + (areChosen ? dampings.max() ?? 1 : 1)
    }
    PairedComparison.correct(&comparisons, for: tests)
    for (stage, comparison) in zip(places, comparisons) {
      winners[stage]?.rival?.comparison = comparison
    }
    return winners
  }

  private func winner(_ row: [Choice?], _ baseline: [ScoreRow]?) -> Verdict.Winner? {
    /// `nil` for the method is plain gradient descent.
    var candidates: [(method: Int?, mean: Double, rows: [ScoreRow])] = []
    for (method, choice) in row.enumerated() where columns[method].role == .method {
      if let choice, !choice.mean.isNaN { candidates.append((method, choice.mean, choice.rows)) }
    }
    if candidates.isEmpty { return nil }
    if measure == .ratio, let baseline { candidates.append((nil, 1, baseline)) }
    // Plain gradient descent stands last: a method that equals it is named.
    let best = candidates.reduce(candidates[0]) { $1.mean < $0.mean ? $1 : $0 }
    var winner = Verdict.Winner(methods: best.method.map { [$0] } ?? [], mean: best.mean)
    var hardest = -1.0
    // Of rivals that are told apart as badly the closest one is shown.
    for other in candidates.sorted(by: { $0.mean < $1.mean }) where other.method != best.method {
      let comparison = PairedComparison(best.rows, other.rows, whole: facts.whole)
      if comparison.areEqual {
        if let method = other.method, best.method != nil { winner.methods.append(method) }
        continue
      }
      // Where the mean and the batches disagree nothing is told apart.
      let doubt = comparison.wins > comparison.losses ? comparison.p ?? 1 : 2
      if doubt > hardest {
        hardest = doubt
        winner.rival = .init(method: other.method, comparison: comparison)
      }
    }
    winner.methods.sort()
    return winner
  }

  // MARK: - Beside them

  private func surroundings(_ stage: Stages.Stage) -> Verdict.Surroundings {
    let rows = batches[stage.checkpoint] ?? []
    return .init(
      batches: rows.count, meanLoss: Summary(rows.map(\.meanLoss)).mean,
      imbalance: Summary(rows.map(\.gradientNormRatio)).mean,
      accuracy: EpochRow.of(stage.checkpoint, rows.first?.place.epoch, in: epochs)?.accuracy)
  }
}
