import Checkpoints

/// What a run leaves: every result in the journal as it comes, and the reports of all of them at the
/// end, or of those there are when it ends early.
public struct RunOutputs {
  public let plan: RunPlan
  /// Of all runs into the folder, in the order of the plan.
  public private(set) var results: [BatchResult]
  public let journal: Journal?
  /// Where an output needs it.
  public private(set) var record: RunRecord?
  private let folder: String?
  private let scores: String?
  private let system: any FileSystem

  /// - Parameters:
  ///   - record: Needed for a folder.
  ///   - folder: For the journal and all tables; `nil` without.
  ///   - scores: A CSV file for the scores alone; `nil` without.
  ///   - resume: Go on from the journal in the folder.
  public init(
    _ plan: RunPlan, record: RunRecord?, folder: String? = nil, scores: String? = nil,
    resume: Bool = false, system: any FileSystem = POSIXFileSystem()
  ) throws(EvaluationError) {
    self.plan = plan
    self.folder = folder
    self.scores = scores
    self.system = system
    var journal: Journal?
    if let folder, let record {
      journal = try Journal(
        folder: folder, record: record, plan: plan, resume: resume, system: system)
    }
    self.journal = journal
    results = journal?.finished ?? []
    self.record = record
    self.record?.plannedBatches = plan.count
    self.record?.inputs = plan.checkpoints.map(\.input)
    self.record?.resumedBatches = results.count
  }

  /// One more batch is done. Returns when it is in the journal.
  public mutating func add(_ result: BatchResult) throws(EvaluationError) {
    try journal?.append(result)
    results.append(result)
  }

  /// Writes all files, as far as there are results.
  public mutating func writeReports() throws(EvaluationError) -> Report {
    let end = system.now
    record?.end = end
    let report = plan.report(results)
    var files = OutputFiles(system: system)
    if let folder, let record { report.add(to: &files, folder: folder, record: record) }
    if let scores { files.add(scores, report.scores.csv) }
    do throws(CheckpointError) {
      try files.write()
    } catch {
      throw .checkpoint(error)
    }
    if report.batchCount == plan.count { try journal?.markReported() }
    return report
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
