import Checkpoints
import Foundation

/// The journal of a run in its output folder, `journal.jsonl`: a line on the run, then a line for
/// each finished batch, on the disk before the next batch begins. So whatever ends the process, at
/// most the batch in work is lost.
///
/// The file appears with the first finished batch. It stays when the run has ended, marked as
/// reported: a run that repeats the command with `--resume` then writes the reports again without
/// computing, one without `--resume` replaces it. The lock that keeps a second process out ends
/// with the process.
public final class Journal {
  public static let name = "journal.jsonl"

  public let path: String
  /// What earlier runs have finished, in the order of the plan.
  public let finished: [BatchResult]
  /// Whether there was anything to go on from.
  public let isResumed: Bool

  private let folder: String
  private let identity: RunIdentity
  private var descriptor: Int32 = -1
  /// Bytes that are whole lines of this run.
  private var length = 0
  private var isReported = false

  /// - Parameters:
  ///   - record: The options and inputs of this run.
  ///   - resume: Go on from what is there. Otherwise nothing that is unfinished may be there.
  /// - Throws: `EvaluationError`: a `JournalError`, or a `CheckpointError` of the file.
  public init(
    folder: String, record: RunRecord, plan: RunPlan, resume: Bool
  ) throws(EvaluationError) {
    self.folder = folder
    path = folder + (folder.hasSuffix("/") ? "" : "/") + Self.name
    identity = RunIdentity(record, plan)
    let (path, identity) = (path, identity)
    let opened = try evaluating { try Self.open(path) }
    descriptor = opened.descriptor
    guard let contents = opened.contents, let before = contents.identity else {
      (finished, isResumed) = ([], false)
      return
    }
    if !resume {
      (finished, isResumed) = ([], false)
      if contents.isReported || contents.results.isEmpty { return }
      throw .journal(
        .unfinished(
          file: path, finished: contents.results.count, planned: before.plannedBatches))
    }
    let differences = identity.differences(from: before)
    (finished, isResumed) = (contents.results, true)
    if !differences.isEmpty { throw .journal(.differs(file: path, differences)) }
    length = contents.length
    isReported = contents.isReported
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Returns when the batch is on the disk.
  ///
  /// - Throws: `CheckpointError.cannotWrite`; the journal is then as it was before.
  public func append(_ result: BatchResult) throws(CheckpointError) {
    try write(JournalLine.encoded(.batch(result)))
  }

  /// Notes that the reports of all batches have been written.
  public func markReported() throws(CheckpointError) {
    if isReported { return }
    try write(JournalLine.encoded(.reported))
    isReported = true
  }
}

// MARK: - The file

extension Journal {
  private typealias Opened = (descriptor: Int32, contents: JournalContents?)

  /// Opens and locks what is there.
  private static func open(_ path: String) throws -> Opened {
    let descriptor = Foundation.open(path, O_RDWR | O_CLOEXEC)
    if descriptor < 0 {
      // A folder that does not exist yet has none.
      if errno == ENOENT { return (-1, nil) }
      throw CheckpointError(.cannotOpen(code: errno), at: .init(file: path))
    }
    do {
      try lock(descriptor, path)
      let file = try MappedFile(path: path)
      let bytes = Data(file.bytes)
      return (descriptor, try JournalContents(bytes, file: path))
    } catch {
      close(descriptor)
      throw error
    }
  }

  private static func lock(_ descriptor: Int32, _ path: String) throws(JournalError) {
    // Where the file system has no locks, there is none.
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK {
      throw .inUse(file: path)
    }
  }

  /// Appends whole lines and makes them durable.
  private func write(_ lines: Data) throws(CheckpointError) {
    let isFirst = length == 0
    if isFirst { try create() }
    let bytes = isFirst ? JournalLine.encoded(.run(identity)) + lines : lines
    do throws(CheckpointError) {
      // Of what was there before, only whole lines of this run stay.
      if ftruncate(descriptor, off_t(length)) != 0 { throw failure(errno) }
      try writeAtEnd(bytes)
      if fsync(descriptor) != 0 { throw failure(errno) }
      if isFirst { try Self.syncFolder(folder) }
    } catch {
      // Half a line would do no harm, but the room may be needed.
      _ = ftruncate(descriptor, off_t(length))
      if isFirst { unlink(path) }
      throw error
    }
    length += bytes.count
  }

  private func create() throws(CheckpointError) {
    if descriptor >= 0 { return }
    try OutputFiles.makeFolder(folder)
    descriptor = Foundation.open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    if descriptor < 0 { throw failure(errno) }
    _ = flock(descriptor, LOCK_EX | LOCK_NB)
  }

  private func writeAtEnd(_ bytes: Data) throws(CheckpointError) {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        pwrite(
          descriptor, $0.baseAddress! + written, bytes.count - written, off_t(length + written))
      }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure(errno)
      }
      written += count
    }
  }

  /// The file's name is part of the folder.
  private static func syncFolder(_ path: String) throws(CheckpointError) {
    let descriptor = Foundation.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    // Some file systems refuse; the name is then as durable as they make it.
    if descriptor < 0 { return }
    fsync(descriptor)
    close(descriptor)
  }

  private func failure(_ code: Int32) -> CheckpointError {
    CheckpointError(.cannotWrite(code: code), at: .init(file: path))
  }
}
