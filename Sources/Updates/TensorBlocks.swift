import Curvature
import GraphModule
import TensorModule

/// The systems `K_b + lambda I` of single blocks of parameters over the true labels, each decomposed
/// when it is first asked for: block-diagonal and layerwise EF and iEF and the exact blocks of the K-FAC
/// family share them.
package final class TensorBlocks<S: EngineScalar> {
  package let gradients: BatchGradients<S>
  private var blocks: [[ParameterID]: RowBlock<S>] = [:]
  private let leftOut: Set<Int>

  package init(_ gradients: BatchGradients<S>) {
    self.gradients = gradients
    leftOut = gradients.leftOut
  }

  func block(_ group: [ParameterID]) throws(LinearAlgebraError) -> RowBlock<S> {
    if let known = blocks[group] { return known }
    let made = try RowBlock(
      .init(gradients.perSample.prefix(draws: 1), group),
      relativeErrors: gradients.errors.relative, leftOut: leftOut)
    blocks[group] = made
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
        values: [Double](repeating: 1, count: gradients.samples), exponent: 0,
        errors: [Double](repeating: 0, count: gradients.samples))
    case .squares:
      let norms = gradients.output.gradientNorms
      let unit = powerOfTwo(near: norms.max() ?? 0)
      let values = norms.map { ($0 / unit) * ($0 / unit) }
      return TargetValues(
        values: values, exponent: 2 * unit.exponent,
        errors: zip(values, gradients.errors.squares).map(*))
    }
  }
}
