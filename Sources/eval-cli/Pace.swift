/// How often something that goes on is told.
struct Pace {
  /// Between lines that stay.
  static let lines = Duration.seconds(5)
  /// Between pictures in place of each other: nobody reads more of them.
  static let frames = Duration.milliseconds(100)

  private let clock = ContinuousClock()
  private let interval: Duration
  private var last: ContinuousClock.Instant

  /// The first is due after one interval.
  init(_ interval: Duration) {
    self.interval = interval
    last = clock.now
  }

  /// Whether there is one now; the next one then is due an interval later.
  mutating func isDue() -> Bool {
    let now = clock.now
    guard now - last >= interval else { return false }
    last = now
    return true
  }
}
