import Curvature
import GraphModule
import TensorModule

/// `X^T (X X^T + lambda I)^-1 b` of one block of parameters, X rows of gradients restricted to it.
struct RowBlock<S: EngineScalar> {
  private let group: [ParameterID]
  private let rows: PerSampleGradients<S>
  /// X X^T is in units of its square.
  private let unit: Double
  private let solver: DampedGramSolver
  /// Of the rows, over `unit`.
  private let rowErrors: [Double]

  /// What the solver is made of: it may be factorised later, beside others.
  struct Matrix {
    let group: [ParameterID]
    fileprivate let rows: PerSampleGradients<S>
    fileprivate let gram: GramMatrix

    init(_ all: PerSampleGradients<S>, _ group: [ParameterID]) {
      self.group = group
      rows = all.restricted(to: group)
      gram = rows.gramMatrix(withSums: false)
    }
  }

  /// - Parameters:
  ///   - relativeErrors: How far each row may be from exact arithmetic, as a share of its norm.
  ///   - onlyLambda: The one that will be solved for, if there is just one, in units of `batchUnit`
  ///     squared.
  init(
    _ matrix: Matrix, relativeErrors: [Double], leftOut: Set<Int> = [], onlyLambda: Double? = nil,
    batchUnit: Double = 1
  ) throws(LinearAlgebraError) {
    (group, rows) = (matrix.group, matrix.rows)
    let gram = matrix.gram
    let count = rows.linearization.program.count(of: group)
    unit = gram.unit
    let unit = gram.unit
    solver = try DampedGramSolver(
      count: gram.count, precision: Double(S.ulpOfOne), parameters: count, leftOut: leftOut,
      onlyLambda: onlyLambda.map { rescaled(lambda: $0, from: batchUnit, to: unit) },
      value: gram.scaled)
    let alignment = Rounding.alignment(count)
    rowErrors = (0..<gram.count).map {
      alignment * relativeErrors[$0] * gram.scaled($0, $0).squareRoot()
    }
  }

  /// - Parameters:
  ///   - lambda: In units of `batchUnit` squared.
  ///   - batchUnit: A power of two.
  func write(
    target: TargetValues, lambda: Double, batchUnit: Double, to parts: DirectionParts<S>
  ) {
    let own = rescaled(lambda: lambda, from: batchUnit, to: unit)
    let solution = solver.solve(target.values, lambda: own)
    // Of the order of 1 / lambda where that dwarfs the matrix.
    let size = powerOfTwo(near: solution.reduce(0) { max($0, abs($1)) })
    let sum = rows.weightedSum(solution.map { $0 / size }, of: group)
    parts.set(
      group, sum.values.pointer,
      exponent: sum.unit.exponent + size.exponent + target.exponent - 2 * unit.exponent)
    let coefficients = solution.map { $0 / size }
    let error = solver.error(
      of: coefficients, target.values.map { $0 / size }, lambda: own,
      norm: solver.norm(coefficients), rowErrors: rowErrors,
      targetErrors: target.errors.map { $0 / size })
    parts.setError(
      group[0], error, exponent: size.exponent + target.exponent - unit.exponent)
  }
}

/// A right-hand side with a power of two of its own.
struct TargetValues {
  let values: [Double]
  let exponent: Int
  /// How far each may be from exact arithmetic.
  let errors: [Double]
}
