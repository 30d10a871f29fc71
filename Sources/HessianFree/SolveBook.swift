import TensorModule

// What the iterative solvers share: the books of a solve, what it knows of its iterates, what is only
// rounding, and when it ends.

/// The books of one solve. A solver enters its steps and the residuals that it forms by products, and asks
/// whether to go on; the best iterate that a product has confirmed is kept aside.
final class SolveBook<Scalar: EngineScalar> {
  /// What follows a step.
  enum Next { case step, restarted, end }

  let limits: SolveLimits
  let rounding: Rounding
  /// The result so far; its x is the current iterate.
  var result: SolveResult<Scalar>
  private let kept: Vector<Scalar>
  private let vectors: VectorOperations<Scalar>
  private let observer: (any SolveObserver<Scalar>)?
  private let clock = ContinuousClock()
  private let start: ContinuousClock.Instant
  private var best = Confirmed()
  private var progress: ProgressMeter
  private var lanczos = LanczosSteps()
  /// Of the recurrence.
  private var highestGain = 0.0
  /// Of the last iterate confirmed.
  private var lastGain = 0.0

  /// - Parameters:
  ///   - x: For the iterates; becomes zero.
  ///   - kept: For the best of them.
  init(
    _ limits: SolveLimits, rounding: Double, x: Vector<Scalar>, kept: Vector<Scalar>,
    _ vectors: VectorOperations<Scalar>, _ observer: (any SolveObserver<Scalar>)?
  ) {
    start = clock.now
    self.limits = limits
    self.rounding = Rounding(rounding)
    self.kept = kept
    self.vectors = vectors
    self.observer = observer
    progress = ProgressMeter(rounding: self.rounding)
    result = SolveResult(x: x)
    vectors.fill(x, 0)
  }

  /// Steps in x.
  var iterations: Int { result.iterations }

  /// The right-hand side is not zero: `x = 0` has a residual.
  func open() {
    result.residual = 1
    result.recurrenceResidual = 1
    result.stop = .iterationLimit(limits.maxIterations)
    let steps = min(limits.maxIterations, 1 << 16)
    result.steps.reserveCapacity(steps)
    lanczos.reserveCapacity(steps)
    result.checks.reserveCapacity(
      min(limits.maxIterations / limits.residualCheckInterval + 4, 1 << 12))
  }

  /// Whether another step is allowed.
  var hasNext: Bool { iterations < limits.maxIterations }

  /// Whether a step with this gain has lost no more than rounding takes.
  func isGain(_ gain: Double) -> Bool {
    gain >= highestGain * (1 - rounding.slack) && gain > 0
  }

  /// Enters a step.
  ///
  /// - Parameters:
  ///   - alpha: Its length, and `r^T M^-1 r` before it.
  ///   - relativeResidual: After it.
  func enter(
    alpha: Double, residual: Double, gain: Double, terms: ModelTerms, relativeResidual: Double
  ) {
    highestGain = max(highestGain, gain)
    lanczos.append(alpha: alpha, residual: residual)
    result.iterations += 1
    result.recurrenceResidual = relativeResidual
    result.steps.append(
      SolveStep(
        iteration: iterations, relativeResidual: relativeResidual, terms: terms,
        seconds: (clock.now - start) / .seconds(1)))
  }

  /// What follows the step just entered; where the solve is at its end, `result.stop` says why.
  ///
  /// - Parameters:
  ///   - isSpent: Whether the recurrence cannot go on as it is.
  ///   - confirm: Enters the true residual.
  ///   - startAgain: Goes on from there instead; false if that brings nothing.
  func next(
    isSpent: Bool, confirm: () throws(SolveError) -> ResidualCheck,
    startAgain: () throws(SolveError) -> Bool
  ) throws(SolveError) -> Next {
    let step = result.steps[result.steps.count - 1]
    if let reason = observer?.accept(step, result.x) {
      result.stop = .accepted(reason)
      return .end
    }
    let meetsTolerance = step.relativeResidual <= limits.relativeTolerance
    if meetsTolerance || iterations % limits.residualCheckInterval == 0 {
      let check = try confirm()
      let isFaithful = check.difference <= limits.drift
      if check.trueResidual <= limits.relativeTolerance || meetsTolerance && isFaithful {
        result.stop = .tolerance(
          relativeResidual: step.relativeResidual, limit: limits.relativeTolerance)
        return .end
      }
      if !isFaithful, meetsTolerance || progress.hasPaused, try startAgain() { return .restarted }
      if isSpent || progress.isStalled {
        stagnate()
        return .end
      }
    }
    if let reason = observer?.abandon(step) {
      result.stop = .abandoned(reason)
      return .end
    }
    return .step
  }

  /// Enters the true residual of x.
  ///
  /// - Parameter recurrence: `|r| / |b|`
  func confirm(
    gain: Double, terms: ModelTerms, residual: Double, recurrence: Double, difference: Double
  ) -> ResidualCheck {
    progress.record(gain: gain, residual: residual)
    lastGain = gain
    if best.isWorse(than: gain, residual, highest: progress.highestGain, rounding) {
      best = Confirmed(iterate: iterations, gain: gain, residual: residual, terms: terms)
      vectors.copy(result.x, to: kept)
    }
    let check = ResidualCheck(
      iteration: iterations, trueResidual: residual, recurrenceResidual: recurrence,
      difference: difference, restarted: false)
    result.checks.append(check)
    return check
  }

  /// Enters that the recurrence starts again from the residual just confirmed. False if the last such
  /// attempt has brought nothing, or if the recurrence has overstated the gain: then it could only fall.
  func startsAgain() -> Bool {
    guard progress.sinceRestart(), lastGain >= highestGain * (1 - rounding.slack) else {
      return false
    }
    lanczos.startAgain()
    result.checks[result.checks.count - 1].restarted = true
    return true
  }

  func stagnate() {
    result.stop = .stagnated(relativeResidual: best.residual, iteration: best.iterate)
  }

  /// Closes the books: x becomes the best iterate.
  ///
  /// - Parameters:
  ///   - confirm: Enters the true residual of the last iterate, if it has not just been formed.
  ///   - residual: `r^T M^-1 r` of the last iterate, given its true relative residual.
  func close(
    confirm: () throws(SolveError) -> ResidualCheck,
    residual: (_ relative: Double) throws(SolveError) -> Double
  ) throws(SolveError) -> SolveResult<Scalar> {
    if iterations > 0 && result.checks.last?.iteration != iterations { _ = try confirm() }
    if best.iterate == 0 {
      vectors.fill(result.x, 0)
      return result
    }
    vectors.copy(kept, to: result.x)
    (result.iterate, result.residual, result.terms) = (best.iterate, best.residual, best.terms)
    if limits.estimatesError && best.iterate == iterations {
      result.errorEstimate = lanczos.errorEstimate(residual: try residual(best.residual))
    }
    return result
  }
}

// MARK: -

/// What rounding in a precision looks like to the solver.
struct Rounding {
  let eps: Double
  /// By how much the gain may fall short of an earlier one, relative. The inner products that give it
  /// move by about `eps |x| |b| / x^T b` when x is rounded.
  let slack: Double

  init(_ eps: Double) {
    self.eps = eps
    slack = eps > 1e-10 ? 1e-4 : 1e-9
  }
}

/// An iterate of which the product has been formed.
private struct Confirmed {
  var iterate = 0
  var gain = 0.0
  var residual = Double.infinity
  var terms = ModelTerms.zero

  /// Gains that differ by rounding are equal; the residual then decides.
  func isWorse(
    than gain: Double, _ residual: Double, highest: Double, _ rounding: Rounding
  ) -> Bool {
    gain > self.gain * (1 + rounding.slack)
      || gain >= highest * (1 - rounding.slack) && residual < self.residual
  }
}

/// Tells rounding from progress: neither the gain nor the true residual improves any more.
private struct ProgressMeter {
  let rounding: Rounding
  private(set) var highestGain = 0.0
  private var lowestResidual = Double.infinity
  private var checksWithout = 0
  private var progressed = true

  init(rounding: Rounding) { self.rounding = rounding }

  mutating func record(gain: Double, residual: Double) {
    let gained = gain > highestGain * (1 + 4 * rounding.eps)
    let reduced = residual < 0.9 * lowestResidual
    if gained { highestGain = gain }
    if reduced { lowestResidual = residual }
    checksWithout = gained || reduced ? 0 : checksWithout + 1
    if gained || reduced { progressed = true }
  }

  var hasPaused: Bool { checksWithout >= 1 }
  var isStalled: Bool { checksWithout >= 3 }

  /// Whether there has been progress since this was last asked.
  mutating func sinceRestart() -> Bool {
    defer { progressed = false }
    return progressed
  }
}
