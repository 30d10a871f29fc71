import ApproxEval
import Foundation

/// Where a training run is, on standard error: one line rewritten in place on a terminal, elsewhere
/// a line after an epoch, at most every few seconds. With `--verbose` a line for every step.
final class TrainingProgress {
  private let run: TrainingRun
  private let log: LogOptions
  private let isRewritten: Bool
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private var pace: Pace
  private var steps = 0
  private var loss = 0.0

  init(_ run: TrainingRun, _ log: LogOptions) {
    self.run = run
    self.log = log
    isRewritten = Console.errorIsTerminal && !log.quiet && !log.verbose
    start = clock.now
    pace = Pace(isRewritten ? Pace.frames : Pace.lines)
  }

  func show(_ event: TrainingRun.Event) {
    switch event {
    case .step(let step):
      steps = step.step - run.firstStep
      loss = step.loss
      if log.verbose {
        Console.log(
          "step \(step.step), epoch \(step.epoch): loss \(shortened(step.loss)), learning rate "
            + "\(shortened(step.learningRate)), update \(shortened(step.updateNorm))")
      } else if isRewritten && pace.isDue() {
        Console.rewrite([line])
      }
    case .epoch(let epoch):
      guard !log.quiet && !isRewritten && (log.verbose || pace.isDue()) else { return }
      Console.log("epoch \(epoch.epoch): loss \(shortened(epoch.training.loss)); " + line)
    }
  }

  /// Leaves the terminal as it was.
  func finish() {
    if isRewritten { Console.rewrite([]) }
  }

  private var line: String {
    var text = "step \(steps) of \(run.steps)"
    if steps > 0 {
      let elapsed = (clock.now - start) / .seconds(1)
      text += ", loss \(shortened(loss))"
      text += ", \(duration(elapsed / Double(steps) * Double(run.steps - steps))) left"
    }
    return text
  }
}
