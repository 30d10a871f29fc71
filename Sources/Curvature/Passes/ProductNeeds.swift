import GraphModule
import TensorModule

/// What one Fisher-vector product of a `Linearization` computes, from shapes alone.
package struct ProductNeeds: Sendable {
  /// Multiplications and additions of `J v` and `J^T w` together, of all samples.
  package let operations: Double
  /// Samples whose forward values exceed the budget and are computed again in every product.
  package let recomputedSamples: Int
  /// Whether directions are combinations of per-sample gradients that are not formed.
  package let usesCombinations: Bool

  package init<S: EngineScalar>(_ needs: BatchNeeds<S>) {
    let program = needs.program
    recomputedSamples = needs.samples - needs.batch.keptSamples
    usesCombinations = needs.usesCombinations
    operations =
      2 * Double(needs.samples) * ProductNeeds.passOperations(program)
      + Double(recomputedSamples) * Double(program.operationCount)
  }

  /// Of one pass for one sample: an operation that is linear in each of its active operands costs
  /// as much as its value for each of them. Attention has two products, each of two operands.
  private static func passOperations(_ program: Program) -> Double {
    zip(program.graph.nodes, program.uses).reduce(0) { sum, step in
      let (node, use) = step
      let weightSlot = node.operation.factorization?.weightSlot ?? 0
      let operands =
        min(2, use.activeInputs.count { $0 }) + (use.trains(weightSlot) ? 1 : 0)
      return sum + Double(operands * node.operation.operationCount)
    }
  }
}
