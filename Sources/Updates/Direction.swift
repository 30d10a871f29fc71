import Curvature
import TensorModule

/// The direction that a method takes, before any learning rate.
///
/// The vector is explicit. Whoever uses a direction asks for its norm, its inner products and its
/// jvp, so that a combination of rows of J that is never formed can take its place.
package struct Direction<S: EngineScalar> {
  package let method: Method
  /// As the user gave it; `nil` where the method has none.
  package let damping: Damping?
  /// The value used.
  package let lambda: Double?
  package let scaled: ScaledVector<S>
  /// Whether the solution rests on eigenvalues at the level of rounding.
  package let isBelowRounding: Bool

  package init(
    method: Method, damping: Damping? = nil, lambda: Double? = nil, scaled: ScaledVector<S>,
    isBelowRounding: Bool = false
  ) {
    self.method = method
    self.damping = damping
    self.lambda = lambda
    self.scaled = scaled
    self.isBelowRounding = isBelowRounding
  }
}
