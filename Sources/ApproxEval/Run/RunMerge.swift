import Checkpoints
import Foundation
import Updates

/// The shards of a run as the run in one piece.
public struct RunMerge {
  private let identity: RunIdentity
  private let results: [Int: BatchResult]
  private let folders: [String]
  /// Checkpoints that could not be scored, or not to their end.
  public let failures: [FailureRecord]

  /// Batches of all shards.
  public var count: Int { results.count }

  /// - Parameter folders: Results of the shards, in any order.
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
      throw MergeError.noJournal(folder: "merge")
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
    var record: RunRecord
    do throws(CheckpointError) {
      record = try RunRecord(
        command: command, options: EvaluationOptions(identity.options), files: InputFiles(),
        start: start)
    } catch {
      throw .checkpoint(error)
    }
    record.files = identity.files
    record.merged = folders
    record.failures = identity.leftOut
    var outputs = try RunOutputs(
      plan, record: record, folder: folder, opening, identity: identity, names: names)
    for (number, result) in results.sorted(by: { $0.key < $1.key }) {
      try outputs.add(result, at: number)
    }
    for failure in failures where failure.index != nil { try outputs.add(failure) }
    return try outputs.writeReports()
  }
}

extension RunIdentity {
  /// What is otherwise than in another shard of what should be the same run.
  func differences(toShard other: RunIdentity) -> [SettingText] {
    var (own, first) = (self, other)
    var differences: [SettingText] = []
    func compare(_ what: SettingText, _ a: String?, _ b: String?) {
      if a == b { return }
      differences.append("\(what) is \(a ?? "not given") here, \(b ?? "not given") there")
    }
    compare("the number of shards", shard.map { "\($0.count)" }, other.shard.map { "\($0.count)" })
    compare("the version of eval-cli", version, other.version)
    compare("the set of kernels for the processor", kernels, other.kernels)
    compare("the BLAS on the processor", blas, other.blas)
    for name in Set(options.keys).union(other.options.keys).sorted()
    where !Self.places.contains(name) {
      compare("\(Setting(key: name))", options[name], other.options[name])
    }
    let leftOut = [leftOut, other.leftOut].map { failures in
      failures.isEmpty ? "none" : failures.map(\.checkpoint).joined(separator: ", ")
    }
    compare("what is left out of the checkpoints", leftOut[0], leftOut[1])
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

extension EvaluationOptions {
  /// As an identity tells them.
  fileprivate init(_ texts: [String: String]) {
    self.init()
    func list(_ name: String) -> [String] {
      texts[name].map { $0.split(separator: ",").map(String.init) } ?? []
    }
    func number(_ name: String) -> Double? { texts[name].flatMap { Double($0) } }
    func integer(_ name: String) -> Int? { texts[name].flatMap { Int($0) } }
    (dataFile, model, loss, run) = (
      texts["data"], texts["model"], texts["loss"], texts["run"]
    )
    task = texts["task"]
    classAxis = integer("class_axis")
    (adapter, parameterOrder) = (texts["adapter"], texts["parameter_order"])
    trainable = list("trainable")
    methods = list("methods").compactMap { UpdateMethod(name: $0) }
    dampings = list("damping").compactMap { Damping($0) }
    monteCarloSamples = list("mc_samples").compactMap { Int($0) }
    reference = ReferenceMethod.all.first { $0.name == texts["reference"] } ?? reference
    cgIterations = integer("cg_iterations") ?? cgIterations
    cgTolerance = number("cg_tolerance") ?? cgTolerance
    cgGap = number("cg_gap") ?? cgGap
    cgDamping = number("cg_damping") ?? cgDamping
    cgPreconditioner =
      texts["cg_preconditioner"].flatMap { PreconditionerKind(rawValue: $0) } ?? .none
    (batchSize, batches) = (integer("batch_size"), integer("batches"))
    firstBatch = integer("first_batch") ?? 0
    memory = integer("memory") ?? memory
    scoresStoredUpdates = texts["stored_updates"] == "true"
    perLayer = texts["per_layer"] == "true"
    dropDuplicates = number("drop_duplicates")
    seed = texts["seed"].flatMap { UInt64($0) } ?? seed
    precision = texts["precision"].flatMap { Precision(rawValue: $0) } ?? precision
  }
}
