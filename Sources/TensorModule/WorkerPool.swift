import Dispatch
import Synchronization

/// Runs numbered tasks on a fixed number of threads.
///
/// Tasks are handed out in order, one at a time. What a task computes must depend on its number
/// alone, never on the worker: then a result has the same bits for every number of threads. The
/// worker number (`0 ..< threads`) only picks scratch memory.
public final class WorkerPool: Sendable {
  /// Workers, the caller's thread among them.
  public let threads: Int
  /// Operations from which on several threads share the tasks of one call.
  private let worthAThread: Double
  private let shared = Atomic<Int>(0)

  /// - Parameter worthAThread: Operations from which on several threads share the tasks of one
  ///   call; no result depends on it.
  public init(threads: Int, worthAThread: Double = WorkerPool.worthAThread) {
    precondition(threads > 0, "WorkerPool: \(threads) threads")
    self.threads = threads
    self.worthAThread = worthAThread
    BLAS.useOneThreadPerCall()
  }

  /// Some 60 microseconds of small products.
  public static var worthAThread: Double { 5e6 }

  /// How many calls several workers have shared, each with one task at least.
  public var sharedCalls: Int { shared.load(ordering: .relaxed) }

  /// Calls `body(task, worker)` once for every task in `0 ..< tasks` and waits for all. Calls run
  /// at the same time: two tasks may not write the same memory.
  ///
  /// - Parameter operations: Of all tasks together, where they are known: few are done sooner than
  ///   another thread is awake.
  public func run(
    _ tasks: Int, operations: Double = .infinity, _ body: (_ task: Int, _ worker: Int) -> Void
  ) {
    let workers = operations < worthAThread ? 1 : min(threads, tasks)
    if workers <= 1 {
      for task in 0..<tasks { body(task, 0) }
      return
    }
    shared.add(1, ordering: .relaxed)
    // The first task of each worker is that of its own number.
    let next = Atomic<Int>(workers)
    withoutActuallyEscaping(body) { body in
      // Safe: `body` lives until `concurrentPerform` returns, and by contract its concurrent
      // calls share no memory that one of them writes. The compiler cannot see the contract: a
      // `@Sendable` body could not capture the pointers that all of them write through.
      nonisolated(unsafe) let body = body
      DispatchQueue.concurrentPerform(iterations: workers) { worker in
        var task = worker
        while task < tasks {
          body(task, worker)
          task = next.add(1, ordering: .relaxed).oldValue
        }
      }
    }
  }
}

extension WorkerPool {
  /// Calls `body` once for each of some ranges that make up `0 ..< count`. Ranges depend on the
  /// count alone.
  public func forEachRange(_ count: Int, _ body: (_ number: Int, _ range: Range<Int>) -> Void) {
    let size = Self.rangeSize
    run(Self.rangeCount(count)) { number, _ in
      body(number, number * size..<min(count, (number + 1) * size))
    }
  }

  /// Ranges that `forEachRange` has for so many elements.
  public static func rangeCount(_ count: Int) -> Int { (count + rangeSize - 1) / rangeSize }

  /// Elements: half a megabyte of floats, which a second-level cache holds.
  private static var rangeSize: Int { 1 << 17 }

  /// The largest of `value(number, range)` over these ranges, 0 for none; NaN if any is.
  public func largest(_ count: Int, _ value: (Int, Range<Int>) -> Double) -> Double {
    let found = Vector<Double>(count: Self.rangeCount(count))
    forEachRange(count) { found.pointer[$0] = value($0, $1) }
    return Kernels.largest(UnsafePointer(found.pointer), count: found.count)
  }
}
