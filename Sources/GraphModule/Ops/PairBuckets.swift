/// Rows of a bias table for pairs of positions, which their distance decides: as many numbers as there
/// are distances, where a table of all pairs would grow with the square of a sequence.
package struct PairBuckets: Sendable {
  /// The position of each query among the keys.
  package let rows: [Int]
  package let keys: Int
  /// Per distance, from that of the last row to the first key on.
  private let byDistance: [Int32]
  /// The place of distance 0.
  private let origin: Int

  /// - Parameter bucket: Of the distance from a query to a key; -1 where the key is hidden.
  package init(rows: [Int], keys: Int, bucket: (_ distance: Int) -> Int32) {
    self.rows = rows
    self.keys = keys
    origin = rows.max() ?? 0
    byDistance = (-origin..<max(keys - (rows.min() ?? 0), -origin + 1)).map(bucket)
  }

  package subscript(query: Int, key: Int) -> Int {
    Int(byDistance[origin + key - rows[query]])
  }
}
