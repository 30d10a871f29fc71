import Curvature
import GraphModule
import HessianFree
import TensorModule

extension UpdateMethod {
  /// The exact Fisher block of each parameter tensor.
  public static let blockNG = UpdateMethod(
    "block-ng", "`(F_tt + λ I)⁻¹ g_t` with the exact Fisher block of each parameter tensor",
    ExactBlocks.needs(.tensors), ExactBlocks(partition: .tensors))

  /// The layerwise oracle (arXiv 2510.09378).
  public static let layerNG = UpdateMethod(
    "layer-ng",
    "`(F_bb + λ I)⁻¹ g_b` with the exact Fisher block of each layer, weight and bias together: what a "
      + "layerwise method can reach at best",
    ExactBlocks.needs(.modules), ExactBlocks(partition: .modules))
}

/// The natural gradient of every block by itself: `(F_bb + lambda I)^-1 g_b`, which is
/// `B_b^T (B_b B_b^T + lambda I)^-1 w` as `F_bb = B_b^T B_b` and `g_b = B_b^T w`; where these matrices are large,
/// by conjugate gradients on F_bb (`BlockSolver`). lambda is that of EF.
///
/// Restricted to its block it has the least gamma of all directions (without damping); over all blocks
/// together that is no theorem, as F couples them.
private struct ExactBlocks: DirectionRule {
  static func needs(_ partition: BlockPartition) -> MethodNeeds {
    MethodNeeds(isDamped: true, fisherBlocks: partition.needs)
  }

  let partition: BlockPartition

  func directions<S: EngineScalar>(
    _ context: DirectionContext<S>, dampings: [Damping]
  ) throws -> [Direction<S>] {
    let gradients = context.gradients
    let program = gradients.linearization.program
    let lambdas = dampings.map { gradients.lambda($0) }
    let parts = DampedParts<S>(program, dampings, lambdas)
    // Cross-entropy of a single logit is constant.
    if gradients.output.rootColumns == 0 { return parts.finished() }
    let groups = partition.groups(program)
    if context.blockSolver(groups) == .iterations {
      try context.writeIteratedBlocks(groups, to: parts)
      return parts.finished()
    }
    guard let target = context.fisherTarget else { return parts.beyondNumbers() }
    try context.writeExactBlocks(groups, target, to: parts)
    return parts.finished()
  }

  func workspace<S: EngineScalar>(_ sizes: MethodSizes<S>) -> MethodWorkspace? {
    let groups = partition.groups(sizes.batch.program)
    return switch sizes.blockSolver(groups) {
    case .matrices: ("blocks of the Fisher matrix", sizes.exactBlocks(groups))
    case .iterations: ("solves of blocks", sizes.iteratedBlocks(groups))
    }
  }
}

extension DirectionContext {
  /// w as a right-hand side; `nil` where it is beyond the range of numbers.
  var fisherTarget: TargetValues? {
    let rows = fisherRows
    guard rows.isWhole else { return nil }
    let (output, samples) = (gradients.output, gradients.samples)
    let unit = powerOfTwo(near: rows.weights.reduce(0) { max($0, abs($1)) })
    let values = rows.weights.map { $0 / unit }
    // An entry that happens to be small moves with the logits as the others of its sample do.
    var squares = [Double](repeating: 0, count: samples)
    for (row, value) in values.enumerated() { squares[row % samples] += value * value }
    let mean = squares.map { ($0 / Double(output.rootColumns)).squareRoot() }
    return TargetValues(
      values: values, exponent: unit.exponent,
      errors: values.indices.map {
        gradients.errors.squares[$0 % samples] * max(abs(values[$0]), mean[$0 % samples])
      })
  }

  /// The parts of blocks, one after the other: their passes share the memory of one linearization.
  func writeIteratedBlocks(
    _ groups: [[ParameterID]], to parts: DampedParts<S>
  ) throws(SolveError) {
    let error = gradients.errors.relative[..<gradients.samples].max() ?? 0
    for group in groups {
      guard let block = IteratedBlock(gradients, group) else { continue }
      let count = gradients.linearization.program.count(of: group)
      for (lambda, parts) in parts.all {
        try block.write(
          lambda: lambda, batchUnit: gradients.gram.unit,
          error: error * Rounding.alignment(count), limits: blockLimits, to: parts)
      }
    }
  }

  /// The parts of blocks, several at the same time.
  func writeExactBlocks(
    _ groups: [[ParameterID]], _ target: TargetValues, to parts: DampedParts<S>
  ) throws(LinearAlgebraError) {
    let pool = gradients.linearization.pool
    let errors = fisherRowErrors
    // Their matrices are formed by all threads, and factorised side by side.
    for first in stride(from: 0, to: groups.count, by: pool.threads) {
      let own = Array(groups[first..<min(first + pool.threads, groups.count)])
      let systems = own.map { ExactBlock.System(fisherRows, $0, target) }
      let made = try pool.results(own.count) { task throws(LinearAlgebraError) in
        try ExactBlock(
          systems[task], errors: errors, target,
          onlyLambda: parts.all.count == 1 ? parts.all[0].lambda : nil,
          batchUnit: gradients.gram.unit)
      }
      for block in made {
        for (lambda, parts) in parts.all {
          block.write(target: target, lambda: lambda, batchUnit: gradients.gram.unit, to: parts)
        }
      }
    }
  }

  /// Of the rows of B, `[O rank N]`.
  private var fisherRowErrors: [Double] {
    let own = RowErrors.ofDraws(gradients.output)
    return (0..<gradients.output.rootColumns).flatMap { _ in own }
  }
}
