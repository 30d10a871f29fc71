/// Whole numbers at a fixed address, for inputs such as token ids.
public final class IndexVector: @unchecked Sendable {
  /// How many there are.
  public let count: Int
  /// The first of them; the vector owns them.
  public let pointer: UnsafeMutablePointer<Int32>

  /// A copy of these.
  public init(_ values: [Int32]) {
    count = values.count
    pointer = .allocate(capacity: max(values.count, 1))
    pointer.initialize(from: values, count: values.count)
  }

  deinit { pointer.deallocate() }
}
