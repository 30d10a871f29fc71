import Checkpoints

/// What decides the numbers of a run: a journal is continued only by a run with the same.
///
/// The number of threads is no part of it: results have the same bits for every one. The processor
/// is, as far as it decides which kernels run: they order their sums differently.
struct RunIdentity: Codable, Sendable, Equatable {
  /// A checkpoint and the numbers of its batches, of all shards.
  struct Checkpoint: Codable, Sendable, Equatable {
    /// The sum over all that is read for it and the names of its directions; where files lie does not
    /// matter.
    var content: String
    var firstBatch: Int
    var batches: Int
    /// For reports that are written without it.
    var input: CheckpointInput
    var description: CheckpointDescription

    var path: String { description.path }

    var range: Range<Int> { firstBatch..<firstBatch + batches }
  }

  static let format = "approx-eval-journal/7"

  /// Of the journal.
  var format = RunIdentity.format
  /// Of the package: another one may compute otherwise.
  var version: String
  var settings: RecordedSettings
  var checkpoints: [Checkpoint]
  /// What could not be planned, and is no part of any shard.
  var leftOut: [FailureRecord]
  /// Which part of the batches is scored; `nil`: all.
  var shard: Shard?
  var files: [FileRecord]
  /// Which of our kernels the processor runs, and what OpenBLAS says of its own.
  var kernels: String
  var blas: String

  init(_ record: RunRecord, _ plan: RunPlan) {
    version = packageVersion
    settings = record.settings
    shard = plan.shard
    leftOut = plan.leftOut.map { FailureRecord($0) }
    files = record.files
    (kernels, blas) = (record.machine.kernels, record.machine.blas)
    let sums = Dictionary(record.files.map { ($0.path, $0.sha256) }) { first, _ in first }
    checkpoints = plan.checkpoints.map { checkpoint in
      let known = checkpoint.files.compactMap { sums[$0] }
      return Checkpoint(
        // Made without files, as in tests, it is known by its name.
        content: known.isEmpty
          ? checkpoint.description.path : FileRecord.sum(known + checkpoint.directions),
        firstBatch: checkpoint.batches.lowerBound, batches: checkpoint.batches.count,
        input: checkpoint.input, description: checkpoint.description)
    }
  }

  var steps: RunSteps { RunSteps(checkpoints.map { ($0.path, $0.range) }, shard: shard) }
}
