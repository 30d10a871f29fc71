/// A number of bytes, or of anything else that is planned, that stays at the largest instead of
/// overflowing: what comes of sizes in a file is compared with a limit before it is used.
public struct ByteCount: Comparable, Hashable, Sendable, ExpressibleByIntegerLiteral {
  /// Not negative.
  public let value: Int

  /// Negative numbers count as none.
  public init(_ value: Int) { self.value = max(value, 0) }
  public init(integerLiteral value: Int) { self.init(value) }

  /// The room of so many scalars.
  public init<T>(_ count: ByteCount, of _: T.Type) {
    self = count * ByteCount(MemoryLayout<T>.stride)
  }

  /// What a vector of so many scalars takes.
  public init<T>(vector count: ByteCount, of _: T.Type) {
    self = VectorMemory.taken(by: ByteCount(count, of: T.self))
  }

  /// The sum, or the largest number.
  public static func + (a: ByteCount, b: ByteCount) -> ByteCount {
    let (sum, overflow) = a.value.addingReportingOverflow(b.value)
    return ByteCount(overflow ? .max : sum)
  }

  /// The product, or the largest number.
  public static func * (a: ByteCount, b: ByteCount) -> ByteCount {
    let (product, overflow) = a.value.multipliedReportingOverflow(by: b.value)
    return ByteCount(overflow ? .max : product)
  }

  /// The product, or the largest number.
  public static func * (a: Int, b: ByteCount) -> ByteCount { ByteCount(a) * b }

  /// What is left of the first, 0 where it is less.
  public static func - (a: ByteCount, b: ByteCount) -> ByteCount {
    a.value > b.value ? ByteCount(a.value - b.value) : 0
  }

  /// Adds, up to the largest number.
  public static func += (a: inout ByteCount, b: ByteCount) { a = a + b }

  public static func < (a: ByteCount, b: ByteCount) -> Bool { a.value < b.value }
}

extension Sequence {
  /// The sum of a number for each element. Inlinable, so that it is compiled for each kind of sequence: plans of memory
  /// are made of these sums, at the start of every run.
  @inlinable public func total(_ count: (Element) -> ByteCount) -> ByteCount {
    reduce(0) { $0 + count($1) }
  }
}
