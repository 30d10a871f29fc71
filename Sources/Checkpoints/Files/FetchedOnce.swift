import Synchronization

/// Bytes that an owner makes when they are first asked for, by whatever thread.
package struct FetchedOnce: ~Copyable, Sendable {
  private let bytes = Mutex<OwnedBytes?>(nil)

  package init() {}

  /// - Parameter fetch: Called once, unless it throws. The bytes live as long as this does.
  package func load(
    _ fetch: () throws(CheckpointError) -> OwnedBytes
  ) throws(CheckpointError) -> UnsafeRawBufferPointer {
    let owned = try bytes.withLock { kept throws(CheckpointError) in
      if let kept { return kept }
      let made = try fetch()
      kept = made
      return made
    }
    return owned.load()
  }
}
