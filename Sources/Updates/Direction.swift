import Curvature
import TensorModule

/// The direction that a method takes, before any learning rate: a vector, or a weighted sum of
/// per-sample gradients that is never formed.
package struct Direction<S: EngineScalar> {
  package let method: Method
  /// As the user gave it; `nil` where the method has none.
  package let damping: Damping?
  /// The value used.
  package let lambda: Double?
  package let form: DirectionForm<S>
  /// Whether the solution rests on eigenvalues at the level of rounding.
  package let isBelowRounding: Bool

  package init(
    method: Method, damping: Damping? = nil, lambda: Double? = nil, form: DirectionForm<S>,
    isBelowRounding: Bool = false
  ) {
    self.method = method
    self.damping = damping
    self.lambda = lambda
    self.form = form
    self.isBelowRounding = isBelowRounding
  }

  package init(
    method: Method, damping: Damping? = nil, lambda: Double? = nil, scaled: ScaledVector<S>,
    isBelowRounding: Bool = false
  ) {
    self.init(
      method: method, damping: damping, lambda: lambda, form: .explicit(scaled),
      isBelowRounding: isBelowRounding)
  }

  /// The vector itself, formed at every call where it is not kept.
  package var scaled: ScaledVector<S> { form.vector() }
}
