/// What differs between the scores of two results folders: rows that one of them lacks, and rows whose
/// gamma is another number, beyond a tolerance and beyond what rounding leaves open.
package struct ResultsDifference: Sendable {
  /// What is scored on one batch.
  package struct Key: Hashable, Sendable {
    package var checkpoint: String
    package var batch: String
    package var method: String
    package var role: ScoredDirection.Role
    package var damping: String?
    package var draws: Int?
    /// Counts rows that are alike in all of this: a checkpoint may be given several times.
    package var occurrence = 0
  }

  /// A row that has moved.
  package struct Row: Sendable {
    package var key: Key
    /// NaN where there is none.
    package var before: Double
    package var after: Double
    /// `|after / before - 1|`, the larger of both ways; infinite where one of them is no number.
    package var change: Double
    /// By how much it may move: the tolerance, or the errors of both numbers if these are larger.
    package var allowed: Double
  }

  /// Worst first.
  package private(set) var moved: [Row] = []
  /// Rows of one folder alone.
  package private(set) var onlyBefore: [Key] = []
  package private(set) var onlyAfter: [Key] = []
  /// Rows of both.
  package private(set) var compared = 0
  /// The largest change of all rows of both.
  package private(set) var largestChange = 0.0

  package var isEmpty: Bool { moved.isEmpty && onlyBefore.isEmpty && onlyAfter.isEmpty }

  /// - Parameter tolerance: Relative to gamma.
  /// - Throws: `.noTables` where a folder has no scores.
  package init(_ before: Results, _ after: Results, tolerance: Double) throws(TableError) {
    let (old, new) = (try Self.scores(before), try Self.scores(after))
    let names = Self.names(old, new)
    let newKeys = Self.keys(new)
    var rows = Dictionary(uniqueKeysWithValues: zip(newKeys, new))
    for (row, before) in zip(old, Self.keys(old)) {
      var key = before
      key.checkpoint = names[key.checkpoint] ?? key.checkpoint
      guard let other = rows.removeValue(forKey: key) else {
        onlyBefore.append(before)
        continue
      }
      compared += 1
      let change = Self.change(row.gamma, other.gamma)
      largestChange = max(largestChange, change)
      // A table without errors has none to allow for.
      let errors = [row.gammaError, other.gammaError].filter { !$0.isNaN }.reduce(0, +)
      let allowed = max(tolerance, errors)
      if change > allowed {
        moved.append(
          Row(key: key, before: row.gamma, after: other.gamma, change: change, allowed: allowed))
      }
    }
    // In the order of the table.
    onlyAfter = newKeys.filter { rows[$0] != nil }
    moved.sort { ($0.change / $0.allowed) > ($1.change / $1.allowed) }
  }

  private static func scores(_ results: Results) throws(TableError) -> [ScoreRow] {
    guard let scores = results.scores else {
      throw TableError(.noTables(["scores.csv"]), file: results.folder)
    }
    return scores
  }

  /// No two are the same.
  private static func keys(_ rows: [ScoreRow]) -> [Key] {
    var counts: [Key: Int] = [:]
    return rows.map { row in
      var key = Key(
        checkpoint: row.place.checkpoint, batch: row.place.batch, method: row.direction.method,
        role: row.direction.role, damping: row.direction.damping, draws: row.direction.draws)
      let alike = counts[key, default: 0]
      counts[key] = alike + 1
      key.occurrence = alike
      return key
    }
  }

  /// Names of checkpoints by those of the other folder, which may have moved: in order, where none is
  /// the same and there are as many.
  private static func names(_ old: [ScoreRow], _ new: [ScoreRow]) -> [String: String] {
    func checkpoints(_ rows: [ScoreRow]) -> [String] {
      var names: [String] = []
      var known: Set<String> = []
      for row in rows where known.insert(row.place.checkpoint).inserted {
        names.append(row.place.checkpoint)
      }
      return names
    }
    let (a, b) = (checkpoints(old), checkpoints(new))
    guard a.count == b.count, Set(a).isDisjoint(with: b) else { return [:] }
    return Dictionary(uniqueKeysWithValues: zip(a, b))
  }

  private static func change(_ a: Double, _ b: Double) -> Double {
    if a == b || a.isNaN && b.isNaN { return 0 }
    let change = max(abs(b / a - 1), abs(a / b - 1))
    return change.isNaN ? .infinity : change
  }
}
