import Metrics

/// How far the numbers of a verdict carry, in sentences: batches, the test, references, rounding.
struct Confidence {
  let sentences: [String]

  /// - Parameters:
  ///   - scores, batches: Of the verdict's run.
  init(_ verdict: Verdict, scores: [ScoreRow], batches: [BatchRow]) {
    sentences =
      verdict.notes
      + [
        Self.batches(verdict, batches), Self.overlap(batches), Self.test(verdict),
        Self.selection(verdict),
        Self.references(batches), scores.markNote.map { $0 + " Cells with them have a star." },
      ].compactMap { $0 }
  }

  private static func batches(_ verdict: Verdict, _ rows: [BatchRow]) -> String? {
    let counts = verdict.best.map { row in row.compactMap { $0?.batches }.max() ?? 0 }
    guard let low = counts.min(), let high = counts.max(), high > 0 else { return nil }
    let samples = rows.map(\.drawn)
    let size = samples.min().map {
      $0 == samples.max() ? " of \(shown($0, digits: 12)) samples" : ""
    }
    let data = Set(rows.compactMap(\.dataSamples))
    return (low == high ? "\(high) batch\(high == 1 ? "" : "es")" : "\(low) to \(high) batches")
      + (size ?? "") + (data.count == 1 ? " from \(shown(data.first!, digits: 12))" : "")
      + (verdict.stages.count > 1 ? " at each stage." : ".")
      + (high == 1 ? " What other batches would say is not known." : "")
  }

  private static func overlap(_ rows: [BatchRow]) -> String? {
    if !rows.isEmpty && rows.allSatisfy({ $0.drawn == $0.dataSamples }) {
      let checkpoints = Set(rows.map(\.place.checkpoint)).count
      return rows.count > checkpoints
        ? "Every batch has all samples of the data: they are one batch, and only drawn labels can differ."
        : nil
    }
    let shares = rows.compactMap { row in row.dataSamples.map { row.drawn / $0 } }
    guard let share = shares.max(), share >= 0.25,
      rows.count > Set(rows.map(\.place.checkpoint)).count
    else { return nil }
    return
      "Batches overlap: two of them have \(shown(100 * share, digits: 2)) % of their samples in common on "
      + "average, and what they agree on holds for batches of these samples."
  }

  private static func test(_ verdict: Verdict) -> String? {
    let all =
      (verdict.best.joined().compactMap { $0?.comparison }
        + verdict.winners.compactMap { $0?.rival?.comparison })
    if !all.contains(where: { $0.p != nil }) { return nil }
    if !verdict.canBeSure {
      let pairs = all.map(\.pairs).max() ?? 0
      return
        "No sign test can be sure at 5 %: the least p of \(pairs) batches is "
        + "\(shown(SignTest.least(pairs: pairs), digits: 2)), before several tests are "
        + "corrected for."
    }
    return
      "Sure: an exact two-sided sign test over batches, paired by batch, has p ≤ 0.05 after Holm's correction "
      + "for the stages of a statement" + (verdict.hasDampings ? " and the dampings" : "")
      + " that it is about."
  }

  private static func selection(_ verdict: Verdict) -> String? {
    let tests = verdict.methods.contains { $0.dampings > 1 }
    return tests
      ? "The damping of each method is chosen by the same batches that it is judged by." : nil
  }

  private static func references(_ rows: [BatchRow]) -> String? {
    let referenced = rows.filter { !$0.referenceStop.isEmpty }
    if referenced.isEmpty {
      return "There is no reference: efficiencies are what is proved at the least."
    }
    let failed = referenced.count { !$0.hasConvergedReference }
    let bound = referenced.compactMap(\.referenceExcessBound).filter(\.isFinite).max()
    let excess = bound.map {
      "its γ is at most \(shown(100 * $0, digits: 2)) % above the least possible"
    }
    if failed == 0 {
      return "The reference converged in all \(referenced.count) batches"
        + (excess.map { ": " + $0 } ?? "") + "."
    }
    return
      "The reference did not converge in \(failed) of \(referenced.count) batches"
      + (excess.map { " (\($0))" } ?? "")
      + ": efficiencies there lie between what is proved, ≥, and the number shown. Ratios to sgd do not depend "
      + "on it."
  }
}
