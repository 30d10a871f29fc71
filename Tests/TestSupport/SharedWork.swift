import TensorModule

/// The same work on 1, 2, 3 and 7 workers, who share every call that has more than one task, however
/// small: nothing that tests compute is worth a second thread.
package enum SharedWork {
  package static let threads = [1, 2, 3, 7]

  package static func pool(_ threads: Int) -> WorkerPool {
    WorkerPool(threads: threads, worthAThread: 0)
  }

  /// How many calls of `body` several workers of the pool have shared.
  package static func calls<T>(_ pool: WorkerPool, _ body: () throws -> T) rethrows -> (T, Int) {
    let before = pool.sharedCalls
    let result = try body()
    return (result, pool.sharedCalls - before)
  }
}
