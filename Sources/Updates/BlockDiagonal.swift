import Curvature
import TensorModule

extension UpdateMethod {
  /// Empirical Fisher of each parameter tensor alone.
  public static let blockEF = UpdateMethod(
    "block-ef", "as `ef`, for each parameter tensor alone, with a Gram matrix of its own",
    EmpiricalBlocks.needs(.tensors), EmpiricalBlocks(target: .ones, partition: .tensors))

  /// Improved empirical Fisher of each parameter tensor alone.
  public static let blockIEF = UpdateMethod(
    "block-ief", "as `ief`, for each parameter tensor alone", EmpiricalBlocks.needs(.tensors),
    EmpiricalBlocks(target: .squares, partition: .tensors))

  /// Sampled Fisher of each parameter tensor alone.
  public static let blockSF = UpdateMethod(
    "block-sf", "as `sf`, for each parameter tensor alone",
    SampledBlocks.needs(.tensors, trueLabelMethod: "block-ef"), SampledBlocks(partition: .tensors))

  /// Empirical Fisher of each layer alone, weight and bias together.
  public static let layerEF = UpdateMethod(
    "layer-ef", "as `ef`, for each layer alone, weight and bias together",
    EmpiricalBlocks.needs(.modules), EmpiricalBlocks(target: .ones, partition: .modules))

  /// Improved empirical Fisher of each layer alone.
  public static let layerIEF = UpdateMethod(
    "layer-ief", "as `ief`, for each layer alone", EmpiricalBlocks.needs(.modules),
    EmpiricalBlocks(target: .squares, partition: .modules))

  /// Sampled Fisher of each layer alone.
  public static let layerSF = UpdateMethod(
    "layer-sf", "as `sf`, for each layer alone",
    SampledBlocks.needs(.modules, trueLabelMethod: "layer-ef"), SampledBlocks(partition: .modules))
}

/// EF and iEF with one Gram matrix per block (method.md 3): what is left of the matrix when all that
/// couples two blocks is set to zero. lambda is the same for all of them, that of the method without
/// blocks.
private struct EmpiricalBlocks: DirectionRule {
  static func needs(_ partition: BlockPartition) -> MethodNeeds {
    MethodNeeds(isDamped: true, gram: partition.needs)
  }

  let target: EmpiricalTarget
  let partition: BlockPartition

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let (blocks, gradients) = (context.blocks, context.gradients)
    let target = target.values(gradients)
    let lambdas = dampings.map { gradients.lambda($0) }
    let program = gradients.linearization.program
    let parts = DampedParts<S>(program, dampings, lambdas)
    for group in partition.groups(program) {
      let block = try blocks.block(group)
      for (lambda, parts) in parts.all {
        block.write(target: target, lambda: lambda, batchUnit: gradients.gram.unit, to: parts)
      }
    }
    return parts.finished()
  }
}

/// `lambda (Ghat_b^T Ghat_b + lambda I)^-1 g_b`, as for SF: the factor is common to all blocks.
///
/// Without damping it is the limit in direction: what the blocks' parts of g have outside of the
/// span of their rows, or the solution where that is nothing but rounding in all of them.
private struct SampledBlocks: DirectionRule {
  static func needs(_ partition: BlockPartition, trueLabelMethod: String) -> MethodNeeds {
    MethodNeeds(
      isDamped: true, sampledLabels: .init(trueLabelMethod: trueLabelMethod), gram: partition.needs)
  }

  let partition: BlockPartition

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
    for group in partition.groups(program) {
      let system = try SampledBlock(gradients, group)
      for (lambda, parts) in parts.all {
        let form: SampledForm = lambda == 0 && areSpanned ? .solution : .timesLambda
        system.write(form, lambda: lambda, batchUnit: gradients.gram.unit, to: parts)
      }
    }
    return parts.finished()
  }

  /// Whether no block's part of g has more than rounding outside of the span of its rows.
  private func spanGradients<S: EngineScalar>(
    _ gradients: BatchGradients<S>
  ) throws(LinearAlgebraError) -> Bool {
    for group in partition.groups(gradients.linearization.program) {
      if try !SampledBlock(gradients, group).spansGradient { return false }
    }
    return true
  }
}
