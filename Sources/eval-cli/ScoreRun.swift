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
    var outputs: RunOutputs
    var progress: Progress
    var texts: CheckpointTexts
    /// Checkpoints whose tables have been printed, or that have none.
    var printed = 0
    /// Whether standard output takes tables before the end.
    var isRead = true
    var isEnded = false
  }

  private let plan: RunPlan
  private let destination: DestinationOptions
  private let log: LogOptions
  private let state: Mutex<State>
  /// Numbers of the batches that need not be scored again.
  let finished: Set<Int>

  /// - Parameter record: Where an output needs it.
  init(
    _ plan: RunPlan, record: RunRecord?, destination: DestinationOptions, log: LogOptions
  ) throws {
    self.plan = plan
    self.destination = destination
    self.log = log
    let outputs = try RunOutputs(
      plan, record: record, folder: destination.output, scores: destination.csv,
      destination.opening, names: .options)
    finished = outputs.finished
    if let journal = outputs.journal, !log.quiet { Self.announce(journal, plan, destination) }
    state = Mutex(
      State(
        outputs: outputs,
        progress: Progress(
          plan, finished: outputs.finished, isShown: !log.quiet && !log.verbose),
        texts: CheckpointTexts(
          Console.outputStyle, layerLines: log.verbose ? .max : Self.layerLines)))
  }

  private static func announce(
    _ journal: Journal, _ plan: RunPlan, _ destination: DestinationOptions
  ) {
    if journal.isResumed {
      Console.log("resumed: \(journal.finished.count) of \(plan.count) batches are in the journal")
      if journal.outdated > 0 {
        Console.log(
          "\(journal.outdated) batches that are in it are scored again, as more is asked of each")
      }
    } else if destination.resume {
      Console.log(
        "there is no journal at \(printable(journal.path)): the run begins with its first batch")
    }
  }

  /// Scoring begins.
  func begin() { state.withLock { $0.progress.begin() } }

  /// One more batch is done.
  func add(_ result: BatchResult, at number: Int) throws(EvaluationError) {
    try state.withLock { state throws(EvaluationError) in
      let count = state.outputs.results.count
      do throws(EvaluationError) {
        try state.outputs.add(result, at: number)
      } catch {
        throw error.with(
          hint: count == 0
            ? nil
            : "The \(count) batches before this one are kept: make room and go on with --resume.")
      }
      let outputs = state.outputs
      state.progress.advance(past: number) { outputs.entry(ofCheckpoint: $0) }
    }
  }

  /// A checkpoint has failed, and the run goes on with others.
  func add(_ failure: CheckpointFailure) throws(EvaluationError) {
    try state.withLock { state throws(EvaluationError) in
      try state.outputs.add(failure)
      if let index = failure.index { state.progress.leave(checkpoint: index) }
    }
  }

  /// Prints the tables of checkpoints that the run has left behind, before it ends. Where standard output
  /// does not take them, as of a reader that has left, the run goes on: its files come first, and what is
  /// missing is printed when they are written.
  func showFinished() {
    state.withLock { state in
      guard destination.format == .table, state.isRead,
        let next = state.progress.line.next, state.printed < plan.checkpoints.count,
        plan.numbers(ofCheckpoint: state.printed).upperBound <= next
      else { return }
      let progress = state.progress
      progress.interrupted {
        let former = signal(SIGPIPE, SIG_IGN)
        defer { _ = signal(SIGPIPE, former) }
        do throws(CheckpointError) {
          try printCheckpoints(&state) { plan.numbers(ofCheckpoint: $0).upperBound <= next }
        } catch {
          state.isRead = false
        }
      }
    }
  }

  /// Every batch is done.
  ///
  /// - Returns: In how many batches the reference did not converge, and which checkpoints failed.
  func finish() throws -> (notConverged: Int, failures: [CheckpointFailure]) {
    try state.withLock { state in
      let report = try write(&state)
      if !log.quiet { announceFiles(report) }
      return (report.referencesNotConverged, state.outputs.failures)
    }
  }

  /// An error has ended the run: what was finished before is reported, unless it is that nothing
  /// can be written.
  func fail(_ error: EvaluationError) {
    state.withLock { state in
      state.progress.finish()
      guard state.outputs.canReport(after: error) else { return }
      do {
        _ = try write(&state)
        Console.log(
          "reported: \(Self.share(state.outputs.results.count, plan)), those before an error")
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
      let share = Self.share(state.outputs.results.count, plan)
      var advice = "with --output such a run can be resumed"
      if state.outputs.journal != nil { advice = "the same command with --resume goes on" }
      do {
        if !state.outputs.results.isEmpty { _ = try write(&state) }
        Console.log("interrupted after \(share); \(advice)")
      } catch {
        Console.log("error: " + (message(for: error) ?? ""))
      }
      Interruption.exit()
    }
  }

  private static func share(_ count: Int, _ plan: RunPlan) -> String {
    "\(count) of \(plan.count) batch\(plan.count == 1 ? "" : "es")"
  }

  // MARK: - Reports

  /// Files first: whatever happens to standard output, such as a reader that leaves, the run has
  /// been reported.
  private func write(_ state: inout State) throws -> Report {
    state.isEnded = true
    state.progress.finish()
    let report: Report
    do throws(EvaluationError) {
      report = try state.outputs.writeReports()
    } catch {
      throw error.with(
        hint: state.outputs.journal.map {
          "All results are kept in \($0.path): make room and write the reports with --resume."
        })
    }
    switch destination.format {
    case .table: try printRest(&state, report)
    case .csv: try Console.write(document: report.scores.csv)
    case .json: try Console.write(document: report.json(state.outputs.record!).document)
    }
    return report
  }

  /// What a screen has room for between two empty lines and with the next prompt.
  private static var layerLines: Int { Console.outputHeight - 3 }

  private func printCheckpoints(
    _ state: inout State, while isReady: (_ checkpoint: Int) -> Bool
  ) throws(CheckpointError) {
    while state.printed < plan.checkpoints.count, isReady(state.printed) {
      if let entry = state.outputs.entry(ofCheckpoint: state.printed) {
        var texts = state.texts
        try Console.print(texts.next(entry))
        state.texts = texts
      }
      state.printed += 1
    }
  }

  private func printRest(_ state: inout State, _ report: Report) throws {
    try printCheckpoints(&state) { _ in true }
    try Console.print(state.texts.end(report))
    let closing = report.closingText(Console.outputStyle)
    // It shows names as `Console.print` does, and colours are more than text.
    if !closing.isEmpty { try Console.write(document: "\n" + closing) }
  }

  /// Where the results are, and what to do with them.
  private func announceFiles(_ report: Report) {
    if let folder = destination.output {
      let names = ["run.json"] + report.tables.map { $0.name + ".csv" }
      Console.log(
        wrapped(
          "written: \(folder) (\(names.joined(separator: ", "))); eval-cli report makes a page of it"
        ))
    }
    if let csv = destination.csv { Console.log("written: \(printable(csv))") }
  }
}

extension EvaluationError {
  /// The same with other advice, if there is any and it is the file that could not be written.
  fileprivate func with(hint: SettingText?) -> EvaluationError {
    guard case .checkpoint(var error) = self, error.category == .cannotWrite else { return self }
    error.hint = hint ?? error.hint
    return .checkpoint(error)
  }
}
