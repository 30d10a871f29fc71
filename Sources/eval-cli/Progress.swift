import ApproxEval

/// Shows where a run is on standard error: one line rewritten in place on a terminal, a line every
/// few seconds elsewhere.
final class Progress {
  private var line: ProgressLine
  private let isShown: Bool
  private let isTerminal: Bool
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant
  private var lastLine: ContinuousClock.Instant

  /// Between lines where nothing is rewritten.
  private static let interval = Duration.seconds(5)

  /// Numbers of batches that were done before.
  private let skipped: Set<Int>

  /// - Parameter finished: Numbers of the batches that are done already.
  init(_ plan: RunPlan, finished: Set<Int>, isShown: Bool) {
    line = ProgressLine(plan: plan, resumed: finished.count, finished: finished.count, seconds: 0)
    skipped = finished
    line.next = plan.numbers.first { !finished.contains($0) }
    self.isShown = isShown
    isTerminal = Console.errorIsTerminal
    start = clock.now
    lastLine = start
  }

  /// The clock starts here.
  func begin() {
    start = clock.now
    lastLine = start
    if isTerminal { rewrite() }
  }

  /// One more batch is done.
  func advance() {
    line.finished += 1
    if let done = line.next {
      line.next = line.plan.numbers.suffix(from: done + 1).first { !skipped.contains($0) }
    }
    let (seconds, attoseconds) = (clock.now - start).components
    line.seconds = Double(seconds) + Double(attoseconds) * 1e-18
    if isTerminal {
      rewrite()
    } else if isShown && line.finished < line.plan.count
      && clock.now - lastLine >= Self.interval
    {
      lastLine = clock.now
      Console.log(line.text)
    }
  }

  /// Leaves the terminal as it was.
  func finish() {
    if isTerminal && isShown { Console.rewrite("") }
  }

  private func rewrite() {
    if isShown { Console.rewrite(line.text(width: Console.errorWidth)) }
  }
}
