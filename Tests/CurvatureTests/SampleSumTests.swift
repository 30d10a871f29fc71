import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// Sums over samples: their value does not depend on who finds a part of them, nor when.
@Suite struct SampleSumTests {
  private static func schedule(_ samples: Int, rows: Int = 64, accumulators: Int = 1) -> Schedule {
    Schedule(
      samples: samples, rowsPerSample: rows, weightCount: 1, accumulatorCount: accumulators)
  }

  private static func value(_ sample: Int) -> Double {
    var generator = CounterRandom(seed: 5, batch: 0, sample: sample, stream: .vectors)
    return generator.normal() * 1e6
  }

  @Test(arguments: [1, 2, 3, 7, 100, 1000])
  func everySampleCountsOnce(_ samples: Int) {
    let schedule = Self.schedule(samples)
    #expect(schedule.chunks.map(\.number) == Array(schedule.chunks.indices))
    #expect(schedule.sum { Double($0 + 1) } == Double(samples * (samples + 1) / 2))
    // Three draws, without the first.
    let rows = samples..<3 * samples
    #expect(schedule.sum(rows: rows) { Double($0) } == Double(rows.reduce(0, +)))
  }

  /// Leaves in any order, by any number of threads, and of some lanes from elsewhere.
  @Test(arguments: [2, 3, 130, 4000])
  func whoFindsALeafDoesNotChangeABit(_ samples: Int) {
    let schedule = Self.schedule(samples, rows: 32)
    func fill(_ sums: SampleSums, _ chunk: Schedule.Chunk) {
      for n in chunk.first..<chunk.first + chunk.count {
        sums[chunk][0] += Self.value(n)
        sums[chunk][1] += 1
      }
    }
    let expected = SampleSums(schedule, width: 2)
    for chunk in schedule.chunks { fill(expected, chunk) }
    #expect(expected.total(1) == Double(samples))
    for threads in [1, 2, 3] {
      let pool = WorkerPool(threads: threads, worthAThread: 0)
      let found = SampleSums(schedule, width: 2)
      pool.run(schedule.chunks.count) { place, _ in
        fill(found, schedule.chunks[schedule.chunks.count - 1 - place])
      }
      #expect(found.total().bitPattern == expected.total().bitPattern, "\(threads) threads")
    }
    // Two processes with half of the lanes each, which hand over their leaves by number.
    let halves = [SampleSums(schedule, width: 2), SampleSums(schedule, width: 2)]
    let together = SampleSums(schedule, width: 2)
    for (lane, numbers) in schedule.lanes.enumerated() {
      let owner = halves[2 * lane / schedule.lanes.count]
      for number in numbers {
        let chunk = schedule.chunks[number]
        fill(owner, chunk)
        for column in 0..<2 { together[chunk][column] = owner[chunk][column] }
      }
    }
    #expect(together.total().bitPattern == expected.total().bitPattern)
  }

  /// `sum_n u_n . q_n` of chunks that cancel: plain sums of these lose all that is left.
  @Test func chunksThatCancelLeaveTheirDigits() {
    let schedule = Self.schedule(1000)
    let sums = SampleSums(schedule)
    let count = schedule.chunks.count
    for chunk in schedule.chunks {
      sums[chunk][0] = chunk.number == 0 ? 1e17 : chunk.number == count - 1 ? -1e17 : 0.5
    }
    #expect(count > 100 && sums.total() == 0.5 * Double(count - 2))
  }

  /// A lane has one vector for all of its chunks: the tree over lanes takes no other memory.
  @Test func lanesAreFewWhereVectorsAreLong() {
    let schedule = Self.schedule(100_000, rows: 256, accumulators: 1 << 24)
    #expect(schedule.chunks.count > 1000 && schedule.lanes.count == 4)
  }
}
