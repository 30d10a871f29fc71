import Curvature
import TensorModule

/// EF, iEF and SF with one Gram matrix per parameter tensor (method.md 3): what is left of the
/// matrix when all that couples two tensors is set to zero. lambda is the same for all of them,
/// that of the method without blocks.
package enum BlockDiagonal {
  package static func directions<S: EngineScalar>(
    _ blocks: TensorBlocks<S>, method: Method, dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let gradients = blocks.gradients
    switch method {
    case .blockEF:
      return try empirical(blocks, .ones(gradients.samples), method, dampings)
    case .blockIEF:
      return try empirical(blocks, .squares(gradients.output.gradientNorms), method, dampings)
    case .blockSF: return try sampled(gradients, dampings)
    default: preconditionFailure("BlockDiagonal: method \(method.name)")
    }
  }

  private static func empirical<S: EngineScalar>(
    _ blocks: TensorBlocks<S>, _ target: EmpiricalTarget, _ method: Method, _ dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let program = blocks.gradients.linearization.program
    let lambdas = dampings.map { blocks.gradients.lambda($0) }
    let parts = dampings.map { _ in DirectionParts<S>(program) }
    var isBelow = dampings.map { _ in false }
    for parameter in program.trainable {
      let block = try blocks.block(parameter)
      for i in dampings.indices {
        let below = block.write(
          target: target, lambda: lambdas[i].scaled, batchUnit: blocks.gradients.gram.unit,
          to: parts[i])
        if below { isBelow[i] = true }
      }
    }
    return dampings.indices.map { i in
      Direction(
        method: method, damping: dampings[i], lambda: lambdas[i].value,
        scaled: parts[i].finished(), isBelowRounding: isBelow[i])
    }
  }

  /// `lambda (Ghat_t^T Ghat_t + lambda I)^-1 g_t`, as for SF: the factor is common to all tensors.
  ///
  /// Without damping it is the limit in direction: the solution where every tensor has one, and
  /// what g has outside of the span of the rows where one has not.
  private static func sampled<S: EngineScalar>(
    _ gradients: BatchGradients<S>, _ dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let program = gradients.linearization.program
    let lambdas = dampings.map { gradients.sampledLambda($0) }
    let parts = dampings.map { _ in DirectionParts<S>(program) }
    var isBelow = dampings.map { _ in false }
    var areRegular = false
    if lambdas.contains(where: { $0.scaled == 0 }) { areRegular = try isRegular(gradients) }
    for parameter in program.trainable {
      let system = try SampledBlock(gradients, parameter)
      for i in dampings.indices {
        let form: SampledBlock<S>.Form =
          lambdas[i].scaled == 0 && areRegular ? .solution : .timesLambda
        let below = system.write(
          form, lambda: lambdas[i].scaled, batchUnit: gradients.gram.unit, to: parts[i])
        if below { isBelow[i] = true }
      }
    }
    return dampings.indices.map { i in
      Direction(
        method: .blockSF, damping: dampings[i], lambda: lambdas[i].value,
        scaled: parts[i].finished(), isBelowRounding: isBelow[i])
    }
  }

  /// Whether every tensor has a regular matrix, which takes as many draws as entries.
  private static func isRegular<S: EngineScalar>(
    _ gradients: BatchGradients<S>
  ) throws(LinearAlgebraError) -> Bool {
    let program = gradients.linearization.program
    let rows = gradients.draws * gradients.samples
    guard program.trainable.allSatisfy({ program.graph.parameters[$0.index].count <= rows })
    else { return false }
    for parameter in program.trainable {
      if try !SampledBlock(gradients, parameter).isRegular { return false }
    }
    return true
  }
}
