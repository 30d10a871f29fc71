import Checkpoints

/// A checkpoint that could not be scored, or not to its end.
public struct CheckpointFailure: Sendable {
  /// Its path, or that of its adapter.
  public var checkpoint: String
  /// Its index in the plan; `nil` where it was left out of it.
  public var index: Int?
  /// The batch that failed; `nil` where none was begun.
  public var batch: Int?
  /// Why.
  public var error: EvaluationError
}

/// The same as records and journals have it.
public struct FailureRecord: Sendable, Equatable, Codable {
  /// As of `CheckpointFailure`.
  public var checkpoint: String
  /// As of `CheckpointFailure`.
  public var index: Int?
  /// As of `CheckpointFailure`.
  public var batch: Int?
  /// What was wrong, with settings by their plain names.
  public var error: String

  /// The record of a failure.
  public init(_ failure: CheckpointFailure) {
    (checkpoint, index, batch) = (failure.checkpoint, failure.index, failure.batch)
    error = failure.error.description
  }

  var json: ReportJSON {
    .members([
      "checkpoint": .text(checkpoint), "batch": .integer(batch), "error": .text(error),
    ])
  }
}
