import GraphModule
import TensorModule

/// What one Fisher-vector product of a `Linearization` needs, from shapes alone: nothing is
/// allocated.
package struct ProductNeeds: Sendable {
  /// Bytes of what the forward pass leaves behind, logits included.
  package let forward: Int
  /// Bytes of tangents and cotangents, of all workers, and of what parameter gradients gather in.
  package let arenas: Int
  /// Multiplications and additions of `J v` and `J^T w` together, of all samples.
  package let operations: Double
  /// Samples whose forward values exceed the budget and are computed again in every product.
  package let recomputedSamples: Int

  /// Whether directions are combinations of per-sample gradients that are not formed.
  package let usesCombinations: Bool

  /// - Parameter budget: Bytes that forward values may take, as for a linearization.
  package init<S: EngineScalar>(
    _ program: Program, samples: Int, threads: Int, budget: Int, _: S.Type
  ) {
    let scalar = MemoryLayout<S>.stride
    let row = max(ForwardStore<S>.bytesPerSample(program), 1)
    let batch = BatchPlan(
      program, samples: samples, threads: threads, budget: budget, bytesPerSample: row)
    let (plan, schedule, workers) = (batch.gradients, batch.schedule, batch.workers)
    recomputedSamples = samples - batch.keptSamples
    usesCombinations = plan.prefersCombinations(samples: samples, keptSamples: batch.keptSamples)
    forward =
      batch.storedSamples * row + samples * program.graph.outputShape.reduce(1, *) * scalar
    // Cotangents live as long as tangents, in the other order: about as much memory.
    let passes = 2 * workers * schedule.largestChunk * BufferPlan.tangentCount(program)
    let rows = plan.routes.reduce(0) { sum, route in
      guard case .factored(let factors, _, _)? = route else { return sum }
      return sum + samples * factors.positions * factors.outputs
    }
    arenas = (passes + schedule.lanes.count * plan.accumulatedCount + rows) * scalar
    operations =
      2 * Double(samples) * ProductNeeds.passOperations(program)
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
