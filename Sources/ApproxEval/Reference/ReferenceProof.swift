import Curvature
import HessianFree
import TensorModule

/// What a residual proves of the directions that a reference is compared with.
///
/// With `r = g - F x`, `F = B^T B`: every d with `d^T g = 1` has `1 = x^T F d + r^T d`, and by
/// Cauchy-Schwarz `x^T F d <= |B x| gamma(d)`. So
///
///     gamma(d) >= (1 - r^T d) / |B x|
///
/// whatever F is and whatever solver made x. What is left is to bound `r^T d`.
struct ReferenceProof {
  /// `|B x|`
  let image: Double
  /// How much longer than the reference a direction may be that is proved not to be better.
  static let reach = 2.0

  /// For all d with `|d| / |d^T g| <= reach |x| / x^T g`: there `|r^T d| <= |r| reach |x| / x^T g`.
  ///
  /// - Parameters:
  ///   - residual: `|r| / |g|`, as far as rounding lets it be known.
  ///   - cosine: `x^T g / (|x| |g|)`
  func least(residual: Double, cosine: Double, reach: Double) -> Double? {
    positive((1 - residual * reach / cosine) / image)
  }

  /// For all d, given the least singular value of B that is not zero: r lies in the range of `B^T`, so that
  /// `|r^T d| <= |r| |B d| / sigma`.
  ///
  /// - Parameter residual: `|r|`
  func least(residual: Double, leastSingularValue sigma: Double) -> Double? {
    positive(1 / (image + residual / sigma))
  }

  private func positive(_ bound: Double) -> Double? { bound > 0 && bound.isFinite ? bound : nil }
}

extension BatchProblem {
  /// What is known of a residual that was formed in S, relative to g.
  static var residualRounding: Double { 16 * Double(S.ulpOfOne) }

  /// A solution of `F x = g` with what its residual proves, where the certificate proves less than was asked
  /// for.
  func proved(
    _ solution: ReferenceSolution<S>, gradient: ScaledVector<S>, gap: Double
  ) -> ReferenceSolution<S> {
    var proved = solution
    let record = solution.record
    guard record.gamma.isFinite, record.gamma > (1 + gap) * output.gammaBound,
      record.status != .zeroGradient
    else { return solution }
    let x = solution.direction
    let sizes = operations.norm(x.vector) * operations.norm(gradient.vector)
    let dot = operations.dot(x.vector, gradient.vector)
    guard dot > 0, sizes > 0 else { return solution }
    // x and `x^T g` are themselves known to rounding.
    let residual = record.residual + Self.residualRounding
    let proof = ReferenceProof(image: record.gamma * dot * x.scale * gradient.scale)
    guard
      let least = proof.least(
        residual: residual, cosine: dot / sizes, reach: ReferenceProof.reach)
    else { return solution }
    // A direction is no better than itself.
    let own = min(least, record.gamma)
    proved.record.leastGammaOfShort = max(own, record.leastGammaOfShort ?? 0)
    if record.status == .notConverged, record.gamma <= (1 + gap) * own {
      proved.record.status = .converged
      proved.record.stop = "length"
    }
    return proved
  }
}
