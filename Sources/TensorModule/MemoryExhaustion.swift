import Synchronization

/// What happens when the system has no memory left for a vector.
///
/// Vectors are made in the middle of passes over the graph, in loops that cannot fail otherwise, and on
/// worker threads. What a computation needs is known beforehand and refused in an orderly way if it is
/// too much; here only a system is left that has promised more than it has. There is no way back from
/// that, as there is none from an array of Swift's own that cannot grow. So nothing is thrown: a program
/// may set a handler, which says what has happened and ends the process.
public enum MemoryExhaustion {
  /// What is called with the size of the block; it does not return.
  public typealias Handler = @Sendable (_ bytes: Int) -> Never

  /// Called with the size of the block that could not be had.
  public static let handler = Mutex<Handler>({ bytes in
    preconditionFailure("there is no memory for \(bytes) bytes")
  })

  static func end(_ bytes: Int) -> Never {
    let handler = handler.withLock { $0 }
    handler(bytes)
  }
}
