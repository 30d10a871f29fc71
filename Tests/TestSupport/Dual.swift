import Foundation

/// A number and its derivative along one direction: forward-mode differentiation without a tape.
package struct Dual: Sendable {
  package var value: Double
  package var derivative: Double

  package init(_ value: Double, _ derivative: Double = 0) {
    self.value = value
    self.derivative = derivative
  }

  package static func + (a: Dual, b: Dual) -> Dual {
    Dual(a.value + b.value, a.derivative + b.derivative)
  }
  package static func - (a: Dual, b: Dual) -> Dual {
    Dual(a.value - b.value, a.derivative - b.derivative)
  }
  package static func * (a: Dual, b: Dual) -> Dual {
    Dual(a.value * b.value, a.derivative * b.value + a.value * b.derivative)
  }
  package static func / (a: Dual, b: Dual) -> Dual {
    let quotient = a.value / b.value
    return Dual(quotient, (a.derivative - quotient * b.derivative) / b.value)
  }

  /// f(x) for a function given by its value and derivative.
  package func apply(_ value: Double, slope: Double) -> Dual { Dual(value, slope * derivative) }

  package var squareRoot: Dual {
    let root = value.squareRoot()
    return apply(root, slope: 0.5 / root)
  }

  package var exponential: Dual { apply(exp(value), slope: exp(value)) }

  package var tanh: Dual {
    let t = Foundation.tanh(value)
    return apply(t, slope: 1 - t * t)
  }

  var sigmoid: Dual {
    let s = 1 / (1 + exp(-value))
    return apply(s, slope: s * (1 - s))
  }

  func softplus(beta: Double, threshold: Double) -> Dual {
    let t = beta * value
    return t > threshold ? self : apply(log1p(exp(t)) / beta, slope: 1 / (1 + exp(-t)))
  }

  var normalDistribution: Dual {
    apply(
      0.5 * erfc(-value / 2.0.squareRoot()),
      slope: exp(-value * value / 2) / (2 * Double.pi).squareRoot())
  }
}
