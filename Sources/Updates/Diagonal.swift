import Curvature
import TensorModule

extension UpdateMethod {
  /// The diagonal of the empirical Fisher matrix.
  public static let diagonalEF = UpdateMethod(
    "diag-ef", "`g / (Σ g_n² + λ)`, element by element", Diagonal.needs(.ofGradients),
    Diagonal(squares: .ofGradients, isRoot: false))

  /// The diagonal of the improved empirical Fisher matrix.
  public static let diagonalIEF = UpdateMethod(
    "diag-ief", "`g / (Σ g_n² / s_n + λ)`, element by element", Diagonal.needs(.ofUnitGradients),
    Diagonal(squares: .ofUnitGradients, isRoot: false))

  /// The diagonal of the exact Fisher matrix.
  public static let diagonalNG = UpdateMethod(
    "diag-ng", "`g / (diag F + λ)`, element by element, the exact diagonal for up to 64 outputs",
    Diagonal.needs(.ofFisher), Diagonal(squares: .ofFisher, isRoot: false))

  /// Kingma and Ba 2015, of the batch's own gradients, without averages over time.
  public static let adam = UpdateMethod(
    "adam", "`g / (√(Σ g_n²) + λ)`, element by element", Diagonal.needs(.ofGradients),
    Diagonal(squares: .ofGradients, isRoot: true))
}

/// The gradient divided element by element (method.md 3, 7): by the diagonal of `G^T G` plus lambda
/// (`diag-ef`), by that of `G^T diag(s)^-1 G` plus lambda with `s_n = |u_n|_2^2` (`diag-ief`), by that of
/// F plus lambda (`diag-ng`), or by the square root of the first plus lambda (`adam`).
///
/// The diagonals are sums over samples, as g is. An entry in which no sample has a gradient stays
/// zero.
private struct Diagonal: DirectionRule {
  static func needs(_ squares: MethodNeeds.Squares) -> MethodNeeds {
    MethodNeeds(isDamped: true, squares: squares)
  }

  let squares: MethodNeeds.Squares
  /// Of the squares.
  let isRoot: Bool

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let squares = context.summedSquares(squares)
    let g = gradients.gradient
    let gramUnit = gradients.gram.unit
    let error =
      (gradients.errors.relative[..<gradients.samples].max() ?? 0)
      * Rounding.alignment(g.vector.count)
    let unit = squares.largestUnit / g.scale
    let ones = (0..<gradients.gram.count).map { $0 < gradients.samples ? 1.0 : 0 }
    let size = gradients.size(of: ones) * gramUnit / g.scale
    return dampings.map { damping in
      let lambda = gradients.lambda(damping)
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
        damping: damping, lambda: lambda.value,
        scaled: ScaledVector(vector: rounded.vector, scale: rounded.scale * scale),
        relativeError: norm > 0 ? (errors / norm).squareRoot() : 0)
    }
  }
}

/// The summed squares that methods divide by, in double.
package struct SummedSquares<S: EngineScalar> {
  /// `sum_n g_n^2 / unit^2`
  fileprivate let values: Vector<Double>
  fileprivate let unit: Double
  /// What the rows of the squares are multiplied by at the most in g.
  fileprivate let largestUnit: Double

  init(
    _ gradients: BatchGradients<S>, _ kind: MethodNeeds.Squares,
    _ draw: (_ draws: Int) -> [LogitGradient]
  ) {
    let perSample = gradients.perSample.prefix(draws: 1)
    switch kind {
    case .ofGradients:
      let unit = powerOfTwo(near: perSample.scales.max() ?? 0)
      self.unit = unit
      largestUnit = unit
      values = perSample.summedSquares(unit: unit)
    case .ofUnitGradients:
      // What is stored is g_n / |u_n|.
      unit = 1
      largestUnit = gradients.output.gradientNorms.max() ?? 0
      values = perSample.summedSquares([Double](repeating: 1, count: perSample.count))
    case .ofFisher:
      let curvature = gradients.output.curvatureUnit(.fisher) ?? 1
      unit = curvature.squareRoot()
      largestUnit = unit
      values = gradients.linearization.fisherDiagonal(gradients.output, unit: curvature, draw)
    }
  }
}
