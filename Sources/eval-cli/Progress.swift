import ApproxEval

/// Shows where a run is on standard error: one line rewritten in place on a terminal, a line every
/// few seconds elsewhere.
final class Progress {
  private(set) var line: ProgressLine
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
    self.isShown = isShown
    isTerminal = Console.errorIsTerminal
    start = clock.now
    lastLine = start
    line.next = next(from: 0)
  }

  /// The clock starts here.
  func begin() {
    start = clock.now
    lastLine = start
    if isTerminal { rewrite() }
  }

  /// The batch of this number is done, and the next one in work.
  func advance(past number: Int) {
    line.finished += 1
    line.next = next(from: number + 1)
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

  /// A checkpoint has failed, and what is left of it is left out.
  func leave(checkpoint index: Int) {
    line.next = next(from: line.plan.numbers(ofCheckpoint: index).upperBound)
    if isTerminal { rewrite() }
  }

  private func next(from number: Int) -> Int? {
    line.plan.numbers.drop { $0 < number }.first { !skipped.contains($0) }
  }

  /// Leaves the terminal as it was.
  func finish() {
    if isTerminal && isShown { Console.rewrite("") }
  }

  private func rewrite() {
    if isShown { Console.rewrite(line.text(width: Console.errorWidth)) }
  }
}
