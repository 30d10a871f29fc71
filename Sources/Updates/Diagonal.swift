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
    let error =
      (gradients.errors.relative[..<gradients.samples].max() ?? 0)
      * Rounding.alignment(g.vector.count)
    let unit = (method == .diagonalIEF ? largestNorm(gradients) : squares.unit) / g.scale
    let ones = (0..<gradients.gram.count).map { $0 < gradients.samples ? 1.0 : 0 }
    let size = gradients.size(of: ones) * gramUnit / g.scale
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
      // What the rows leave in an entry of g in the units of its vector: the errors of its own
      // entries, and of sums that some of them are, as large as entries are on the average.
      let level = error * size / Double(exact.count).squareRoot()
      var (norm, errors) = (0.0, 0.0)
      for i in 0..<exact.count {
        let square = squares.values.pointer[i]
        let root = square.squareRoot()
        let divisor = ((isRoot ? root : square) + own) / excess
        if divisor == 0 { continue }
        let value = Double(g.vector.pointer[i]) / divisor
        exact.pointer[i] = value
        norm += value * value
        // Of g, and of the squares, which are no more than twice as far off as rows.
        let first = (error * root * unit + level) / divisor
        let second = 2 * error * value
        errors += first * first + second * second
      }
      let rounded = ScaledVector<S>(rounding: exact)
      let scale = g.scale.timesPowerOfTwo(
        -(isRoot ? 1 : 2) * squares.unit.exponent - excess.exponent)
      return Direction(
        method: method, damping: damping, lambda: lambda.value,
        scaled: ScaledVector(vector: rounded.vector, scale: rounded.scale * scale),
        relativeError: norm > 0 ? (errors / norm).squareRoot() : 0)
    }
  }

  /// `max_n |u_n|`: the squares of `diag-ief` are of gradients divided by it.
  private static func largestNorm<S: EngineScalar>(_ gradients: BatchGradients<S>) -> Double {
    gradients.output.gradientNorms.max() ?? 0
  }
}
