import Metrics

/// What the table of batches says about the scores of some of them.
struct BatchFacts {
  /// Those whose reference is the natural gradient up to rounding or tolerance.
  private let converged: Set<Place>
  /// Those that have all samples of the data: but for drawn labels they are one batch.
  let whole: Set<Place>

  init(_ rows: [BatchRow]) {
    converged = Set(rows.filter(\.hasConvergedReference).map(\.place))
    whole = Set(rows.filter { $0.drawn == $0.dataSamples }.map(\.place))
  }

  /// Whether the spread of a direction's scores is more than rounding.
  func varies(_ scores: [ScoreRow]) -> Bool {
    scores.contains { $0.direction.draws != nil || !whole.contains($0.place) }
  }

  /// The mean efficiency that is proved; `nil` where every reference converged, or nothing is.
  func provedEfficiency(_ scores: [ScoreRow]) -> Double? {
    if scores.allSatisfy({ converged.contains($0.place) }) { return nil }
    let low = Summary(
      scores.map { converged.contains($0.place) ? $0.efficiency : $0.efficiencyLow }
    ).mean
    return low.isNaN ? nil : low
  }
}
