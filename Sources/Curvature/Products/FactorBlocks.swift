import GraphModule
import HessianFree
import TensorModule

/// `B = A^T J` by its columns, the tangents of unit vectors, with w as one more column: a block of rows with all of
/// its columns at a time. Where there are fewer parameters than logits of a sample, these are fewer passes than rows
/// would take, which are gradients.
package struct FactorBlocks<S: EngineScalar> {
  private let linearization: Linearization<S>
  private let output: OutputState<S>
  private let plan: FactorBlockPlan
  private let groups: [Group]
  /// w, `[N, O C]`; empty for zeros.
  private let weights: Vector<Double>
  /// A 1 with P - 1 zeros before and behind it: every unit vector is a part of it.
  private let unit: Vector<S>

  /// Some parameters, and where B has their columns.
  private struct Group {
    let linearization: Linearization<S>
    let columns: [Int]
  }

  /// - Parameter hasTarget: Whether the last column is w; else it is zero, as where labels are ruled out.
  package init(
    _ linearization: Linearization<S>, _ output: OutputState<S>, hasTarget: Bool,
    limits: FactorBlockPlan.Limits = FactorBlockPlan.Limits()
  ) {
    (self.linearization, self.output) = (linearization, output)
    plan = linearization.factorBlockPlan(limits)
    weights = hasTarget ? output.rootWeights() : Vector(count: 0)
    let program = linearization.program
    unit = Vector(count: max(2 * program.parameterCount - 1, 1))
    unit.pointer[max(program.parameterCount - 1, 0)] = 1
    groups = plan.groups.compactMap { group in
      // A pass through all of them is the whole one.
      let whole = group.count == program.trainable.count
      guard let own = whole ? linearization : linearization.restricted(to: group) else {
        return nil
      }
      var columns = [Int](repeating: 0, count: own.parameterCount)
      for parameter in group {
        let (place, ours) = (
          program.offsets[parameter.index]!, own.program.offsets[parameter.index]!
        )
        for i in 0..<program.graph.parameters[parameter.index].count {
          columns[ours + i] = place + i
        }
      }
      return Group(linearization: own, columns: columns)
    }
  }

  /// Blocks of one lane come one after the other, those of several may come at the same time.
  package var lanes: Int { plan.lanes.count }
  /// Passes of parameters that begin at different places.
  package var groupCount: Int { groups.count }

  /// Every block once, in its lane: `[rows, P + 1]` by columns, for rows of scored positions alone.
  ///
  /// - Throws: What `body` has thrown first, in the order of lanes; a lane ends where it throws.
  package func forEachBlock(
    _ body: (_ lane: Int, _ rows: Int, _ block: Vector<Double>) throws(SolveError) -> Void
  ) throws(SolveError) {
    for group in groups {
      group.linearization.reserve(
        directions: plan.directions, tangents: true, cotangents: false)
    }
    let blocks: [Memory] = plan.lanes.map { _ in
      (Vector(unsetCount: plan.rows * plan.columns), Vector(unsetCount: plan.rows))
    }
    // A pass of its own: what operations save is that of a whole chunk.
    let stores = linearization.executors.map { _ in
      ForwardStore<S>(program: linearization.program, samples: plan.samples)
    }
    let outcomes = TaskResults<Result<Void, SolveError>>(count: plan.lanes.count)
    linearization.pool.run(plan.lanes.count) { lane, worker in
      outcomes.set(
        lane,
        Result { () throws(SolveError) in
          for index in plan.lanes[lane] {
            let rows = write(
              plan.runs[index], worker: worker, stores[worker], to: blocks[lane])
            if rows > 0 { try body(lane, rows, blocks[lane].block) }
          }
        })
    }
    for outcome in outcomes.all { try outcome.get() }
  }

  /// What a lane writes into: a block, and one of its columns with the rows that are not scored.
  private typealias Memory = (block: Vector<Double>, column: Vector<Double>)

  /// The block of a run.
  ///
  /// - Returns: Its rows.
  private func write(
    _ run: Schedule.Chunk, worker: Int, _ store: ForwardStore<S>, to memory: Memory
  ) -> Int {
    let scored = output.scoredRows(run)
    let rows = scored.count * output.classes
    if rows == 0 { return 0 }
    // What logits do not depend on has columns of zeros.
    Kernels.zero(memory.block.pointer, count: rows * plan.columns)
    func bound(_ own: Linearization<S>) -> Executor<S> {
      own.executors[worker].bind(
        first: run.first, samples: run.count, inputs: own.inputs, store: store, storeOffset: 0)
      return own.executors[worker]
    }
    bound(linearization).forward()
    for group in groups {
      write(group, run, scored, bound(group.linearization), to: memory)
    }
    if weights.count > 0 {
      let all = weights.pointer + run.first * linearization.logitCount
      gather(scored, all, to: memory.block.pointer + rows * (plan.columns - 1))
    }
    return rows
  }

  /// The columns of a group.
  private func write(
    _ group: Group, _ run: Schedule.Chunk, _ scored: [Int], _ executor: Executor<S>,
    to memory: Memory
  ) {
    let own = group.linearization
    let middle = linearization.parameterCount - 1
    let (size, rows) = (run.count * own.logitCount, scored.count * output.classes)
    for first in stride(from: 0, to: own.parameterCount, by: plan.directions) {
      let places = first..<min(first + plan.directions, own.parameterCount)
      let tangents = executor.jvp(
        places.map { place in
          own.program.offsets.map { offset in
            offset.map { UnsafePointer(unit.pointer + (middle - place + $0)) }
          }
        })
      for (r, place) in places.enumerated() {
        output.multiplyRootTransposed(
          chunk: run, UnsafePointer(tangents + r * size), into: memory.column.pointer)
        gather(
          scored, memory.column.pointer, to: memory.block.pointer + rows * group.columns[place])
      }
    }
  }

  /// The rows of scored positions, one behind the other.
  private func gather(
    _ scored: [Int], _ all: UnsafePointer<Double>, to column: UnsafeMutablePointer<Double>
  ) {
    let classes = output.classes
    for (place, position) in scored.enumerated() {
      Kernels.copy(all + position * classes, column + place * classes, count: classes)
    }
  }
}

extension OutputState {
  /// Which positions of a run are scored, counted within it.
  func scoredRows(_ run: Chunk) -> [Int] {
    (0..<run.count * positions).filter { isScored(run.first * positions + $0) }
  }
}
