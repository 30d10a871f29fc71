import Curvature
import TensorModule

/// A direction, before any learning rate: a vector, or a weighted sum of
/// per-sample gradients that is never formed.
package struct Direction<S: EngineScalar> {
  /// As the user gave it; `nil` where the method has none.
  package let damping: Damping?
  /// The value used.
  package let lambda: Double?
  package let form: DirectionForm<S>
  /// An estimate of `|d - exact d|_2 / |d|_2`: what the rounding of the per-sample gradients has left
  /// in it; 0 for a direction that is taken as it is.
  package let relativeError: Double
  /// What an error of this size does to the samples where it is measured, `[N]`: `|g_n . (d - exact d)|` without
  /// the scale of `form`.
  package internal(set) var response: [Double]?
  /// What iterations have left out of it, in the metric of the curvature: an estimate of
  /// `|d - exact d|_F` without the scale of `form`.
  package internal(set) var missing = 0.0
  /// How they have ended; `nil` for a direction that takes none.
  package internal(set) var solves: BlockSolves?
  /// Whether there is no direction, and `form` is zero: lambda or what it takes to solve for the
  /// direction is beyond the range of numbers.
  package private(set) var overflows = false
  /// Whether that is for want of range in S: lambda itself is a number.
  package private(set) var overflowsInEngine = false

  package init(
    damping: Damping? = nil, lambda: Double? = nil, form: DirectionForm<S>,
    relativeError: Double = 0
  ) {
    self.damping = damping
    self.lambda = lambda
    self.form = form
    self.relativeError = relativeError
  }

  package init(
    damping: Damping? = nil, lambda: Double? = nil, scaled: ScaledVector<S>,
    relativeError: Double = 0
  ) {
    self.init(
      damping: damping, lambda: lambda, form: .explicit(scaled), relativeError: relativeError)
  }

  /// In place of a direction that cannot be formed.
  ///
  /// - Parameters:
  ///   - count: P
  ///   - isOfEngine: Whether lambda itself is a number, and S could not hold what it takes to solve.
  package static func beyondNumbers(
    damping: Damping?, count: Int, isOfEngine: Bool
  ) -> Direction {
    var direction = Direction(
      damping: damping, scaled: ScaledVector(vector: Vector(count: count), scale: 1))
    direction.overflows = true
    direction.overflowsInEngine = isOfEngine
    return direction
  }

  /// The vector itself, formed at every call where it is not kept.
  package var scaled: ScaledVector<S> { form.vector() }
}
