import GraphModule
import TensorModule

/// Where `vjp` gathers parameter gradients, allocated once and reused.
final class GradientAccumulators<S: EngineScalar> {
  let plan: GradientPlan
  let directions: Int
  let samples: Int
  /// Per lane: `[R, accumulatedCount]`.
  private let lanes: [Vector<S>]
  /// Per factored node: output cotangents `[R, N T, out]`.
  private let cotangentRows: [Vector<S>?]

  init(plan: GradientPlan, samples: Int, lanes: Int, directions: Int) {
    self.plan = plan
    self.directions = directions
    self.samples = samples
    self.lanes = (0..<lanes).map { _ in Vector(count: directions * plan.accumulatedCount) }
    cotangentRows = plan.routes.map { route in
      switch route {
      case .factored(let factors, _, _)?, .table(let factors, _)?:
        return Vector(count: directions * samples * factors.positions * factors.outputs)
      case .direct?, nil: return nil
      }
    }
  }

  func begin(directions: Int) {
    for lane in lanes { Kernels.zero(lane.pointer, count: directions * plan.accumulatedCount) }
  }

  func collect(_ pass: CotangentPass<S>, first: Int, lane: Int) {
    switch plan.routes[pass.nodeIndex]! {
    case .factored, .table:
      let rows = cotangentRows[pass.nodeIndex]!
      for r in 0..<pass.directions {
        pass.copyCotangent(
          direction: r, to: rows.pointer + (r * samples + first) * pass.node.size)
      }
    case .direct:
      for (slot, parameter) in pass.node.parameters.enumerated() {
        guard let offset = plan.accumulatorOffsets[parameter.index] else { continue }
        for r in 0..<pass.directions {
          pass.node.operation.addGradient(
            pass, slot: slot, direction: r,
            to: lanes[lane].pointer + r * plan.accumulatedCount + offset)
        }
      }
    }
  }

  /// Sums the lanes, in the order of `SampleSums`, and multiplies the collected rows, one direction per result.
  func assemble(into results: [Vector<S>], linearization: Linearization<S>) {
    for (r, result) in results.enumerated() {
      var tasks: [() -> Void] = []
      for (index, route) in plan.routes.enumerated() {
        guard case .factored(let factors, let weight, let bias)? = route else { continue }
        let count = samples * factors.positions
        let rows = FactoredRows(
          factors: factors, count: count,
          inputs: linearization.inputRows(node: index, factors),
          cotangents: cotangentRows[index]!.pointer + r * count * factors.outputs,
          table: plan.tables[index].map { table in
            let count = samples * table.factors.positions
            return TableRows(
              indices: linearization.indices(of: table),
              cotangents: cotangentRows[table.node]!.pointer + r * count * table.factors.outputs,
              count: count)
          })
        let offsets = plan.program.offsets
        tasks += rows.gradientTasks(
          weight: result.pointer + offsets[weight.index]!,
          bias: bias.map { result.pointer + offsets[$0.index]! })
      }
      for parameter in plan.program.trainable {
        guard let start = plan.accumulatorOffsets[parameter.index] else { continue }
        let count = plan.program.graph.parameters[parameter.index].count
        let target = result.pointer + plan.program.offsets[parameter.index]!
        let block = 1 << 16
        for begin in stride(from: 0, to: count, by: block) {
          tasks.append { [self] in
            let length = min(block, count - begin)
            let first = r * plan.accumulatedCount + start + begin
            SummationTree.add(
              lanes.map { UnsafePointer($0.pointer + first) }, count: length, to: target + begin)
          }
        }
      }
      let operations = 2 * Double(samples) * Double(linearization.parameterCount)
      linearization.pool.run(tasks.count, operations: operations) { task, _ in tasks[task]() }
    }
  }
}

/// Hands what one lane's executor finds to the accumulators.
struct LaneCollector<S: EngineScalar>: GradientCollector {
  let accumulators: GradientAccumulators<S>
  let lane: Int

  func collect(_ pass: CotangentPass<S>, first: Int) {
    accumulators.collect(pass, first: first, lane: lane)
  }
}
