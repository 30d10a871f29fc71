import Synchronization

/// How much memory may be taken by numbers that cannot be read where they lie in a file: what is
/// compressed, in another byte order, or not row-major. All tensors of an archive share one; sizes
/// are what the file declares, and are looked at before anything is allocated.
package final class UnpackingBudget: Sendable {
  private let left: Mutex<Int>

  package init(_ bytes: Int) { left = Mutex(max(bytes, 0)) }

  /// - Throws: `tooLargeToUnpack` if less is left.
  func take(_ count: Int, for location: CheckpointError.Location) throws(CheckpointError) {
    let rest: Int? = left.withLock { left in
      if count > left { return left }
      left -= count
      return nil
    }
    if let rest {
      throw CheckpointError(.tooLargeToUnpack(needed: count, left: rest), at: location)
    }
  }

  /// What was taken for a while.
  func give(back count: Int) { left.withLock { $0 += count } }
}
