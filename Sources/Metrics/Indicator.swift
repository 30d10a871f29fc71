import Foundation

/// The indicator of a direction d (Eqn 15) and the two numbers it is made of.
///
/// `gamma(d) = sqrt(d^T F d) / |d^T g|`; smaller is better, and the scale and sign of d do not
/// matter. Under the local quadratic model the best decrease of the loss along d is
/// `1 / (2 gamma^2)` (Eqn 59).
public struct Indicator: Equatable, Sendable {
  /// `d^T F d`
  public var fisherQuadratic: Double
  /// `d^T g`
  public var gradientDot: Double

  /// Of one direction, both in double.
  public init(fisherQuadratic: Double, gradientDot: Double) {
    self.fisherQuadratic = fisherQuadratic
    self.gradientDot = gradientDot
  }

  /// `sqrt(d^T F d) / |d^T g|`, without overflow or underflow of any square.
  ///
  /// Infinite when `d^T g = 0` and `d^T F d > 0`: no step along d lowers the loss. NaN where
  /// `defect` says why: such a direction has no gamma, rather than the best of all.
  public var gamma: Double { resolvedGamma(fisherQuadratic.squareRoot() / abs(gradientDot)) }

  /// `1 / (2 gamma^2) = (d^T g)^2 / (2 d^T F d)`, the decrease of the loss, in its own units, that
  /// the best multiple of d reaches under the local quadratic model (Eqn 59).
  public var bestDecrease: Double {
    let slope = gradientDot / fisherQuadratic.squareRoot()
    return slope * slope / 2
  }
}

// MARK: - What has no gamma

extension Indicator {
  /// Why a direction has no gamma.
  public enum Defect: String, Equatable, Sendable, Codable {
    /// `d^T F d` and `d^T g` are both 0: d is zero, or changes no output.
    case flat
    /// `d^T F d` is 0, or has lost its digits, while `d^T g` is not. In exact arithmetic that
    /// cannot be, as g lies in the range of F: probabilities have underflowed.
    case underflow
    /// One of the two is not finite, or `d^T F d` negative, which no Fisher matrix allows.
    case invalid
    /// g is 0: no direction is distinguished, whatever d is.
    case zeroGradient = "zero-gradient"
    /// There is no d: lambda, or what it takes to solve for d, is beyond the range of numbers.
    case overflow
  }

  /// `nil` where gamma is a number, infinity included.
  public var defect: Defect? {
    if !gamma.isNaN { return nil }
    guard fisherQuadratic >= 0, fisherQuadratic.isFinite, gradientDot.isFinite else {
      return .invalid
    }
    return gradientDot == 0 ? .flat : .underflow
  }
}

/// gamma, or NaN where `gamma^2`, which is of the size of the probabilities in F for labels that
/// the model rules out, is below the normal numbers: what is left of it has lost its digits. (For
/// squared errors the loss itself is then infinite.)
public func resolvedGamma(_ gamma: Double) -> Double { gamma < 0x1p-511 ? .nan : gamma }

// MARK: - Ratios

/// `gamma / gamma of another direction`: against plain gradient descent the main ratio of the
/// paper, where below 1 is better; against the reference at least 1, up to rounding.
///
/// NaN when either is NaN, or both are 0 or both infinite.
public func gammaRelative(_ gamma: Double, to other: Double) -> Double { gamma / other }

/// `(gamma_reference / gamma)^2`: the share of the decrease that the natural gradient could reach
/// under the local quadratic model (Eqn 59) that d reaches. It is the squared cosine between d and
/// the natural gradient in the Fisher metric, so in `[0, 1]`: what rounding carries past 1 is 1. A d
/// that is better than the reference by more is to become the reference.
public func efficiency(gamma: Double, reference: Double) -> Double {
  let ratio = reference / gamma
  return ratio > 1 ? 1 : ratio * ratio
}

/// `(gamma_bound / gamma)^2`: an efficiency that d has at the least, whatever the reference, as no
/// direction has a gamma below the bound (method.md 2, the certificate).
public func efficiencyLow(gamma: Double, bound: Double) -> Double {
  efficiency(gamma: gamma, reference: bound)
}

/// `max_n |v_n| / min_n |v_n|` of per-sample norms: how unevenly a batch is fitted. At least 1.
///
/// Infinite if a norm is 0 and another is not; NaN if there is none, if all are 0, or if one is
/// NaN.
public func imbalance(_ norms: some Collection<Double>) -> Double {
  guard var low = norms.first else { return .nan }
  var high = low
  for norm in norms {
    if norm.isNaN { return .nan }
    low = min(low, norm)
    high = max(high, norm)
  }
  return high / low
}
