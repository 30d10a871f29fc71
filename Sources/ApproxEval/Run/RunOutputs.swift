import Checkpoints

/// What a run leaves: every result in the journal as it comes, and the reports of all of them at the
/// end, or of those there are when it ends early.
public struct RunOutputs {
  public let plan: RunPlan
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
      let hadJournal = system.exists(joined(folder, Journal.name))
      journal = try Journal(
        folder: folder, identity: identity ?? RunIdentity(record, plan), opening, system: system)
      if !hadJournal && opening != .replace {
        // A link that is replaced loses nothing.
        let files = Report.fileNames.filter { name in
          let found = try? system.found(joined(folder, name), followingLinks: false)
          return found?.kind == .file
        }
        if !files.isEmpty { throw .journal(.occupied(folder: folder, files: files)) }
      }
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

  /// One more batch is done. Returns when it is in the journal.
  ///
  /// - Parameter number: That of the batch in the plan.
  public mutating func add(
    _ result: BatchResult, at number: Int
  ) throws(EvaluationError) {
    precondition(
      results[number] == nil && plan.steps.has(result, at: number),
      "RunOutputs: batch \(result.batch) of \(result.checkpoint) is not that of number \(number)")
    try journal?.append(result, at: number)
    results[number] = result
    try removeTablesOfOthers()
  }

  /// A checkpoint has failed, of which the record and the journal tell.
  public mutating func add(_ failure: CheckpointFailure) throws(EvaluationError) {
    failures.append(failure)
    try add(FailureRecord(failure))
  }

  mutating func add(_ failure: FailureRecord) throws(EvaluationError) {
    record?.failures.append(failure)
    try journal?.append(failure)
    try removeTablesOfOthers()
  }

  /// The journal is now of this run, and no table may stay that is of another.
  private mutating func removeTablesOfOthers() throws(EvaluationError) {
    guard mayHaveTables, let folder else { return }
    try removed(Report.fileNames, in: folder)
    mayHaveTables = false
  }

  /// Writes all files, as far as there are results.
  public mutating func writeReports() throws(EvaluationError) -> Report {
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
    } else {
      // A shard to which nothing but failures fell is known to whoever merges.
      try journal?.beginOnce()
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
