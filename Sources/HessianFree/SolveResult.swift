import Foundation
import TensorModule

/// Why a solve ended, with the numbers that decided it.
public enum StopReason: Equatable, Sendable {
  /// `|r| <= tolerance |b|`
  case tolerance(relativeResidual: Double, limit: Double)
  /// gamma of the iterate is within the gap of the least gamma that any direction can have.
  case certificate(gamma: Double, bound: Double, gap: Double)
  case iterationLimit(Int)
  /// Whoever asked for the solve did not want it to go on.
  case abandoned(iteration: Int)
  /// `v^T A v` is not clearly positive: at most `threshold`, which is what rounding leaves of the
  /// largest curvature seen.
  case curvature(quadratic: Double, threshold: Double, iteration: Int)
  /// Neither the energy nor the true residual falls any further: the level of rounding.
  case stagnated(relativeResidual: Double, iteration: Int)
  /// `b = 0`, so `x = 0`.
  case zeroRightHandSide

  /// One word for a table cell.
  public var label: String {
    switch self {
    case .tolerance: "tolerance"
    case .certificate: "certificate"
    case .iterationLimit: "iterations"
    case .abandoned: "abandoned"
    case .curvature: "curvature"
    case .stagnated: "stagnated"
    case .zeroRightHandSide: "zero-gradient"
    }
  }

  /// Whether `x` is as close to the solution as was asked for.
  public var isConverged: Bool {
    switch self {
    case .tolerance, .certificate, .zeroRightHandSide: true
    case .iterationLimit, .abandoned, .curvature, .stagnated: false
    }
  }
}

extension StopReason: CustomStringConvertible {
  /// What happened and its likely cause.
  public var description: String {
    switch self {
    case .tolerance(let residual, let limit):
      "Converged: the relative residual \(rounded(residual)) is at most \(limit)."
    case .certificate(let gamma, let bound, let gap):
      "Converged: gamma \(gamma) is within a factor 1 + \(gap) of "
        + "\(bound), the least that any direction can have."
    case .iterationLimit(let limit):
      "Reached the limit of \(limit) iterations: the system is ill-conditioned or the tolerance "
        + "tight."
    case .abandoned(let iteration):
      "Stopped after iteration \(iteration): at its rate, another solver is predicted to be there "
        + "sooner."
    case .curvature(let quadratic, let threshold, let iteration):
      "Met curvature v^T A v = \(rounded(quadratic)), not above \(rounded(threshold)), in "
        + "iteration \(iteration): what is left of the residual lies in directions that the "
        + "operator maps to zero within rounding, or the operator is not positive semi-definite."
    case .stagnated(let residual, let iteration):
      "No further progress after iteration \(iteration), at a relative residual of "
        + "\(rounded(residual)): the level of rounding for this system."
    case .zeroRightHandSide:
      "The right-hand side is zero, and so is the solution: no direction is distinguished."
    }
  }

  /// For a reader; the numbers themselves are in the case.
  private func rounded(_ number: Double) -> String { String(format: "%.2g", number) }
}

// MARK: -

/// One iterate of a solve.
public struct TraceEntry: Equatable, Sendable {
  /// From 1.
  public var iteration: Int
  /// `|r| / |b|`, r from the recurrence.
  public var relativeResidual: Double
  /// `sqrt(x^T F x) / |x^T b|` (Eqn 15), F without damping. NaN where `x^T F x` is not resolved:
  /// under damping it is a difference, which cancels when the damping dominates.
  public var gamma: Double
  /// Since the start of the solve.
  public var seconds: Double
}

/// A comparison of the recurrence with the true residual.
public struct ResidualCheck: Equatable, Sendable {
  /// The number of steps before it.
  public var iteration: Int
  /// `|b - A x| / |b|`, formed by a product.
  public var trueResidual: Double
  /// `|r| / |b|`
  public var recurrenceResidual: Double
  /// `|(b - A x) - r| / |b|`
  public var difference: Double
  /// Whether the recurrence went on from the true residual.
  public var restarted: Bool
}

/// What a solver returns.
public struct SolveResult<Scalar: EngineScalar>: Sendable {
  /// The best iterate, `[P]`; memory of its own.
  public var x: Vector<Scalar>
  public var stop: StopReason
  /// Steps taken.
  public var iterations: Int
  /// The number of steps after which `x` was reached; below `iterations` only when the last steps
  /// had run into rounding.
  public var iterate: Int
  /// Products with the operator, those for true residuals included.
  public var products: Int
  /// `|b - A x| / |b|` of `x`, formed by a product.
  public var residual: Double
  /// `|r| / |b|` of the last iterate, from the recurrence.
  public var recurrenceResidual: Double
  /// `sqrt(x^T F x) / |x^T b|` of `x` (Eqn 15), F without damping, from a product; NaN for `x = 0`.
  public var gamma: Double
  /// What the least gamma of all directions is estimated to be (`LanczosSteps`): never above
  /// `gamma`, no bound. `nil` under damping and where `x` is not the last iterate.
  public var leastGammaEstimate: Double?
  public var trace: [TraceEntry]
  public var checks: [ResidualCheck]
}
