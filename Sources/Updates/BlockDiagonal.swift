import Curvature
import TensorModule

extension UpdateMethod {
  public static let blockEF = UpdateMethod(
    "block-ef", "as `ef`, for each parameter tensor alone, with a Gram matrix of its own",
    EmpiricalBlocks.needs, EmpiricalBlocks(target: .ones))

  public static let blockIEF = UpdateMethod(
    "block-ief", "as `ief`, for each parameter tensor alone", EmpiricalBlocks.needs,
    EmpiricalBlocks(target: .squares))

  public static let blockSF = UpdateMethod(
    "block-sf", "as `sf`, for each parameter tensor alone",
    MethodNeeds(isDamped: true, trueLabelMethod: "block-ef", gram: .tensors), SampledBlocks())
}

/// EF and iEF with one Gram matrix per parameter tensor (method.md 3): what is left of the matrix
/// when all that couples two tensors is set to zero. lambda is the same for all of them, that of the
/// method without blocks.
private struct EmpiricalBlocks: DirectionRule {
  static let needs = MethodNeeds(isDamped: true, gram: .tensors)

  let target: EmpiricalTarget

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let (blocks, gradients) = (context.blocks, context.gradients)
    let target = target.values(gradients)
    let lambdas = dampings.map { gradients.lambda($0) }
    let parts = DampedParts<S>(gradients.linearization.program, dampings, lambdas)
    for parameter in gradients.linearization.program.trainable {
      let block = try blocks.block(parameter)
      for (lambda, parts) in parts.all {
        block.write(target: target, lambda: lambda, batchUnit: gradients.gram.unit, to: parts)
      }
    }
    return parts.finished()
  }
}

/// `lambda (Ghat_t^T Ghat_t + lambda I)^-1 g_t`, as for SF: the factor is common to all tensors.
///
/// Without damping it is the limit in direction: what the tensors' parts of g have outside of the
/// span of their rows, or the solution where that is nothing but rounding in all of them.
private struct SampledBlocks: DirectionRule {
  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let program = gradients.linearization.program
    let lambdas = dampings.map { gradients.sampledLambda($0) }
    let parts = DampedParts<S>(program, dampings, lambdas)
    var areSpanned = false
    if lambdas.contains(where: { $0.scaled == 0 }) {
      areSpanned = try spanGradients(gradients)
    }
    for parameter in program.trainable {
      let system = try SampledBlock(gradients, parameter)
      for (lambda, parts) in parts.all {
        let form: SampledForm = lambda == 0 && areSpanned ? .solution : .timesLambda
        system.write(form, lambda: lambda, batchUnit: gradients.gram.unit, to: parts)
      }
    }
    return parts.finished()
  }

  /// Whether no tensor's part of g has more than rounding outside of the span of its rows.
  private func spanGradients<S: EngineScalar>(
    _ gradients: BatchGradients<S>
  ) throws(LinearAlgebraError) -> Bool {
    for parameter in gradients.linearization.program.trainable {
      if try !SampledBlock(gradients, parameter).spansGradient { return false }
    }
    return true
  }
}
