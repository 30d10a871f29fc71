import Checkpoints
import Foundation

/// The shards of a run as the run in one piece.
public struct RunMerge {
  private let identity: RunIdentity
  private let results: [Int: BatchResult]
  private let folders: [String]
  /// Checkpoints that could not be scored, or not to their end.
  public let failures: [FailureRecord]

  /// Batches of all shards.
  public var count: Int { results.count }

  /// - Parameter folders: Results of the shards, in any order; one at least.
  /// - Throws: `EvaluationError`: a `MergeError`, or what is wrong with a journal.
  public init(folders: [String]) throws(EvaluationError) {
    (identity, results, failures) = try evaluating { try Self.read(folders) }
    self.folders = folders
  }

  private static func read(
    _ folders: [String]
  ) throws -> (RunIdentity, [Int: BatchResult], [FailureRecord]) {
    var parts: [Int: (folder: String, contents: JournalContents)] = [:]
    var first: (folder: String, identity: RunIdentity)?
    for folder in folders {
      let contents = try contents(folder)
      guard let identity = contents.identity else { throw MergeError.noJournal(folder: folder) }
      guard let shard = identity.shard else { throw MergeError.noShard(folder: folder) }
      if let first {
        let differences = identity.differences(toShard: first.identity)
        if !differences.isEmpty {
          throw MergeError.differs(folder: folder, from: first.folder, differences)
        }
      } else {
        first = (folder, identity)
      }
      if let other = parts.updateValue((folder, contents), forKey: shard.index) {
        throw MergeError.repeated(shard: shard.text, folders: [other.folder, folder])
      }
    }
    guard var identity = first?.identity, let shards = identity.shard?.count else {
      preconditionFailure("RunMerge: no folder")
    }
    try requireWhole(parts, of: shards)
    identity.shard = nil
    // Numbers are those of the run in one piece, and no two shards have the same.
    let results = parts.values.reduce(into: [Int: BatchResult]()) { all, part in
      all.merge(part.contents.results) { first, _ in first }
    }
    let failures = parts.sorted { $0.key < $1.key }.flatMap { part in
      part.value.contents.failures.sorted { $0.key < $1.key }.map(\.value)
    }
    return (identity, results, identity.leftOut + failures)
  }

  private static func contents(_ folder: String) throws -> JournalContents {
    let path = joined(folder, Journal.name)
    if !POSIXFileSystem().exists(path) { throw MergeError.noJournal(folder: folder) }
    let file = try MappedFile(path: path, acceptsPipes: false)
    defer { withExtendedLifetime(file) {} }
    return try JournalContents(Data(file.bytes), file: path)
  }

  private static func requireWhole(
    _ parts: [Int: (folder: String, contents: JournalContents)], of count: Int
  ) throws {
    var missing: [Int] = []
    var unfinished: [MergeError.Unfinished] = []
    for index in 1...count {
      guard let part = parts[index], let identity = part.contents.identity else {
        missing.append(index)
        continue
      }
      let planned = identity.steps.part.count
      if part.contents.settled < planned {
        missing.append(index)
        unfinished.append(
          .init(
            folder: part.folder, finished: part.contents.results.count, planned: planned))
      }
    }
    if !missing.isEmpty {
      throw MergeError.missing(shards: missing, of: count, unfinished: unfinished)
    }
  }

  /// Writes the tables, the record and the journal of the run in one piece.
  ///
  /// - Parameters:
  ///   - command: With the name of the program, for the record.
  ///   - start: When the merge began.
  ///   - names: How the reports' notes spell settings.
  public func write(
    to folder: String, _ opening: Journal.Opening = .new, command: [String], start: Moment,
    names: SettingNames = .plain
  ) throws(EvaluationError) -> Report {
    let plan = RunPlan(
      identity.checkpoints.map {
        RunPlan.Checkpoint($0.input, description: $0.description, batches: $0.range)
      })
    var record = RunRecord(
      command: command, settings: identity.settings, threads: nil, files: identity.files,
      start: start)
    record.merged = folders
    record.failures = identity.leftOut
    var outputs = try RunOutputs(
      plan, record: record, folder: folder, opening, identity: identity, names: names)
    try outputs.add(results, failures.filter { $0.index != nil })
    return try outputs.writeReports()
  }
}

extension RunIdentity {
  /// What is otherwise than in another shard of what should be the same run.
  func differences(toShard other: RunIdentity) -> [SettingText] {
    var (own, first) = (self, other)
    func left(_ identity: RunIdentity) -> String {
      identity.leftOut.isEmpty
        ? "none" : identity.leftOut.map(\.checkpoint).joined(separator: ", ")
    }
    let words = Words.shards
    var differences =
      [
        words.difference(
          "the number of shards", shard.map { "\($0.count)" }, other.shard.map { "\($0.count)" }),
        words.difference("what is left out of the checkpoints", left(self), left(other)),
      ].compactMap { $0 } + self.differences(from: other, words)
    (own.shard, first.shard) = (nil, nil)
    if own.steps != first.steps {
      differences.append("the checkpoints, or their batches, are others")
    } else {
      for (a, b) in zip(checkpoints, other.checkpoints) where a.content != b.content {
        differences.append("\(a.path) is read with other contents")
      }
    }
    return differences
  }
}
