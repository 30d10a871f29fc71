import Foundation
import TensorModule

/// Why a solve ended, with the numbers that decided it.
public enum StopReason: Equatable, Sendable {
  /// `|r| <= tolerance |b|`
  case tolerance(relativeResidual: Double, limit: Double)
  /// The observer wanted no more than the last iterate.
  case accepted(ObserverStop)
  /// The observer did not want it to go on.
  case abandoned(ObserverStop)
  /// So many steps were made.
  case iterationLimit(Int)
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
    case .accepted(let stop), .abandoned(let stop): stop.label
    case .iterationLimit: "iterations"
    case .curvature: "curvature"
    case .stagnated: "stagnated"
    case .zeroRightHandSide: "zero"
    }
  }

  /// Whether `x` is as close to the solution as was asked for.
  public var isConverged: Bool {
    switch self {
    case .tolerance, .accepted, .zeroRightHandSide: true
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
    case .accepted(let stop), .abandoned(let stop): stop.description
    case .iterationLimit(let limit):
      "Reached the limit of \(limit) iterations: the system is ill-conditioned or the tolerance "
        + "tight."
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
  /// The best iterate, `[P]`: the caller's own vector.
  public var x: Vector<Scalar>
  /// Why the solve ended.
  public var stop = StopReason.zeroRightHandSide
  /// Steps taken.
  public var iterations = 0
  /// The number of steps after which `x` was reached; below `iterations` only when the last steps
  /// had run into rounding.
  public var iterate = 0
  /// Products with the operator, those for true residuals included.
  public var products = 0
  /// `|b - A x| / |b|` of `x`, formed by a product.
  public var residual = 0.0
  /// `|r| / |b|` of the last iterate, from the recurrence.
  public var recurrenceResidual = 0.0
  /// Of `x`, from a product; zero for `x = 0`.
  public var terms = ModelTerms.zero
  /// What `|x - A^+ b|_A^2`, the part that is missing of `b^T A^+ b`, is estimated to be
  /// (`LanczosSteps`); no bound. `nil` where it was not asked for, or `x` is not the last iterate.
  public var errorEstimate: Double?
  /// One for each step.
  public var steps: [SolveStep] = []
  /// Where true residuals were formed.
  public var checks: [ResidualCheck] = []
}
