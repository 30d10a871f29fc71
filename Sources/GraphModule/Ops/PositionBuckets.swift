/// Which row of a bias table belongs to each pair of positions, a function of their distance alone.
/// So one row per distance is kept and not one per pair, and all layers of a stack can share them.
package struct PositionBuckets: Sendable {
  /// Where each query stands among the keys.
  private let queries: [Int]
  private let keys: Int
  private let farthest: Int
  /// For every distance from a query to a key, from `-farthest` on.
  private let rows: [Int32]

  /// - Parameters:
  ///   - queries: Their positions among the keys, not negative.
  ///   - row: Of the table, by the distance from a query to a key; -1 where the key is hidden.
  package init(queries: [Int], keys: Int, row: (_ distance: Int) -> Int32) {
    precondition(queries.allSatisfy { $0 >= 0 }, "PositionBuckets: a negative position")
    self.queries = queries
    self.keys = keys
    let farthest = queries.max() ?? 0
    self.farthest = farthest
    rows = (0..<farthest + keys).map { row($0 - farthest) }
  }

  func fits(queries: Int, keys: Int) -> Bool { self.queries.count == queries && self.keys == keys }

  /// Those of some of the queries.
  func taking(_ places: [Int]) -> PositionBuckets {
    PositionBuckets(queries: places.map { queries[$0] }, keys: keys) { rows[$0 + farthest] }
  }

  /// The run of keys that some of these queries see; `nil` where one of them sees none.
  func keys(seenBy queries: Range<Int>) -> Range<Int>? {
    guard let nearest = rows.firstIndex(where: { $0 >= 0 }),
      let last = rows.lastIndex(where: { $0 >= 0 })
    else { return nil }
    var (first, end) = (keys, 0)
    for query in queries {
      let start = farthest - self.queries[query]
      let (low, high) = (max(0, nearest - start), min(keys, last + 1 - start))
      // Between the first and the last distance others may be hidden.
      guard low < high, (low..<high).contains(where: { rows[start + $0] >= 0 }) else {
        return nil
      }
      (first, end) = (min(first, low), max(end, high))
    }
    return first..<end
  }

  /// Calls `body` with every pair of these queries and keys that is not hidden, in row-major order.
  func forEachVisible(
    _ queries: Range<Int>, _ keys: Range<Int>, _ body: (_ pair: Int, _ row: Int) -> Void
  ) {
    rows.withUnsafeBufferPointer { rows in
      var pair = 0
      for query in queries {
        let first = farthest - self.queries[query]
        for key in keys {
          let row = rows[first + key]
          if row >= 0 { body(pair, Int(row)) }
          pair += 1
        }
      }
    }
  }

  var largestRow: Int { Int(rows.max() ?? -1) }

  /// Calls `body` with every pair that is not hidden, in row-major order of `[queries, keys]`.
  func forEachVisible(_ body: (_ pair: Int, _ row: Int) -> Void) {
    forEachVisible(queries.indices, 0..<keys, body)
  }
}
