/// Work in matrix products.
public struct Work: Sendable, Equatable, Codable {
  /// Multiplications and additions.
  public var operations: Double
  /// Bytes of operands and results, each counted once a product: what memory would have to move if
  /// nothing stayed in a cache between them.
  public var bytes: Double

  /// No work at all.
  public static var none: Work { Work(operations: 0, bytes: 0) }

  /// Of both together.
  public static func + (a: Work, b: Work) -> Work {
    Work(operations: a.operations + b.operations, bytes: a.bytes + b.bytes)
  }

  static func * (count: Double, work: Work) -> Work {
    Work(operations: count * work.operations, bytes: count * work.bytes)
  }
}
