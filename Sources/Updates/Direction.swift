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
  /// Whether there is no direction, and `form` is zero: lambda or what it takes to solve for the
  /// direction is beyond the range of numbers.
  package private(set) var overflows = false

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

  /// In place of a direction that cannot be formed.
  ///
  /// - Parameter count: P
  package static func beyondNumbers(
    method: Method, damping: Damping?, count: Int
  ) -> Direction {
    var direction = Direction(
      method: method, damping: damping, scaled: ScaledVector(vector: Vector(count: count), scale: 1)
    )
    direction.overflows = true
    return direction
  }

  /// The vector itself, formed at every call where it is not kept.
  package var scaled: ScaledVector<S> { form.vector() }
}
