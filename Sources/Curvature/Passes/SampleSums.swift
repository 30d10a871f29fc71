import TensorModule

/// Sums over the samples of a batch, several at a time: the one place that decides their order.
///
/// Chunk c of the schedule writes its partial sums to a leaf of its own. The total is that of the chunks
/// of each lane, one after the other, and of the lanes by `SummationTree`; both follow from model
/// and batch. So it does not matter who computed a leaf, or when, and a leaf may come from another
/// process, by its number: lanes are what processes would share out, and a run of lanes that is a node of
/// the tree is sent as one number. Vectors of parameters follow the same order
/// (`GradientAccumulators`): a lane has one vector for all of its chunks, so that the tree takes no
/// memory beyond its lanes.
///
/// Totals are compensated: they are as exact as their leaves, also where chunks cancel, as in
/// `sum_n u_n . q_n`.
package struct SampleSums {
  private let schedule: Schedule
  private let width: Int
  /// `[chunks, width]`
  private let leaves: Vector<Double>

  /// - Parameter width: How many sums.
  package init(_ schedule: Schedule, width: Int = 1) {
    self.schedule = schedule
    self.width = width
    leaves = Vector(count: schedule.chunks.count * width)
  }

  /// Where a chunk has its partial sums; zeros before the first use. No two chunks share any.
  package subscript(_ chunk: Schedule.Chunk) -> UnsafeMutablePointer<Double> {
    leaves.pointer + chunk.number * width
  }

  package func total(_ column: Int = 0) -> Double {
    schedule.total { sum, chunk in sum += self[chunk][column] }
  }
}

extension Schedule {
  /// `sum_n value(n)` in the same order.
  package func sum(_ value: (_ sample: Int) -> Double) -> Double {
    total { sum, chunk in
      for n in chunk.first..<chunk.first + chunk.count { sum += value(n) }
    }
  }

  /// `sum_row value(row)` over rows `d N + n` of some draws, in the order of their samples.
  package func sum(rows: Range<Int>, _ value: (_ row: Int) -> Double) -> Double {
    precondition(rows.lowerBound % samples == 0, "Schedule: rows \(rows) of \(samples) samples")
    return sum { n in
      stride(from: rows.lowerBound + n, to: rows.upperBound, by: samples).reduce(0) {
        $0 + value($1)
      }
    }
  }

  /// The sum of what is added to it chunk by chunk.
  fileprivate func total(_ add: (inout CompensatedSum, Chunk) -> Void) -> Double {
    SummationTree.sum(lanes.indices) { lane in
      var sum = CompensatedSum()
      for number in lanes[lane] { add(&sum, chunks[number]) }
      return sum
    }.value
  }
}

extension Linearization {
  /// `x . y` of vectors `[N, O C]` in logit space.
  package func dot(_ x: Vector<Double>, _ y: Vector<Double>) -> Double {
    precondition(
      x.count == samples * logitCount && y.count == x.count,
      "Linearization: \(x.count) and \(y.count) logits")
    let sums = SampleSums(schedule)
    for chunk in schedule.chunks {
      let first = chunk.first * logitCount
      sums[chunk][0] = Kernels.dot(
        UnsafePointer(x.pointer + first), UnsafePointer(y.pointer + first),
        count: chunk.count * logitCount)
    }
    return sums.total()
  }
}
