import Checkpoints
import Foundation

/// The journal of a run in its output folder, `journal.jsonl`: a line on the run, then a line for
/// each finished batch, on the disk before the next batch begins. So whatever ends the process, at
/// most the batch in work is lost.
///
/// The file appears with the first finished batch. It stays when the run has ended, marked as
/// reported: a run that resumes it then writes the reports again without computing, another
/// one replaces it. The lock that keeps a second process out ends
/// with the process.
public final class Journal {
  public static let name = "journal.jsonl"

  public let path: String
  /// What earlier runs have finished, in the order of the plan.
  public let finished: [BatchResult]
  /// Whether there was anything to go on from.
  public let isResumed: Bool

  private let system: any FileSystem
  private let folder: String
  private let identity: RunIdentity
  private var descriptor: Int32?
  /// Bytes that are whole lines of this run.
  private var length = 0
  private var isReported = false
  /// Whether the file's name is known to be on the disk. One that is found there need not be.
  private var isNameDurable = false

  /// - Parameters:
  ///   - record: The options and inputs of this run.
  ///   - resume: Go on from what is there. Otherwise nothing that is unfinished may be there.
  /// - Throws: `EvaluationError`: a `JournalError`, or a `CheckpointError` of the file.
  public init(
    folder: String, record: RunRecord, plan: RunPlan, resume: Bool,
    system: any FileSystem = POSIXFileSystem()
  ) throws(EvaluationError) {
    self.system = system
    self.folder = folder
    path = joined(folder, Self.name)
    identity = RunIdentity(record, plan)
    let (path, identity) = (path, identity)
    let opened = try evaluating { try Self.open(path, system) }
    descriptor = opened?.descriptor
    guard let contents = opened?.contents, let before = contents.identity else {
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

  deinit { if let descriptor { try? system.close(descriptor) } }

  /// Returns when the batch is on the disk.
  ///
  /// - Throws: `cannotWrite`, or `removed` where the file is no longer in its folder; the journal is
  ///   then as it was before.
  public func append(_ result: BatchResult) throws(EvaluationError) {
    if length == 0 { try begin() }
    try write(.batch(result))
  }

  /// Notes that the reports of all batches have been written.
  public func markReported() throws(EvaluationError) {
    if isReported { return }
    // A run without batches has no line yet.
    if length == 0 { try begin() }
    try write(.reported)
    isReported = true
  }
}

// MARK: - Opening

extension Journal {
  private typealias Opened = (descriptor: Int32, contents: JournalContents)

  /// Opens, locks and reads what is there; `nil` if nothing is.
  private static func open(_ path: String, _ system: any FileSystem) throws -> Opened? {
    while true {
      let descriptor: Int32
      do throws(SystemError) {
        descriptor = try system.untilDone { () throws(SystemError) in
          try system.open(path, for: .updating)
        }
      } catch {
        switch error.code {
        // A folder that does not exist yet has none.
        case ENOENT: return nil
        // A link, a folder, a pipe without a reader: whatever it is, no run has written it.
        case ELOOP, EISDIR, ENXIO: throw JournalError.foreign(file: path)
        default: throw CheckpointError(.cannotOpen(code: error.code), at: .init(file: path))
        }
      }
      do {
        if let contents = try contents(descriptor, path, system) { return (descriptor, contents) }
        // Between the two calls its run has removed it.
        try? system.close(descriptor)
      } catch {
        try? system.close(descriptor)
        throw error
      }
    }
  }

  /// - Returns: `nil` if the file no longer has its name.
  private static func contents(
    _ descriptor: Int32, _ path: String, _ system: any FileSystem
  ) throws -> JournalContents? {
    do {
      // A pipe would be waited for, a device have no end.
      if try system.status(descriptor).kind != .file { throw JournalError.foreign(file: path) }
      // Where the file system has no locks, there is none.
      if try lock(descriptor, system) == .taken { throw JournalError.inUse(file: path) }
      guard try isInPlace(descriptor, path, system) else { return nil }
      return try JournalContents(try system.readAll(descriptor), file: path)
    } catch let error as SystemError {
      throw CheckpointError(.cannotRead(code: error.code), at: .init(file: path))
    }
  }

  private static func lock(
    _ descriptor: Int32, _ system: any FileSystem
  ) throws(SystemError) -> FileLock {
    try system.untilDone { () throws(SystemError) in try system.lock(descriptor) }
  }

  /// Whether the open file is the one at the path.
  private static func isInPlace(
    _ descriptor: Int32, _ path: String, _ system: any FileSystem
  ) throws(SystemError) -> Bool {
    let own = try system.untilDone { () throws(SystemError) in try system.status(descriptor) }
    return try system.found(path, followingLinks: false)?.isSameFile(as: own) ?? false
  }
}

// MARK: - Writing

extension Journal {
  /// The line of the run, in a new file or in place of what was there. It is on the disk before the
  /// first batch follows, so that at most the last line of a file can be half of one.
  private func begin() throws(EvaluationError) {
    let isNew = descriptor == nil
    if isNew { try create() }
    do throws(EvaluationError) {
      try write(.run(identity))
    } catch {
      // Nothing of this run is in it.
      length = 0
      if isNew { discard() }
      throw error
    }
  }

  private func create() throws(EvaluationError) {
    let folder = folder
    try evaluating { try OutputFiles.makeFolder(folder, system: system) }
    do throws(SystemError) {
      let created = try system.untilDone { () throws(SystemError) in
        try system.open(path, for: .creating)
      }
      descriptor = created
      if try Self.lock(created, system) == .taken { throw SystemError(EEXIST) }
    } catch {
      if error.code == EEXIST {
        // It belongs to whoever was first.
        if let descriptor { try? system.close(descriptor) }
        descriptor = nil
        throw .journal(.inUse(file: path))
      }
      discard()
      throw failure(error)
    }
  }

  /// Leaves nothing of a file that has been created and has no line.
  private func discard() {
    guard let descriptor else { return }
    try? system.remove(path)
    try? system.close(descriptor)
    self.descriptor = nil
  }

  /// Appends a whole line and makes it durable.
  private func write(_ entry: JournalEntry) throws(EvaluationError) {
    guard let descriptor else { preconditionFailure("Journal: a line without a file") }
    let line = OwnedBytes(JournalLine.encoded(entry))
    defer { withExtendedLifetime(line) {} }
    let isInPlace: Bool
    do throws(SystemError) {
      // Of what was there before, only whole lines of this run stay.
      try system.untilDone { () throws(SystemError) in
        try system.truncate(descriptor, to: length)
      }
      try system.writeAll(descriptor, line.load(), at: length)
      try system.untilDone { () throws(SystemError) in try system.synchronize(descriptor) }
      if !isNameDurable {
        try system.synchronizeFolder(folder)
        isNameDurable = true
      }
      isInPlace = try Self.isInPlace(descriptor, path, system)
    } catch {
      // Half a line would do no harm, but the room may be needed.
      try? system.truncate(descriptor, to: length)
      throw failure(error)
    }
    if !isInPlace { throw .journal(.removed(file: path)) }
    length += line.load().count
  }

  private func failure(_ error: SystemError) -> EvaluationError {
    .checkpoint(CheckpointError(.cannotWrite(code: error.code), at: .init(file: path)))
  }
}
