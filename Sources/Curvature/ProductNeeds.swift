import GraphModule

/// What one Fisher-vector product of a program needs, from shapes alone: nothing is allocated. A
/// linearization that keeps all forward values needs this much.
package struct ProductNeeds: Sendable {
  /// Scalars of the engine's precision, and doubles, that the forward pass leaves behind.
  package let forward: (scalars: Int, doubles: Int)
  /// Scalars of tangents and cotangents, of all workers.
  package let arenas: Int
  /// Scalars in which parameter gradients gather.
  package let accumulators: Int
  /// Multiplications and additions of `J v` and `J^T w` together, of all samples.
  package let operations: Double

  package init(_ program: Program, samples: Int, threads: Int) {
    let plan = GradientPlan(program)
    let schedule = Schedule(
      samples: samples, rowsPerSample: plan.rowsPerSample,
      accumulatorCount: plan.accumulatedCount)
    let kept = program.keptCount
    let logits = program.graph.outputShape.reduce(1, *)
    forward = (samples * (kept.scalars + logits), samples * kept.doubles)
    let workers = min(threads, schedule.lanes.count)
    // Cotangents live as long as tangents, in the other order: about as much memory.
    arenas = 2 * workers * schedule.largestChunk * BufferPlan.tangentCount(program)
    let rows = plan.routes.reduce(0) { sum, route in
      guard case .factored(let factors, _, _)? = route else { return sum }
      return sum + samples * factors.positions * factors.outputs
    }
    accumulators = schedule.lanes.count * plan.accumulatedCount + rows
    operations = 2 * Double(samples) * ProductNeeds.passOperations(program)
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
