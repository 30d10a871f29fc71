import Curvature
import GraphModule
import TensorModule

/// The systems `K_t + lambda I` of single parameter tensors over the true labels, each decomposed
/// when it is first asked for: block-diagonal EF and iEF and the exact blocks of the K-FAC family
/// share them.
package final class TensorBlocks<S: EngineScalar> {
  package let gradients: BatchGradients<S>
  private var blocks: [ParameterID: EmpiricalBlock<S>] = [:]
  private let leftOut: Set<Int>

  package init(_ gradients: BatchGradients<S>) {
    self.gradients = gradients
    leftOut = gradients.leftOut
  }

  func block(_ parameter: ParameterID) throws(LinearAlgebraError) -> EmpiricalBlock<S> {
    if let known = blocks[parameter] { return known }
    let made = try EmpiricalBlock(gradients, parameter, leftOut: leftOut)
    blocks[parameter] = made
    return made
  }
}

/// The right-hand side of EF and its kin.
enum EmpiricalTarget {
  /// `b = 1`
  case ones
  /// `b_n = |u_n|_2^2`
  case squares

  func values<S: EngineScalar>(_ gradients: BatchGradients<S>) -> TargetValues {
    switch self {
    case .ones:
      return TargetValues(
        values: [Double](repeating: 1, count: gradients.samples), exponent: 0, isExact: true)
    case .squares:
      let norms = gradients.output.gradientNorms
      let unit = powerOfTwo(near: norms.max() ?? 0)
      return TargetValues(
        values: norms.map { ($0 / unit) * ($0 / unit) }, exponent: 2 * unit.exponent,
        isExact: false)
    }
  }
}

/// A right-hand side with a power of two of its own.
struct TargetValues {
  let values: [Double]
  let exponent: Int
  /// Whether no rounding is in it.
  let isExact: Bool
}

/// `G_t^T (K_t + lambda I)^-1 b` of one tensor.
struct EmpiricalBlock<S: EngineScalar> {
  private let parameter: ParameterID
  private let rows: PerSampleGradients<S>
  /// K_t is in units of its square.
  private let unit: Double
  private let solver: DampedGramSolver
  /// Of the rows, over `unit`.
  private let rowErrors: [Double]
  private let targetErrors: [Double]

  init(
    _ gradients: BatchGradients<S>, _ parameter: ParameterID, leftOut: Set<Int>
  ) throws(LinearAlgebraError) {
    self.parameter = parameter
    rows = gradients.perSample.prefix(draws: 1).restricted(to: parameter)
    let count = gradients.linearization.program.graph.parameters[parameter.index].count
    let gram = rows.gramMatrix()
    unit = gram.unit
    solver = try DampedGramSolver(
      count: gram.count, precision: Double(S.ulpOfOne), parameters: count, leftOut: leftOut,
      value: gram.scaled)
    let alignment = Rounding.alignment(count)
    rowErrors = (0..<gram.count).map {
      alignment * gradients.errors.relative[$0] * gram.scaled($0, $0).squareRoot()
    }
    targetErrors = gradients.errors.squares
  }

  /// - Parameters:
  ///   - lambda: In units of `batchUnit` squared.
  ///   - batchUnit: A power of two.
  func write(
    target: TargetValues, lambda: Double, batchUnit: Double, to parts: DirectionParts<S>
  ) {
    let own = rescaled(lambda: lambda, from: batchUnit, to: unit)
    let solution = solver.solve(target.values, lambda: own)
    // Of the order of 1 / lambda where that dwarfs K.
    let size = powerOfTwo(near: solution.reduce(0) { max($0, abs($1)) })
    let sum = rows.weightedSum(solution.map { $0 / size }, of: parameter)
    parts.set(
      parameter, sum.values.pointer,
      exponent: sum.unit.exponent + size.exponent + target.exponent - 2 * unit.exponent)
    let coefficients = solution.map { $0 / size }
    let error = solver.error(
      of: coefficients, target.values.map { $0 / size }, lambda: own,
      norm: solver.norm(coefficients), rowErrors: rowErrors,
      targetErrors: zip(target.values, targetErrors).map {
        target.isExact ? 0 : $0 * $1 / size
      })
    parts.setError(
      parameter, error, exponent: size.exponent + target.exponent - unit.exponent)
  }
}
