import Checkpoints

// What several batches from one file have in common. Their spread is what reports call a deviation,
// and means less the more of their samples they share.

extension Report.Entry {
  /// Whether every batch has all samples of the data: then they are one batch, but for labels that
  /// are drawn anew.
  var isOneBatch: Bool {
    guard let data = description.data, results.count > 1 else { return false }
    return results.allSatisfy { $0.drawn == data.samples }
  }

  /// Whether rows of a direction differ from batch to batch by more than rounding.
  ///
  /// - Parameter draws: Of the direction, `nil` if it has none.
  func varies(draws: Int?) -> Bool {
    if !isOneBatch { return true }
    return draws != nil && description.data?.carriesDraws == false
  }

  /// What a reader of deviations and standard errors must know.
  var spreadNote: String? {
    guard let data = description.data, let size = results.map(\.drawn).max(), results.count > 1
    else { return nil }
    if isOneBatch {
      let drawn = methods { varies(draws: $0.monteCarloSamples) }
      return
        "Each of the \(grouped(results.count)) batches has all \(grouped(data.samples)) samples "
        + "of the data: they are one batch, and "
        + (drawn.isEmpty
          ? "\(names(.batches)) 1 says as much."
          : "what spread there is comes from the drawn labels of \(listed(drawn)).")
    }
    // Two batches that are drawn independently share size / samples of themselves on average, and a
    // mean over a batch has that much less variance than one over new samples.
    let share = Double(size) / Double(data.samples)
    guard share >= Self.noticeableShare || results.count > data.samples / size else { return nil }
    let common = shortened(100 * share, digits: 2)
    let missing = shortened(100 * (1 - (1 - share).squareRoot()), digits: 2)
    return
      "Batches of \(grouped(size)) from \(grouped(data.samples)) samples overlap: two of them have "
      + "\(common) % of their samples in common on average. Their deviations are some \(missing) % "
      + "smaller than those of batches of new samples, and their standard errors are of a mean over "
      + "batches of these samples, not of others."
  }

  /// With so much in common a deviation is an eighth too small.
  private static var noticeableShare: Double { 0.25 }

  /// The names of methods that have such a row, each once.
  func methods(where isWanted: (Score) -> Bool) -> [String] {
    var found: [String] = []
    for score in results.flatMap(\.scores) where isWanted(score) && !found.contains(score.method) {
      found.append(score.method)
    }
    return found
  }
}

extension Report {
  /// Those of all checkpoints, each once.
  var spreadNotes: [String] {
    var notes: [String] = []
    for note in entries.compactMap(\.spreadNote) where !notes.contains(note) { notes.append(note) }
    return notes
  }
}
