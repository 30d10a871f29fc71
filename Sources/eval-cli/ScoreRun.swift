import ApproxEval
import Checkpoints
import Foundation
import Synchronization

/// A run of `score` from its first result to its last word: results go to the journal as they
/// come, reports are written at the end, and also when the run is interrupted or fails.
///
/// The engine's thread and the one that waits for an interruption meet here; whoever holds the
/// state has the results, the journal and the outputs to itself.
final class ScoreRun: Sendable {
  private struct State {
    var results: [BatchResult]
    var journal: Journal?
    var record: RunRecord?
    var progress: Progress
    var isEnded = false
  }

  private let plan: RunPlan
  private let destination: DestinationOptions
  private let log: LogOptions
  private let state: Mutex<State>
  /// Batches that need not be scored again.
  let resumed: Int

  /// - Parameter record: Where an output needs it.
  init(
    _ plan: RunPlan, record: RunRecord?, destination: DestinationOptions, log: LogOptions
  ) throws {
    self.plan = plan
    self.destination = destination
    self.log = log
    var record = record
    var journal: Journal?
    if let folder = destination.output, let record {
      journal = try Journal(
        folder: folder, record: record, plan: plan, resume: destination.resume)
    }
    let results = journal?.finished ?? []
    resumed = results.count
    record?.plannedBatches = plan.count
    record?.resumedBatches = results.count
    if let journal, !log.quiet { Self.announce(journal, plan, destination) }
    state = Mutex(
      State(
        results: results, journal: journal, record: record,
        progress: Progress(
          plan, finished: results.count, isShown: !log.quiet && !log.verbose)))
  }

  private static func announce(
    _ journal: Journal, _ plan: RunPlan, _ destination: DestinationOptions
  ) {
    if journal.isResumed {
      Console.log("resumed: \(journal.finished.count) of \(plan.count) batches are in the journal")
    } else if destination.resume {
      Console.log(
        "there is no journal at \(printable(journal.path)): the run begins with its first batch")
    }
  }

  /// Scoring begins.
  func begin() { state.withLock { $0.progress.begin() } }

  /// One more batch is done.
  func add(_ result: BatchResult) throws(CheckpointError) {
    try state.withLock { state throws(CheckpointError) in
      if let journal = state.journal {
        do throws(CheckpointError) {
          try journal.append(result)
        } catch {
          throw error.with(
            hint: state.results.isEmpty
              ? nil
              : "The \(state.results.count) batches before this one are kept: make room and go "
                + "on with --resume.")
        }
      }
      state.results.append(result)
      state.progress.advance()
    }
  }

  /// Every batch is done.
  ///
  /// - Returns: In how many batches the reference did not converge.
  func finish() throws -> Int {
    try state.withLock { state in
      try write(&state)
      return plan.report(state.results).referencesNotConverged
    }
  }

  /// An error has ended the run: what was finished before is reported, unless it is that nothing
  /// can be written.
  func fail(_ error: EvaluationError) {
    state.withLock { state in
      state.progress.finish()
      if case .checkpoint(let error) = error, error.category == .cannotWrite { return }
      if state.results.isEmpty { return }
      do {
        try write(&state)
        Console.log("reported: \(Self.share(state.results, plan)), those before an error")
      } catch {
        Console.log("error: " + (message(for: error) ?? ""))
      }
    }
  }

  /// The process has been asked to end: reports what is finished, and ends it.
  func interrupt() {
    state.withLock { state in
      // The last word is being said.
      if state.isEnded { return }
      state.progress.finish()
      let share = Self.share(state.results, plan)
      var advice = "with --output such a run can be resumed"
      if state.journal != nil { advice = "the same command with --resume goes on" }
      do {
        if !state.results.isEmpty { try write(&state) }
        Console.log("interrupted after \(share); \(advice)")
      } catch {
        Console.log("error: " + (message(for: error) ?? ""))
      }
      Interruption.exit()
    }
  }

  private static func share(_ results: [BatchResult], _ plan: RunPlan) -> String {
    "\(results.count) of \(plan.count) batch\(plan.count == 1 ? "" : "es")"
  }

  // MARK: - Reports

  /// Files first: whatever happens to standard output, such as a reader that leaves, the run has
  /// been reported.
  private func write(_ state: inout State) throws {
    state.isEnded = true
    state.progress.finish()
    state.record?.end = Date()
    let report = plan.report(state.results)
    var files = OutputFiles()
    if let output = destination.output, let record = state.record {
      report.add(to: &files, folder: output, record: record)
    }
    if let csv = destination.csv { files.add(csv, report.scores.csv) }
    do throws(CheckpointError) {
      try files.write()
    } catch {
      throw error.with(
        hint: state.journal.map {
          "All results are kept in \($0.path): make room and write the reports with --resume."
        })
    }
    if report.batchCount == plan.count { try state.journal?.markReported() }
    switch destination.format {
    case .table: try Console.print(report.text)
    case .csv: try Console.write(document: report.scores.csv)
    case .json: try Console.write(document: report.json(state.record!).document)
    }
  }
}

extension CheckpointError {
  /// The same with other advice, if there is any.
  fileprivate func with(hint: String?) -> CheckpointError {
    var error = self
    error.hint = hint ?? self.hint
    return error
  }
}
