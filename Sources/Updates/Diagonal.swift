import Curvature
import TensorModule

/// The gradient divided element by element (method.md 3): by the diagonal of `G^T G` plus lambda
/// (`diag-ef`), by that of `G^T diag(s)^-1 G` plus lambda with `s_n = |u_n|_2^2` (`diag-ief`), or
/// by the square root of the first plus lambda (`adam`).
///
/// The diagonals are sums over samples, as g is. An entry in which no sample has a gradient stays
/// zero.
package enum Diagonal {
  /// The summed squares that the methods divide by, in double.
  package struct Squares<S: EngineScalar> {
    /// `sum_n g_n^2 / unit^2`
    fileprivate let values: Vector<Double>
    fileprivate let unit: Double

    /// - Parameter method: `diag-ef` and `adam` have the same squares.
    package init(_ gradients: BatchGradients<S>, method: Method) {
      let perSample = gradients.perSample.prefix(draws: 1)
      if method == .diagonalIEF {
        // What is stored is g_n / |u_n|.
        unit = 1
        values = perSample.summedSquares([Double](repeating: 1, count: perSample.count))
      } else {
        let unit = powerOfTwo(near: perSample.scales.max() ?? 0)
        self.unit = unit
        values = perSample.summedSquares(unit: unit)
      }
    }
  }

  package static func directions<S: EngineScalar>(
    _ gradients: BatchGradients<S>, _ squares: Squares<S>, method: Method, dampings: [Damping]
  ) -> [Direction<S>] {
    let g = gradients.gradient
    let gramUnit = gradients.gram.unit
    return dampings.map { damping in
      let lambda = gradients.lambda(damping)
      let isRoot = method == .adam
      // In the units of the divisor. The root has the unit itself, not its square.
      let own =
        isRoot
        ? lambda.scaled.timesPowerOfTwo(2 * gramUnit.exponent - squares.unit.exponent)
        : rescaled(lambda: lambda.scaled, from: gramUnit, to: squares.unit)
      // Quotients stay numbers where lambda dwarfs all squares.
      let excess = own > 1 ? powerOfTwo(near: own) : 1
      let exact = Vector<Double>(count: g.vector.count)
      for i in 0..<exact.count {
        let square = squares.values.pointer[i]
        let divisor = ((isRoot ? square.squareRoot() : square) + own) / excess
        exact.pointer[i] = divisor > 0 ? Double(g.vector.pointer[i]) / divisor : 0
      }
      let rounded = ScaledVector<S>(rounding: exact)
      let scale = g.scale.timesPowerOfTwo(
        -(isRoot ? 1 : 2) * squares.unit.exponent - excess.exponent)
      return Direction(
        method: method, damping: damping, lambda: lambda.value,
        scaled: ScaledVector(vector: rounded.vector, scale: rounded.scale * scale))
    }
  }
}
