import Synchronization

/// Values that are formed when they are first asked for, and once, from whatever thread.
final class FormedOnce<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  private let known = Mutex<[Key: Value]>([:])

  /// - Parameter form: May not ask for another value of the same collection.
  func value(_ key: Key, _ form: () -> Value) -> Value {
    known.withLock { known in
      if let value = known[key] { return value }
      let value = form()
      known[key] = value
      return value
    }
  }
}
