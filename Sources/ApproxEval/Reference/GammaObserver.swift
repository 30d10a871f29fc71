import HessianFree
import TensorModule

/// Gives the iterates of a solve their gamma, and ends it where that is within the gap of the least that
/// any direction can have (method.md 2, the certificate), or where another solver is predicted to be
/// there sooner.
///
/// With damping the system solved is `(F + mu I) x = g`, while gamma is that of F.
final class GammaObserver<Scalar: EngineScalar>: SolveObserver {
  let units: SolveUnits
  private let gap: Double
  private let outlook: ReferenceOutlook?
  /// mu, where it is part of `x^T A x`.
  private let mu: Double
  private let rounding: Double
  private let operations: VectorOperations<Scalar>
  private(set) var trace: [TraceRow] = []
  /// The last gamma, in the units of the solve.
  private var gamma = Double.nan
  /// Of gamma over its bound, for the outlook.
  private var excesses: [Double] = []

  /// - Parameters:
  ///   - mu: As part of the operator.
  ///   - rounding: Of the operator.
  init(
    _ units: SolveUnits, gap: Double, outlook: ReferenceOutlook? = nil, mu: Double = 0,
    rounding: Double, _ operations: VectorOperations<Scalar>
  ) {
    self.units = units
    self.gap = gap
    self.outlook = outlook
    self.mu = mu
    self.rounding = rounding
    self.operations = operations
  }

  func accept(_ step: SolveStep, _ x: Vector<Scalar>) -> ObserverStop? {
    gamma = gamma(step.terms, x)
    trace.append(
      TraceRow(
        iteration: step.iteration, relativeResidual: step.relativeResidual,
        gamma: units.unscaled(gamma), seconds: step.seconds))
    guard let bound = units.bound, gap > 0, gamma <= (1 + gap) * bound else { return nil }
    return ObserverStop(
      label: "certificate",
      description: "Converged: gamma \(gamma * units.gamma) is within a factor 1 + \(gap) of "
        + "\(bound * units.gamma), the least that any direction can have.")
  }

  /// Asks the outlook every few iterations.
  func abandon(_ step: SolveStep) -> ObserverStop? {
    guard let outlook, let bound = units.bound else { return nil }
    excesses.append(gamma / bound - 1)
    guard excesses.count >= ReferenceOutlook.fewest, excesses.count % 8 == 0,
      !outlook.isWorthwhile(excesses)
    else { return nil }
    return ObserverStop(
      label: "abandoned",
      description: "Stopped after iteration \(step.iteration): at its rate, another solver is "
        + "predicted to be there sooner.")
  }

  /// `sqrt(x^T F x) / |x^T g|` (Eqn 15), in the units of the solve; NaN where nothing but rounding is left
  /// of `x^T F x = x^T A x - mu x^T x`, which cancels when the damping dominates.
  func gamma(_ terms: ModelTerms, _ x: Vector<Scalar>) -> Double {
    var size = terms.norm
    if mu != 0 {
      let difference = terms.quadratic - mu * operations.square(x)
      size = difference > 4 * rounding * terms.quadratic ? difference.squareRoot() : .nan
    }
    return size > 0 && terms.linear != 0 ? size / abs(terms.linear) : .nan
  }

  /// What the least gamma of all directions is estimated to be, `1 / sqrt(1 / gamma^2 + missing)`: never
  /// above gamma, no bound.
  static func least(below gamma: Double, missing: Double) -> Double? {
    // Where neither square leaves the range of numbers.
    let relative = missing * gamma * gamma
    return gamma > 0 && relative.isFinite ? gamma / (1 + relative).squareRoot() : nil
  }
}
