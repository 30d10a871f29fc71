import ApproxEval

/// Shows where a run is on standard error: on a terminal the table of the checkpoint in work and a line,
/// written anew in place, a line every few seconds elsewhere.
final class Progress {
  private(set) var line: ProgressLine
  private let isShown: Bool
  private let isTerminal: Bool
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant
  private var lines = Pace(Pace.lines)
  private var frames = Pace(Pace.frames)
  private var table: LiveTable?

  /// Numbers of batches that were done before.
  private let skipped: Set<Int>

  /// - Parameter finished: Numbers of the batches that are done already.
  init(_ plan: RunPlan, finished: Set<Int>, isShown: Bool) {
    line = ProgressLine(plan: plan, resumed: finished.count, finished: finished.count, seconds: 0)
    skipped = finished
    self.isShown = isShown
    isTerminal = Console.errorIsTerminal
    start = clock.now
    line.next = next(from: 0)
  }

  /// The clock starts here.
  func begin() {
    start = clock.now
    lines = Pace(Pace.lines)
    rewrite()
  }

  /// The batch of this number is done, and the next one in work.
  ///
  /// - Parameter entry: What there is of a checkpoint by now.
  func advance(past number: Int, entry: (_ checkpoint: Int) -> Report.Entry?) {
    line.finished += 1
    line.next = next(from: number + 1)
    line.seconds = (clock.now - start) / .seconds(1)
    guard isShown else { return }
    if isTerminal {
      renewTable(entry)
      rewrite()
    } else if line.finished < line.plan.count && lines.isDue() {
      Console.log(line.text)
    }
  }

  /// A checkpoint has failed, and what is left of it is left out.
  func leave(checkpoint index: Int) {
    line.next = next(from: line.plan.numbers(ofCheckpoint: index).upperBound)
    rewrite()
  }

  private func next(from number: Int) -> Int? {
    line.plan.numbers.drop { $0 < number }.first { !skipped.contains($0) }
  }

  /// Leaves the terminal as it was.
  func finish() {
    if isTerminal && isShown { Console.rewrite([]) }
  }

  /// Lets others write to the terminal.
  func interrupted(by body: () -> Void) {
    finish()
    body()
    rewrite()
  }

  /// Means of many batches are not for nothing: they are formed as often as somebody reads them.
  private func renewTable(_ entry: (Int) -> Report.Entry?) {
    let checkpoint = line.next.flatMap { line.plan.step($0)?.checkpoint }
    guard frames.isDue() || checkpoint != table?.checkpoint else { return }
    table = checkpoint.flatMap { index in
      entry(index).map {
        LiveTable(
          entry: $0, checkpoint: index, planned: line.plan.numbers(ofCheckpoint: index).count)
      }
    }
  }

  private func rewrite() {
    guard isTerminal && isShown else { return }
    let (width, height) = Console.errorSize
    // The cursor of a line that fills the terminal would stand in the next one.
    let rows = table?.lines(width: width - 1, height: height - 2) ?? []
    Console.rewrite(rows + [line.text(width: width)])
  }
}
