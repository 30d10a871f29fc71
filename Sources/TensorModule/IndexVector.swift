/// Whole numbers at a fixed address, for inputs such as token ids.
public final class IndexVector: @unchecked Sendable {
  public let count: Int
  public let pointer: UnsafeMutablePointer<Int32>

  public init(_ values: [Int32]) {
    count = values.count
    pointer = .allocate(capacity: max(values.count, 1))
    pointer.initialize(from: values, count: values.count)
  }

  deinit { pointer.deallocate() }
}
