import TensorModule

/// A vector times a power of two that single precision need not be able to hold.
package struct ScaledVector<S: EngineScalar>: Sendable {
  package let vector: Vector<S>
  package let scale: Double

  package init(vector: Vector<S>, scale: Double) {
    self.vector = vector
    self.scale = scale
  }
}

extension ScaledVector {
  /// A vector in double, rounded to S relative to its largest entry.
  package init(rounding exact: Vector<Double>) {
    // The reciprocal of a smaller one is no number.
    let unit = max(
      powerOfTwo(near: Kernels.largest(UnsafePointer(exact.pointer), count: exact.count)),
      .leastNormalMagnitude)
    Kernels.axpby(0, exact.pointer, 1 / unit, exact.pointer, count: exact.count)
    let rounded = Vector<S>(count: exact.count)
    Kernels.fromDouble(exact.pointer, rounded.pointer, count: exact.count)
    self.init(vector: rounded, scale: unit)
  }
}

/// The power of two next to a positive number, 1 for zero: multiplying by it is exact.
package func powerOfTwo(near value: Double) -> Double {
  guard value > 0, value.isFinite else { return 1 }
  return Double(sign: .plus, exponent: value.exponent, significand: 1)
}

/// `|x|_2` of numbers whose squares may leave the range of double.
///
/// - Parameter square: The sum of squares, if it is known; used where it has all of its digits.
func euclideanNorm(_ x: some Collection<Double>, square: Double? = nil) -> Double {
  let square = square ?? x.reduce(0) { $0 + $1 * $1 }
  if hasItsDigits(square: square) { return square.squareRoot() }
  let unit = powerOfTwo(near: x.reduce(0) { max($0, abs($1)) })
  return unit * x.reduce(0) { $0 + ($1 / unit) * ($1 / unit) }.squareRoot()
}

/// Whether a sum of squares is far enough from the end of the numbers.
func hasItsDigits(square: Double) -> Bool { square > 1e-280 && square.isFinite }

extension Double {
  /// The number times a power of two, which itself may be beyond the range of double.
  package func timesPowerOfTwo(_ exponent: Int) -> Double {
    let half = exponent / 2
    return self * Double(sign: .plus, exponent: half, significand: 1)
      * Double(sign: .plus, exponent: exponent - half, significand: 1)
  }
}
