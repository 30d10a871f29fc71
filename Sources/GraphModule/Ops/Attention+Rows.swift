// Where heads lie in queries, keys and values.
extension Attention {
  /// Start of one head's columns in the rows of one sample.
  func row<S>(_ x: UnsafePointer<S>, _ sample: Int, _ rows: Int, _ head: Int)
    -> UnsafePointer<S>
  {
    x + sample * rows * columns + head * width
  }

  func row<S>(_ x: UnsafeMutablePointer<S>, _ sample: Int, _ rows: Int, _ head: Int)
    -> UnsafeMutablePointer<S>
  {
    x + sample * rows * columns + head * width
  }

  /// The same of keys or values, for a head of queries.
  func keyRow<S>(_ x: UnsafePointer<S>, _ sample: Int, _ head: Int) -> UnsafePointer<S> {
    x + sample * keys * keyColumns + keyHead(head) * width
  }

  func keyRow<S>(
    _ x: UnsafeMutablePointer<S>, _ sample: Int, _ head: Int
  ) -> UnsafeMutablePointer<S> {
    x + sample * keys * keyColumns + keyHead(head) * width
  }

  /// Which head of keys belongs to a head of queries; -1 before the first.
  func keyHead(_ head: Int) -> Int { head < 0 ? -1 : head * keyColumns / columns }
}
