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
    for parameter in program.trainable {
      let block = try blocks.block(parameter)
      for i in dampings.indices {
        block.write(
          target: target, lambda: lambdas[i].scaled, batchUnit: blocks.gradients.gram.unit,
          to: parts[i])
      }
    }
    return directions(method, dampings, lambdas.map(\.value), parts)
  }

  private static func directions<S: EngineScalar>(
    _ method: Method, _ dampings: [Damping], _ lambdas: [Double], _ parts: [DirectionParts<S>]
  ) -> [Direction<S>] {
    dampings.indices.map { i in
      let (scaled, error) = parts[i].finished()
      return Direction(
        method: method, damping: dampings[i], lambda: lambdas[i], scaled: scaled,
        relativeError: error)
    }
  }

  /// `lambda (Ghat_t^T Ghat_t + lambda I)^-1 g_t`, as for SF: the factor is common to all tensors.
  ///
  /// Without damping it is the limit in direction: what the tensors' parts of g have outside of the
  /// span of their rows, or the solution where that is nothing but rounding in all of them.
  private static func sampled<S: EngineScalar>(
    _ gradients: BatchGradients<S>, _ dampings: [Damping]
  ) throws(LinearAlgebraError) -> [Direction<S>] {
    let program = gradients.linearization.program
    let lambdas = dampings.map { gradients.sampledLambda($0) }
    let parts = dampings.map { _ in DirectionParts<S>(program) }
    var areSpanned = false
    if lambdas.contains(where: { $0.scaled == 0 }) {
      areSpanned = try spanGradients(gradients)
    }
    for parameter in program.trainable {
      let system = try SampledBlock(gradients, parameter)
      for i in dampings.indices {
        let form: SampledForm =
          lambdas[i].scaled == 0 && areSpanned ? .solution : .timesLambda
        system.write(
          form, lambda: lambdas[i].scaled, batchUnit: gradients.gram.unit, to: parts[i])
      }
    }
    return directions(.blockSF, dampings, lambdas.map(\.value), parts)
  }
  /// Whether no tensor's part of g has more than rounding outside of the span of its rows.
  private static func spanGradients<S: EngineScalar>(
    _ gradients: BatchGradients<S>
  ) throws(LinearAlgebraError) -> Bool {
    for parameter in gradients.linearization.program.trainable {
      if try !SampledBlock(gradients, parameter).spansGradient { return false }
    }
    return true
  }
}
