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
    leftOut =
      gradients.dropDuplicates.map {
        duplicates(count: gradients.samples, cosine: $0, value: gradients.gram.scaled)
      } ?? []
  }

  func block(_ parameter: ParameterID) throws(LinearAlgebraError) -> EmpiricalBlock<S> {
    if let known = blocks[parameter] { return known }
    let made = try EmpiricalBlock(gradients, parameter, leftOut: leftOut)
    blocks[parameter] = made
    return made
  }
}

/// The right-hand side of EF or iEF with a power of two of its own.
struct EmpiricalTarget {
  let values: [Double]
  let exponent: Int

  /// `b = 1`
  static func ones(_ count: Int) -> EmpiricalTarget {
    EmpiricalTarget(values: [Double](repeating: 1, count: count), exponent: 0)
  }

  /// `b_n = |u_n|_2^2`
  static func squares(_ norms: [Double]) -> EmpiricalTarget {
    let unit = powerOfTwo(near: norms.max() ?? 0)
    return EmpiricalTarget(
      values: norms.map { ($0 / unit) * ($0 / unit) }, exponent: 2 * unit.exponent)
  }
}

/// `G_t^T (K_t + lambda I)^-1 b` of one tensor.
struct EmpiricalBlock<S: EngineScalar> {
  private let parameter: ParameterID
  private let rows: PerSampleGradients<S>
  /// K_t is in units of its square.
  private let unit: Double
  private let solver: DampedGramSolver

  init(
    _ gradients: BatchGradients<S>, _ parameter: ParameterID, leftOut: Set<Int>
  ) throws(LinearAlgebraError) {
    self.parameter = parameter
    rows = gradients.perSample.prefix(draws: 1).restricted(to: parameter)
    let gram = rows.gramMatrix()
    unit = gram.unit
    solver = try DampedGramSolver(
      count: gram.count, precision: Double(S.ulpOfOne), leftOut: leftOut, value: gram.scaled)
  }

  /// - Parameters:
  ///   - lambda: In units of `batchUnit` squared.
  ///   - batchUnit: A power of two.
  /// - Returns: Whether the part rests on eigenvalues at the level of rounding.
  func write(
    target: EmpiricalTarget, lambda: Double, batchUnit: Double, to parts: DirectionParts<S>
  ) -> Bool {
    let own = rescaled(lambda: lambda, from: batchUnit, to: unit)
    let solution = solver.solve(target.values, lambda: own)
    // Of the order of 1 / lambda where that dwarfs K.
    let size = powerOfTwo(near: solution.reduce(0) { max($0, abs($1)) })
    let sum = rows.weightedSum(solution.map { $0 / size }, of: parameter)
    parts.set(
      parameter, sum.values.pointer,
      exponent: sum.unit.exponent + size.exponent + target.exponent - 2 * unit.exponent)
    return solver.isBelowRounding(own)
  }
}
