import Checkpoints

/// What a run leaves: every result in the journal as it comes, and the reports of all of them at the
/// end, or of those there are when it ends early.
public struct RunOutputs {
  /// All that the run has to score.
  public let plan: RunPlan
  /// `nil` where nothing is written.
  public let journal: Journal?
  /// Where an output needs it.
  public private(set) var record: RunRecord?
  /// Of all runs into the folder, by number.
  public private(set) var results: [Int: BatchResult]
  /// What could not be scored, or not to its end; first what the plan has left out.
  public private(set) var failures: [CheckpointFailure]
  private let folder: String?
  private let scores: String?
  private let names: SettingNames
  private let system: any FileSystem
  /// Whether tables of an earlier run may lie in the folder.
  private var mayHaveTables: Bool

  /// Numbers of the batches that are done.
  public var finished: Set<Int> { Set(results.keys) }

  /// - Parameters:
  ///   - record: Needed for a folder.
  ///   - folder: For the journal and all tables; `nil` without.
  ///   - scores: A CSV file for the scores alone; `nil` without.
  ///   - opening: What to do with the journal in the folder, and with its tables.
  ///   - names: How the reports' notes spell settings.
  /// - Throws: Also where there is something that is not this run's to replace.
  public init(
    _ plan: RunPlan, record: RunRecord?, folder: String? = nil, scores: String? = nil,
    _ opening: Journal.Opening = .new, names: SettingNames = .plain,
    system: any FileSystem = POSIXFileSystem()
  ) throws(EvaluationError) {
    try self.init(
      plan, record: record, folder: folder, scores: scores, opening, identity: nil, names: names,
      system: system)
  }

  /// - Parameter identity: `nil`: that of the record and the plan.
  init(
    _ plan: RunPlan, record: RunRecord?, folder: String?, scores: String? = nil,
    _ opening: Journal.Opening, identity: RunIdentity?, names: SettingNames,
    system: any FileSystem = POSIXFileSystem()
  ) throws(EvaluationError) {
    self.plan = plan
    self.folder = folder
    self.scores = scores
    self.names = names
    self.system = system
    var journal: Journal?
    if let folder, let record {
      journal = try Journal(
        folder: folder, identity: identity ?? RunIdentity(record, plan), opening, system: system)
      if journal?.tellsOfRun == false && opening != .replace {
        // A link that is replaced loses nothing.
        let files = Report.fileNames.filter { name in
          let found = try? system.found(joined(folder, name), followingLinks: false)
          return found?.kind == .file
        }
        if !files.isEmpty { throw .journal(.occupied(folder: folder, files: files)) }
      }
    }
    if let scores {
      try Self.requireReplaceable(scores, opening, ofRun: journal?.tellsOfRun == true, system)
    }
    self.journal = journal
    mayHaveTables = journal?.isResumed == false
    results = journal?.finished ?? [:]
    self.record = record
    self.record?.plannedBatches = plan.count
    failures = plan.leftOut
    self.record?.failures += failures.map { FailureRecord($0) }
    self.record?.shard = plan.shard
    self.record?.resumedBatches = results.count
  }

  /// A file with scores goes by the folder beside it: where that is this run's, they are as well, and
  /// would be written again.
  private static func requireReplaceable(
    _ path: String, _ opening: Journal.Opening, ofRun: Bool, _ system: any FileSystem
  ) throws(EvaluationError) {
    let isOwn = ofRun && isTable(path, system)
    do throws(CheckpointError) {
      try OutputFiles.requireNew(file: path, force: opening == .replace || isOwn, system: system)
    } catch {
      throw .checkpoint(error)
    }
  }

  /// Whether a file begins as a table of scores does.
  private static func isTable(_ path: String, _ system: any FileSystem) -> Bool {
    guard let file = try? system.open(path, for: .updating) else { return false }
    defer { try? system.close(file) }
    return (try? system.readAll(file))?.starts(with: Report([]).scores.csv.utf8) == true
  }

  /// One more batch is done. Returns when it is in the journal.
  ///
  /// - Parameter number: That of the batch in the plan.
  public mutating func add(
    _ result: BatchResult, at number: Int
  ) throws(EvaluationError) {
    precondition(
      results[number] == nil && plan.steps.has(result, at: number),
      "RunOutputs: batch \(result.batch) of \(result.checkpoint) is not that of number \(number)")
    try write { journal throws(EvaluationError) in try journal.append(result, at: number) }
    results[number] = result
  }

  /// What shards have finished. Returns when it is in the journal.
  mutating func add(
    _ results: [Int: BatchResult], _ failures: [FailureRecord]
  ) throws(EvaluationError) {
    try write { journal throws(EvaluationError) in try journal.append(results, failures) }
    self.results.merge(results) { first, _ in first }
    record?.failures += failures
  }

  /// A checkpoint has failed, of which the record and the journal tell.
  public mutating func add(_ failure: CheckpointFailure) throws(EvaluationError) {
    failures.append(failure)
    let failure = FailureRecord(failure)
    record?.failures.append(failure)
    try write { journal throws(EvaluationError) in try journal.append(failure) }
  }

  /// The journal becomes this run's, and no table may stay that is of another.
  ///
  /// A journal that is there goes last: if the process ends in between, it still tells of the tables
  /// that are left. Where there is none, tables go when ours keeps other runs out.
  private mutating func write(
    _ append: (Journal) throws(EvaluationError) -> Void
  ) throws(EvaluationError) {
    guard let journal, let folder else { return }
    if mayHaveTables && journal.wasThere {
      try journal.requireInPlace()
      try removed(Report.fileNames, in: folder)
      mayHaveTables = false
    }
    try append(journal)
    if mayHaveTables {
      try removed(Report.fileNames, in: folder)
      mayHaveTables = false
    }
  }

  /// What there is of a checkpoint by now; `nil` without a result.
  public func entry(ofCheckpoint index: Int) -> Report.Entry? {
    plan.entry(ofCheckpoint: index, results, names: names)
  }

  /// Writes all files, as far as there are results.
  public mutating func writeReports() throws(EvaluationError) -> Report {
    // A shard to which nothing but failures fell is known to whoever merges.
    try write { journal throws(EvaluationError) in try journal.beginOnce() }
    let end = system.now
    record?.end = end
    let report = plan.report(results, names: names)
    var files = OutputFiles(system: system)
    if let folder, let record { report.add(to: &files, folder: folder, record: record) }
    if let scores { files.add(scores, report.scores.csv) }
    do throws(CheckpointError) {
      try files.write()
    } catch {
      throw .checkpoint(error)
    }
    if let folder, record != nil { try removed(report.absentFileNames, in: folder) }
    if report.batchCount == plan.count && record?.failures.isEmpty != false {
      try journal?.markReported()
    }
    return report
  }

  /// Files of runs that have written more tables than this one.
  private func removed(_ names: [String], in folder: String) throws(EvaluationError) {
    for path in names.map({ joined(folder, $0) }) where system.exists(path) {
      do throws(SystemError) {
        try system.remove(path)
        try system.synchronizeFolder(folder)
      } catch {
        throw .checkpoint(
          CheckpointError(.cannotWrite(code: error.code), at: .init(file: path)))
      }
    }
  }

  /// Whether there is anything to report after an error, and a place for it.
  public func canReport(after error: EvaluationError) -> Bool {
    switch error {
    // The folder is another run's, or gone.
    case .journal: false
    case .checkpoint(let error) where error.category == .cannotWrite: false
    default: !results.isEmpty
    }
  }
}
