// What the iterative solvers share: what they know of their iterates, and what is only rounding.

/// What rounding in a precision looks like to the solver.
struct Rounding {
  let eps: Double
  /// By how much the gain may fall short of an earlier one, relative; gamma moves by half of it.
  /// The inner products that give it move by about `eps |x| |b| / x^T b` when x is rounded.
  let slack: Double

  init(_ eps: Double) {
    self.eps = eps
    slack = eps > 1e-10 ? 1e-4 : 1e-9
  }
}

/// An iterate of which the product has been formed.
struct Confirmed {
  var iterate = 0
  var gain = 0.0
  var residual = Double.infinity
  var gamma = Double.nan

  /// Gains that differ by rounding are equal; the residual then decides.
  func isWorse(
    than gain: Double, _ residual: Double, highest: Double, _ rounding: Rounding
  ) -> Bool {
    gain > self.gain * (1 + rounding.slack)
      || gain >= highest * (1 - rounding.slack) && residual < self.residual
  }
}

/// Tells rounding from progress: neither the gain nor the true residual improves any more.
struct ProgressMeter {
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

/// `(x^T b)^2 / x^T A x = 1 / gamma^2`: twice the decrease of the quadratic model that the best
/// multiple of x reaches (Eqn 59), which conjugate gradients increase step by step.
func gainAlong(_ xb: Double, _ quadratic: Double) -> Double {
  quadratic > 0 ? xb / quadratic * xb : 0
}

/// `sqrt(x^T F x) / |x^T b|` (Eqn 15)
func gamma(_ quadratic: Double, _ xb: Double) -> Double {
  quadratic > 0 && xb != 0 ? quadratic.squareRoot() / abs(xb) : .nan
}

func seconds(_ duration: Duration) -> Double {
  let (seconds, attoseconds) = duration.components
  return Double(seconds) + Double(attoseconds) * 1e-18
}
