import ApproxEval

/// Shows where a run is on standard error: on a terminal the table of the checkpoint in work and a line,
/// written anew in place, a line every few seconds elsewhere.
final class Progress {
  private(set) var line: ProgressLine
  private let isShown: Bool
  private let isTerminal: Bool
  private let clock = ContinuousClock()
  private var start: ContinuousClock.Instant
  private var lastLine: ContinuousClock.Instant

  /// Between lines where nothing is rewritten.
  private static let interval = Duration.seconds(5)
  /// Between tables that are.
  private static let frame = Duration.milliseconds(100)

  private var table: LiveTable?
  /// The checkpoint in work when the table was made.
  private var tableCheckpoint: Int?
  private var lastTable: ContinuousClock.Instant

  /// Numbers of batches that were done before.
  private let skipped: Set<Int>

  /// - Parameter finished: Numbers of the batches that are done already.
  init(_ plan: RunPlan, finished: Set<Int>, isShown: Bool) {
    line = ProgressLine(plan: plan, resumed: finished.count, finished: finished.count, seconds: 0)
    skipped = finished
    self.isShown = isShown
    isTerminal = Console.errorIsTerminal
    start = clock.now
    (lastLine, lastTable) = (start, start)
    line.next = next(from: 0)
  }

  /// The clock starts here.
  func begin() {
    start = clock.now
    lastLine = start
    if isTerminal { rewrite() }
  }

  /// The batch of this number is done, and the next one in work.
  ///
  /// - Parameter entry: What there is of a checkpoint by now.
  func advance(past number: Int, entry: (_ checkpoint: Int) -> Report.Entry? = { _ in nil }) {
    line.finished += 1
    line.next = next(from: number + 1)
    let (seconds, attoseconds) = (clock.now - start).components
    line.seconds = Double(seconds) + Double(attoseconds) * 1e-18
    if isTerminal {
      if isShown { renewTable(entry) }
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
    if isTerminal && isShown { Console.rewrite([]) }
  }

  /// Lets others write to the terminal.
  func interrupted<Value>(by body: () throws -> Value) rethrows -> Value {
    finish()
    defer { if isTerminal { rewrite() } }
    return try body()
  }

  /// A table of many batches is not for nothing, and nobody reads ten of them a second.
  private func renewTable(_ entry: (Int) -> Report.Entry?) {
    let checkpoint = line.next.flatMap { line.plan.step($0)?.checkpoint }
    guard clock.now - lastTable >= Self.frame || checkpoint != tableCheckpoint else { return }
    lastTable = clock.now
    tableCheckpoint = checkpoint
    table = checkpoint.flatMap { index in
      entry(index).map {
        LiveTable(entry: $0, planned: line.plan.numbers(ofCheckpoint: index).count)
      }
    }
  }

  private func rewrite() {
    guard isShown else { return }
    let (width, height) = Console.errorSize
    // The cursor of a line that fills the terminal would stand in the next one.
    let rows = table?.lines(width: width - 1, height: height - 2) ?? []
    Console.rewrite(rows + [line.text(width: width)])
  }
}
