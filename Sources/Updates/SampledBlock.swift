import Curvature
import GraphModule
import TensorModule

/// SF of one parameter tensor: `(Ghat_t^T Ghat_t + lambda I)^-1 g_t`, Ghat the gradients of k
/// sampled labels per sample divided by sqrt(k).
///
/// With fewer rows than entries through the Woodbury identity, as `SampledFisher`; with more, as
/// biases have them, through the singular values of Ghat_t, where nothing cancels. All sums are in
/// double.
struct SampledBlock<S: EngineScalar> {
  /// What is formed.
  enum Form {
    /// lambda times the solution, which tends to what g_t has outside of the span of Ghat_t.
    case timesLambda
    /// The solution itself; without damping the one of least norm.
    case solution
  }

  private enum System {
    /// Ghat Ghat^T, and `Ghat g`.
    case rows(DampedGramSolver, target: [Double])
    /// Squared singular values, right singular vectors in rows, and g in their coordinates.
    case entries(squares: [Double], basis: Vector<Double>, coordinates: [Double], level: Double)
  }

  private let parameter: ParameterID
  private let rows: PerSampleGradients<S>
  private let samples: Int
  private let draws: Int
  private let unit: Double
  /// Of g in `System.entries`.
  private let gradientExponent: Int
  private let system: System

  init(
    _ gradients: BatchGradients<S>, _ parameter: ParameterID
  ) throws(LinearAlgebraError) {
    self.parameter = parameter
    rows = gradients.perSample.restricted(to: parameter)
    (samples, draws) = (gradients.samples, gradients.draws)
    let count = gradients.linearization.program.graph.parameters[parameter.index].count
    let sampled = draws * samples
    let leftOut = gradients.sampledLeftOut
    let precision = Double(S.ulpOfOne)
    if sampled < count {
      let gram = rows.gramMatrix()
      unit = gram.unit
      gradientExponent = 0
      var target = [Double](repeating: 0, count: sampled)
      for i in 0..<sampled {
        for n in 0..<samples { target[i] += gram.scaled(samples + i, n) }
        target[i] /= Double(draws).squareRoot()
      }
      let (first, divisor) = (samples, Double(draws))
      let solver = try DampedGramSolver(count: sampled, precision: precision, leftOut: leftOut) {
        gram.scaled(first + $0, first + $1) / divisor
      }
      system = .rows(solver, target: target)
    } else {
      // In units of the largest scale: squares of 1e-160 are no numbers.
      unit = powerOfTwo(near: rows.scales[samples...].max() ?? 0)
      let matrix = rows.matrix(
        samples..<rows.count, dividedBy: unit * Double(draws).squareRoot())
      for row in leftOut {
        Kernels.zero(matrix.pointer + row * count, count: count)
      }
      let factors = try LAPACK.singularValues(rows: sampled, columns: count, matrix)
      let ones = [Double](repeating: 1, count: samples)
      let g = rows.weightedSum(
        ones + [Double](repeating: 0, count: sampled), of: parameter)
      gradientExponent = g.unit.exponent
      var coordinates = [Double](repeating: 0, count: count)
      BLAS.gemm(
        m: count, n: 1, k: count, factors.rightTransposed.pointer, lda: count, g.values.pointer,
        ldb: 1, &coordinates, ldc: 1)
      let squares = factors.values.map { $0 * $0 }
      system = .entries(
        squares: squares, basis: factors.rightTransposed, coordinates: coordinates,
        level: Double(sampled) * max(.ulpOfOne, precision * precision) * (squares.first ?? 0))
    }
  }

  /// Whether `Ghat_t^T Ghat_t` has an inverse.
  var isRegular: Bool {
    guard case .entries(let squares, _, _, let level) = system else { return false }
    return (squares.last ?? 0) > level
  }

  /// - Returns: Whether the part rests on eigenvalues at the level of rounding.
  func write(
    _ form: Form, lambda: Double, batchUnit: Double, to parts: DirectionParts<S>
  ) -> Bool {
    let own = rescaled(lambda: lambda, from: batchUnit, to: unit)
    switch system {
    case .rows(let solver, let target):
      writeSum(form, lambda: own, solver, target, to: parts)
      return solver.isBelowRounding(own)
    case .entries(let squares, let basis, let coordinates, let level):
      let weighted = zip(coordinates, squares).map { coordinate, square in
        switch form {
        case .timesLambda where own > 0: coordinate * (own / (square + own))
        case .timesLambda: square > level ? 0 : coordinate
        case .solution where own > 0: coordinate / (square + own)
        case .solution: square > level ? coordinate / square : 0
        }
      }
      let count = squares.count
      var part = weighted
      BLAS.gemm(
        transposeA: true, m: count, n: 1, k: count, basis.pointer, lda: count, weighted, ldb: 1,
        &part, ldc: 1)
      parts.set(
        parameter, part,
        exponent: gradientExponent - (form == .solution ? 2 * unit.exponent : 0))
      return !isRegular && own <= level
    }
  }

  private func writeSum(
    _ form: Form, lambda: Double, _ solver: DampedGramSolver, _ target: [Double],
    to parts: DirectionParts<S>
  ) {
    let root = Double(draws).squareRoot()
    var solution = solver.solve(target, lambda: lambda)
    var weight = 1.0
    var factor = 1.0
    var exponent = 0
    if form == .solution {
      exponent = -2 * unit.exponent
      if lambda > 0 {
        factor = 1 / lambda.significand
        exponent -= lambda.exponent
      } else {
        // Ghat^T K^-2 Ghat g.
        solution = solver.solve(solution, lambda: 0).map { -$0 }
        weight = 0
      }
    }
    let sum = rows.weightedSum(
      [Double](repeating: weight * factor, count: samples)
        + solution.map { -$0 * factor / root }, of: parameter)
    parts.set(parameter, sum.values.pointer, exponent: sum.unit.exponent + exponent)
  }
}
