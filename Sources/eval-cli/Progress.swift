import Foundation

/// Where a run is, on standard error: one line rewritten in place on a terminal, a line every few
/// seconds elsewhere.
final class Progress {
  private let total: Int
  private let isQuiet: Bool
  private let isTerminal: Bool
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private var lastLine: ContinuousClock.Instant
  private var done = 0

  /// Between lines where nothing is rewritten.
  private static let interval = Duration.seconds(5)

  init(total: Int, isQuiet: Bool) {
    self.total = total
    self.isQuiet = isQuiet
    isTerminal = Console.errorIsTerminal
    start = clock.now
    lastLine = start
    if isTerminal { show() }
  }

  /// One more batch is done.
  func advance() {
    done += 1
    if isTerminal {
      show()
    } else if !isQuiet && clock.now - lastLine >= Self.interval {
      lastLine = clock.now
      Console.log(line)
    }
  }

  /// Leaves the terminal as it was.
  func finish() {
    if isTerminal && !isQuiet { Console.rewrite("\r\u{1B}[K") }
  }

  private func show() {
    if !isQuiet { Console.rewrite("\r\u{1B}[K" + line) }
  }

  private var line: String {
    let elapsed = clock.now - start
    let seconds =
      Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
    var text = "\(done) of \(total) batch\(total == 1 ? "" : "es")"
    if done > 0 && seconds > 0 {
      let rate = Double(done) / seconds
      text +=
        rate < 1
        ? String(format: ", %.1f s per batch", 1 / rate) : String(format: ", %.1f batches/s", rate)
      text += ", \(Self.time(Double(total - done) / rate)) left"
    }
    return text
  }

  /// `1:02:03`, `2:03`, `0:03`
  private static func time(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded(.up))
    let (hours, minutes) = (whole / 3600, whole / 60 % 60)
    return hours > 0
      ? String(format: "%d:%02d:%02d", hours, minutes, whole % 60)
      : String(format: "%d:%02d", minutes, whole % 60)
  }
}
