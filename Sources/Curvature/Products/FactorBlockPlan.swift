import GraphModule
import TensorModule

/// How B is gone through by its columns, a block of rows at a time: from shapes alone, never by the number of
/// threads.
package struct FactorBlockPlan: Sendable {
  /// Runs of samples inside of one chunk, which have a block each.
  let runs: [Schedule.Chunk]
  /// Blocks that are handled one after the other.
  package let lanes: [Range<Int>]
  /// Columns that are formed in one pass.
  package let directions: Int
  /// Groups of parameters with passes of their own, which begin at the first of the group.
  package let groups: [[ParameterID]]
  /// Samples of the largest block, and its rows.
  let samples: Int
  package let rows: Int
  /// P, and one for w.
  package let columns: Int

  /// What is as large as it is for speed alone.
  package struct Limits: Sendable {
    /// Scalars that the blocks of all lanes have where the samples are small enough, and those for which there are
    /// several lanes at the most.
    package var scalars = 1 << 22
    package var mostScalars = 1 << 27
    /// Each has a triangular factor.
    package var lanes = 8
    /// Rows of a product of matrices from which on it gains nothing by more of them.
    package var productRows = 2048
    /// Each has a program.
    package var groups = 8

    package init() {}
  }

  init(
    _ program: Program, _ schedule: Schedule, rowsPerSample: Int, directionsPerPass: Int,
    limits: Limits
  ) {
    let columns = program.parameterCount + 1
    let sample = max(program.graph.outputShape.reduce(1, *) * columns, 1)
    let laneCount = max(
      1, min(limits.lanes, schedule.lanes.count, limits.mostScalars / sample))
    let size = max(1, limits.scalars / laneCount / sample)
    var (runs, lanes): ([Schedule.Chunk], [Range<Int>]) = ([], [])
    for own in Schedule.split(schedule.lanes.count, into: laneCount) {
      let first = runs.count
      for chunk in schedule.lanes[own].joined().map({ schedule.chunks[$0] }) {
        for part in Schedule.split(chunk.count, into: (chunk.count + size - 1) / size) {
          runs.append(
            Schedule.Chunk(
              number: chunk.number, first: chunk.first + part.lowerBound, count: part.count))
        }
      }
      lanes.append(first..<runs.count)
    }
    samples = runs.reduce(1) { max($0, $1.count) }
    (self.runs, self.lanes, self.columns) = (runs, lanes, columns)
    rows = samples * program.graph.outputShape.reduce(1, *)
    directions = max(
      1,
      min(
        directionsPerPass, limits.productRows / max(samples * rowsPerSample, 1),
        program.parameterCount))
    // A group for every few passes: the first of them are the longest.
    groups = Self.groups(
      program, count: min(limits.groups, program.parameterCount / (4 * directions)))
  }

  /// The trainable parameters in the order in which passes come to them, in groups of about one size.
  private static func groups(_ program: Program, count: Int) -> [[ParameterID]] {
    if count < 2 { return [program.trainable] }
    var places = [Int](repeating: .max, count: program.graph.parameters.count)
    for (place, node) in program.graph.nodes.enumerated().reversed() {
      for parameter in node.parameters { places[parameter.index] = place }
    }
    let ordered = program.trainable.sorted {
      (places[$0.index], $0.index) < (places[$1.index], $1.index)
    }
    var groups: [[ParameterID]] = []
    var before = 0
    for parameter in ordered {
      // By where its first entry is among all.
      let group = before * count / program.parameterCount
      if group >= groups.count || groups.isEmpty { groups.append([]) }
      groups[groups.count - 1].append(parameter)
      before += program.graph.parameters[parameter.index].count
    }
    return groups
  }
}

extension Linearization {
  /// Of this batch.
  func factorBlockPlan(_ limits: FactorBlockPlan.Limits) -> FactorBlockPlan {
    FactorBlockPlan(
      program, schedule, rowsPerSample: plan.rowsPerSample, directionsPerPass: directionsPerPass,
      limits: limits)
  }
}

extension BatchNeeds {
  /// As of the linearization.
  package var factorBlockPlan: FactorBlockPlan {
    FactorBlockPlan(
      program, batch.schedule, rowsPerSample: batch.gradients.rowsPerSample,
      directionsPerPass: directionsPerPass, limits: FactorBlockPlan.Limits())
  }

  /// What forming B by its columns takes beside the batch: for every lane a block, a column of it, a forward pass and
  /// those of tangents. As if all lanes were handled at a time, so that it is no matter of threads.
  package var factorBlocks: ByteCount {
    let plan = factorBlockPlan
    var lane =
      doubles(plan.rows, plan.columns + 1) + ForwardStore<S>.bytes(program, samples: plan.samples)
      + ByteCount(
        arenas(tangents: plan.directions, cotangents: 0).value / max(batch.workers, 1))
    var shared = scalars(2 * program.parameterCount)
    for group in plan.groups where plan.groups.count > 1 {
      let constants = SharedValues<S>.counts(
        program.restricted(to: group), samples: batch.schedule.largestChunk)
      shared += scalars(constants.once)
      lane += scalars(constants.perExecutor)
    }
    return shared + plan.lanes.count * lane
  }
}
