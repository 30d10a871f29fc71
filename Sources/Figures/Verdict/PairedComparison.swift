import Metrics

/// Two directions at one stage, batch by batch: in how many of them the first has the smaller gamma.
package struct PairedComparison: Equatable, Sendable {
  package private(set) var wins = 0
  package private(set) var losses = 0
  /// Pairs that differ by no more than rounding may have made of them.
  package private(set) var ties = 0
  /// Batches in which one of the two has no gamma, or is missing.
  package private(set) var missing = 0
  /// Whether all of these are one batch over and over.
  package private(set) var isOneBatch = false
  /// Whether only the drawn labels differ from pair to pair.
  package private(set) var isOverDraws = false
  /// Of the sign test, corrected for the tests beside it; `nil` where there can be none.
  package private(set) var p: Double?
  /// How many tests it was corrected for.
  package private(set) var tests = 1

  /// The level at which something is called sure.
  package static let level = 0.05

  /// - Parameters:
  ///   - whole: Batches that have all samples of the data.
  init(_ first: [ScoreRow], _ second: [ScoreRow], whole: Set<Place>) {
    let (mine, others) = (Self.byBatch(first), Self.byBatch(second))
    var pairs: [(Double, Double)] = []
    var isWhole = true
    for (key, row) in mine {
      guard let other = others[key], !row.gamma.isNaN, !other.gamma.isNaN else {
        missing += 1
        continue
      }
      pairs.append((row.gamma, other.gamma))
      isWhole = isWhole && whole.contains(row.place)
      if Self.areAlike(row, other) {
        ties += 1
      } else if row.gamma < other.gamma {
        wins += 1
      } else {
        losses += 1
      }
    }
    missing += others.keys.count { mine[$0] == nil }
    let areEqual = pairs.dropFirst().allSatisfy { Self.repeats($0, pairs[0]) }
    let draws = (first + second).contains { $0.direction.draws != nil }
    isOneBatch = pairs.count > 1 && isWhole && (!draws || areEqual)
    isOverDraws = isWhole && draws && !isOneBatch
    if pairs.count > 1 && !isOneBatch { p = SignTest(wins: wins, losses: losses).p }
  }

  /// Pairs that tell something.
  package var decided: Int { wins + losses }
  package var pairs: Int { wins + losses + ties }

  /// Whether the two are the same direction, as far as numbers show.
  var areEqual: Bool { pairs > 0 && decided == 0 }

  /// Whether so many pairs could be sure at all.
  package var canBeSure: Bool {
    p != nil && SignTest.least(pairs: pairs) * Double(tests) <= Self.level
  }

  /// Whether the first is ahead, and hardly by chance.
  package var isSurelyAhead: Bool { wins > losses && (p ?? 1) <= Self.level }
  package var isSurelyBehind: Bool { losses > wins && (p ?? 1) <= Self.level }

  /// Corrects the tests of one statement for each other.
  ///
  /// - Parameter tests: Of these and of those that might have been in their place.
  static func correct(_ comparisons: inout [PairedComparison], for tests: Int) {
    let tested = comparisons.indices.filter { comparisons[$0].p != nil }
    let tests = max(tests, comparisons.count)
    let adjusted = holmAdjusted(tested.map { comparisons[$0].p! }, of: tests)
    for index in comparisons.indices { comparisons[index].tests = tests }
    for (index, p) in zip(tested, adjusted) { comparisons[index].p = p }
  }

  private struct Key: Hashable {
    var batch: String
    /// A checkpoint may be given several times.
    var occurrence: Int
  }

  private static func byBatch(_ rows: [ScoreRow]) -> [Key: ScoreRow] {
    var counts: [String: Int] = [:]
    var result: [Key: ScoreRow] = [:]
    for row in rows {
      let occurrence = counts[row.place.batch, default: 0]
      counts[row.place.batch] = occurrence + 1
      result[Key(batch: row.place.batch, occurrence: occurrence)] = row
    }
    return result
  }

  /// Whether the difference is within what the estimates of their errors leave open.
  private static func areAlike(_ a: ScoreRow, _ b: ScoreRow) -> Bool {
    if a.gamma == b.gamma { return true }
    let error = [a.gammaError, b.gammaError].filter { !$0.isNaN }.reduce(0, +)
    return abs(a.gamma - b.gamma) <= error * max(a.gamma, b.gamma)
      && a.gamma.isFinite && b.gamma.isFinite
  }

  /// One batch over and over has rounding for a spread.
  private static func repeats(_ a: (Double, Double), _ b: (Double, Double)) -> Bool {
    func alike(_ a: Double, _ b: Double) -> Bool { a == b || abs(a - b) <= 1e-6 * max(a, b) }
    return alike(a.0, b.0) && alike(a.1, b.1)
  }
}
