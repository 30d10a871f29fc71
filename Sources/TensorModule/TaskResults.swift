/// What the tasks of a pool's call hand back, each in a place of its own: as with all that they write,
/// no two write the same memory, and the call's return is what makes it seen.
package final class TaskResults<Value> {
  private let places: UnsafeMutableBufferPointer<Value?>

  package init(count: Int) {
    places = .allocate(capacity: count)
    places.initialize(repeating: nil)
  }

  deinit {
    places.deinitialize()
    places.deallocate()
  }

  /// Of its task alone.
  package func set(_ task: Int, _ value: Value) { places[task] = value }

  /// In the order of tasks, once all of them have run.
  package var all: [Value] { places.map { $0! } }
}

extension WorkerPool {
  /// What tasks return that run at the same time, in their order.
  ///
  /// - Throws: The error of the first of them that has one, after all have run.
  package func results<Value, Failure: Error>(
    _ count: Int, _ body: (_ task: Int) throws(Failure) -> Value
  ) throws(Failure) -> [Value] {
    let outcomes = TaskResults<Result<Value, Failure>>(count: count)
    run(count) { task, _ in
      outcomes.set(task, Result { () throws(Failure) in try body(task) })
    }
    var values: [Value] = []
    for outcome in outcomes.all { values.append(try outcome.get()) }
    return values
  }
}
