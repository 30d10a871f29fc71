import Checkpoints
import Foundation

/// The journal of a run in its output folder, `journal.jsonl`: a line on the run, then a line for
/// each finished batch, on the disk before the next batch begins. So whatever ends the process, at
/// most the batch in work is lost. Where a run has grown, by checkpoints, batches or methods, another
/// line on it follows, and what stays valid of the batches above counts on.
///
/// The file appears with the first finished batch. It stays when the run has ended, marked as
/// reported: a run that resumes it then writes the reports again without computing, one that does not
/// replaces it where it is the same run. The lock that keeps a second process out ends with the
/// process.
public final class Journal {
  /// Of the file, in the folder of the results.
  public static let name = "journal.jsonl"

  /// What to do with the journal that is there.
  public enum Opening: Sendable {
    /// Nothing may be there but what this run would make again.
    case new
    /// Go on from it, or begin.
    case resume
    /// Begin whatever is there.
    case replace
  }

  /// The file.
  public let path: String
  /// What earlier runs have finished of this one, by number and with its names.
  public let finished: [Int: BatchResult]
  /// Batches that earlier runs have finished, and that must be scored again for what is asked now.
  public let outdated: Int
  /// Whether there was anything to go on from.
  public let isResumed: Bool
  /// Whether what was there tells of a run, which is then this one: of another, or of one that would be
  /// lost, there is an error. An empty file tells of none.
  public let tellsOfRun: Bool
  /// Whether there was a file, whatever it tells: it is locked since.
  let wasThere: Bool

  private let system: any FileSystem
  private let folder: String
  private let identity: RunIdentity
  private var descriptor: Int32?
  /// Bytes that are whole lines of this run.
  private var length = 0
  /// Whether the file has the line on this run as it is now.
  private var isBegun = false
  private var isReported = false
  /// Whether the file's name is known to be on the disk. One that is found there need not be.
  private var isNameDurable = false

  /// - Parameter record: The options and inputs of this run.
  /// - Throws: `EvaluationError`: a `JournalError`, or a `CheckpointError` of the file.
  public convenience init(
    folder: String, record: RunRecord, plan: RunPlan, _ opening: Opening = .new,
    system: any FileSystem = POSIXFileSystem()
  ) throws(EvaluationError) {
    try self.init(
      folder: folder, identity: RunIdentity(record, plan), opening, system: system)
  }

  init(
    folder: String, identity: RunIdentity, _ opening: Opening, system: any FileSystem
  ) throws(EvaluationError) {
    self.system = system
    self.folder = folder
    self.identity = identity
    path = joined(folder, Self.name)
    let path = path
    let opened = try evaluating {
      try Self.open(path, system, isRead: opening != .replace)
    }
    descriptor = opened?.descriptor
    wasThere = opened != nil
    tellsOfRun = opened?.contents.identity != nil
    guard let contents = opened?.contents, let before = contents.identity else {
      (finished, outdated, isResumed) = ([:], 0, false)
      return
    }
    let carried = identity.carried(contents.results, from: before)
    if opening == .new {
      (finished, outdated, isResumed) = ([:], 0, false)
      if contents.results.isEmpty { return }
      if !contents.isReported {
        throw .journal(
          .unfinished(
            file: path, finished: contents.results.count, planned: before.steps.part.count))
      }
      if carried.differences.isEmpty { return }
      throw .journal(
        .finished(file: path, batches: contents.results.count, carried.differences))
    }
    (finished, outdated) = (carried.results, carried.outdated)
    isResumed = true
    if !carried.differences.isEmpty {
      throw .journal(.differs(file: path, carried.differences))
    }
    length = contents.length
    isBegun = identity == before
    isReported = contents.isReported && isBegun
  }

  deinit { if let descriptor { try? system.close(descriptor) } }

  /// Returns when the batch is on the disk.
  ///
  /// - Parameter number: That of the batch in the plan.
  /// - Throws: `cannotWrite`, or `removed` where the file is no longer in its folder; the journal is
  ///   then as it was before.
  public func append(_ result: BatchResult, at number: Int) throws(EvaluationError) {
    try beginOnce()
    try write([.batch(number, result)])
  }

  /// Notes that a checkpoint has failed, so that nothing more is to be expected of it.
  public func append(_ failure: FailureRecord) throws(EvaluationError) {
    try beginOnce()
    try write([.failed(failure)])
  }

  /// The same for what is known from elsewhere, and need not be on the disk line by line.
  func append(
    _ results: [Int: BatchResult], _ failures: [FailureRecord]
  ) throws(EvaluationError) {
    try beginOnce()
    let sorted = results.sorted { $0.key < $1.key }
    try write(sorted.map { .batch($0.key, $0.value) } + failures.map { .failed($0) })
  }

  /// Sees to it that the file tells of this run, also where it has no batch.
  public func beginOnce() throws(EvaluationError) { if !isBegun { try begin() } }

  /// - Throws: `removed` where another file has its name since it was opened.
  func requireInPlace() throws(EvaluationError) {
    guard let descriptor else { return }
    let isInPlace: Bool
    do throws(SystemError) {
      isInPlace = try Self.isInPlace(descriptor, path, system)
    } catch {
      throw failure(error)
    }
    if !isInPlace { throw .journal(.removed(file: path)) }
  }

  /// Notes that the reports of all batches have been written.
  public func markReported() throws(EvaluationError) {
    if isReported { return }
    try beginOnce()
    try write([.reported])
    isReported = true
  }
}

// MARK: - Opening

extension Journal {
  private typealias Opened = (descriptor: Int32, contents: JournalContents)

  /// Opens, locks and reads what is there; `nil` if nothing is.
  private static func open(
    _ path: String, _ system: any FileSystem, isRead: Bool
  ) throws -> Opened? {
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
        if let contents = try contents(descriptor, path, system, isRead: isRead) {
          return (descriptor, contents)
        }
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
    _ descriptor: Int32, _ path: String, _ system: any FileSystem, isRead: Bool
  ) throws -> JournalContents? {
    do {
      // A pipe would be waited for, a device have no end.
      if try system.status(descriptor).kind != .file { throw JournalError.foreign(file: path) }
      // Where the file system has no locks, there is none.
      if try lock(descriptor, system) == .taken { throw JournalError.inUse(file: path) }
      guard try isInPlace(descriptor, path, system) else { return nil }
      let bytes = isRead ? try system.readAll(descriptor) : Data()
      return try JournalContents(bytes, file: path)
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
  /// The line of the run, in a new file, behind the lines of the run that has grown, or in place of
  /// what was there. It is on the disk before the first batch follows, so that at most the last line
  /// of a file can be half of one.
  private func begin() throws(EvaluationError) {
    let isNew = descriptor == nil
    if isNew { try create() }
    let before = length
    do throws(EvaluationError) {
      try write([.run(identity)])
    } catch {
      // Nothing of this run is in it.
      length = before
      if isNew { discard() }
      throw error
    }
    isBegun = true
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

  /// Appends whole lines and makes them durable.
  private func write(_ entries: [JournalEntry]) throws(EvaluationError) {
    guard let descriptor else { preconditionFailure("Journal: a line without a file") }
    let isInPlace: Bool
    var end = length
    do throws(SystemError) {
      // Of what was there before, only whole lines of this run stay.
      try system.untilDone { () throws(SystemError) in
        try system.truncate(descriptor, to: length)
      }
      for entry in entries {
        let line = OwnedBytes(JournalLine.encoded(entry))
        try system.writeAll(descriptor, line.load(), at: end)
        end += line.load().count
        withExtendedLifetime(line) {}
      }
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
    length = end
  }

  private func failure(_ error: SystemError) -> EvaluationError {
    .checkpoint(CheckpointError(.cannotWrite(code: error.code), at: .init(file: path)))
  }
}
