import TestSupport
import Testing

@testable import GraphModule

/// Where short-lived values lie, against a search of all places for each of them.
@Suite struct BufferPlanTests {
  @Test func everyValueLiesWhereTheFirstRoomIs() {
    for seed in UInt64(1)...200 {
      var random = SeededGenerator(seed: seed)
      let intervals = (0..<Int.random(in: 0...24, using: &random)).map { value in
        let first = Int.random(in: 0..<12, using: &random)
        return BufferPlan.Interval(
          value: value, size: Int.random(in: 0...70, using: &random), first: first,
          last: first + Int.random(in: 0...6, using: &random))
      }
      let plan = BufferPlan(valueCount: intervals.count, intervals: intervals)
      let expected = places(intervals)
      for interval in intervals {
        #expect(plan.offsets[interval.value] == expected.offsets[interval.value], "seed \(seed)")
      }
      #expect(plan.total == expected.total, "seed \(seed)")
    }
  }

  /// Rounded up to cache lines of 16 scalars.
  private func room(_ interval: BufferPlan.Interval) -> Int { (interval.size + 15) / 16 * 16 }

  private func places(
    _ intervals: [BufferPlan.Interval]
  ) -> (offsets: [Int: Int], total: Int) {
    var offsets: [Int: Int] = [:]
    var total = 0
    let order = intervals.sorted { ($0.first, $0.value) < ($1.first, $1.value) }
    for (index, interval) in order.enumerated() {
      let taken = order[..<index].filter { $0.last >= interval.first }.map {
        offsets[$0.value]!..<offsets[$0.value]! + room($0)
      }
      let own = room(interval)
      let place = stride(from: 0, through: total, by: 16).first { offset in
        taken.allSatisfy { $0.upperBound <= offset || offset + own <= $0.lowerBound }
      }
      offsets[interval.value] = place
      total = max(total, place! + own)
    }
    return (offsets, total)
  }
}
