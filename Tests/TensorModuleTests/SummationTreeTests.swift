import TensorModule
import Testing

/// Sums of partial results: their value, and the order that decides their bits.
@Suite struct SummationTreeTests {
  private static func numbers(_ count: Int, seed: UInt64) -> [Double] {
    var generator = CounterRandom(seed: seed, batch: 0, sample: count, stream: .vectors)
    return (0..<count).map { _ in generator.normal() }
  }

  private static func compensated(_ numbers: [Double]) -> Double {
    var sum = CompensatedSum()
    for number in numbers { sum += number }
    return sum.value
  }

  @Test func whatCancelsLeavesAllDigits() {
    // A plain sum gives 0 for both.
    #expect(Self.compensated([1, 1e100, 1, -1e100]) == 2)
    #expect(SummationTree.sum(4) { [1, 1e17, 1, -1e17][$0] } == 2)
    // Whole multiples of 2^-30 with pairs that cancel: the exact sum is a number.
    let small = Self.numbers(100, seed: 1).map { ($0 * 0x1p30).rounded() * 0x1p-30 }
    let exact = small.reduce(0) { $0 + $1 * 0x1p30 } * 0x1p-30
    let large = Self.numbers(100, seed: 2).map { $0 * 1e12 }
    let all = small + large + large.map { -$0 }
    #expect(Self.compensated(all) == exact)
    #expect(SummationTree.sum(all.count) { all[$0] } == exact)
  }

  @Test func numbersWithoutEndStayWhatAPlainSumMakesOfThem() {
    #expect(Self.compensated([1, .infinity, 2]) == .infinity)
    #expect(Self.compensated([-.infinity, 1]) == -.infinity)
    #expect(Self.compensated([.infinity, -.infinity]).isNaN)
    #expect(Self.compensated([.nan, 1]).isNaN)
    #expect(Self.compensated([.greatestFiniteMagnitude, .greatestFiniteMagnitude]) == .infinity)
    #expect(Self.compensated([]) == 0)
    #expect(SummationTree.sum(0) { _ in 1 } == 0)
  }

  /// What lets a process send the sum of a run of parts in place of the parts.
  @Test(arguments: [1, 2, 3, 5, 8, 13, 32, 33])
  func aRunOfPartsIsANodeOfEveryTree(_ count: Int) {
    var nodes: Set<Range<Int>> = []
    func visit(_ parts: Range<Int>) {
      nodes.insert(parts)
      if parts.count < 2 { return }
      // As the documentation says, not as the code does.
      var half = 1
      while 2 * half < parts.count { half *= 2 }
      visit(parts.lowerBound..<parts.lowerBound + half)
      visit(parts.lowerBound + half..<parts.upperBound)
    }
    visit(0..<count)
    var width = 1
    while width <= count {
      for first in stride(from: 0, through: count - width, by: width) {
        #expect(nodes.contains(first..<first + width), "\(first), \(width) of \(count)")
      }
      width *= 2
    }
    // And the tree is that one: numbers whose sum depends on the order.
    let values = Self.numbers(count, seed: 3).map(Float.init)
    func expected(_ parts: Range<Int>) -> Float {
      if parts.count == 1 { return values[parts.lowerBound] }
      let half = nodes.filter { $0.lowerBound == parts.lowerBound && $0.count < parts.count }
        .map(\.upperBound).max()!
      return expected(parts.lowerBound..<half) + expected(half..<parts.upperBound)
    }
    let parts = values.map { Vector<Float>([$0]) }
    let target = Vector<Float>(count: 1)
    SummationTree.add(parts.map { UnsafePointer($0.pointer) }, count: 1, to: target.pointer)
    #expect(target[0].bitPattern == expected(0..<count).bitPattern)
  }

  /// Lengths around the pieces in which elements are taken; the target may be the first part.
  @Test(arguments: [1, 2, 3, 4, 7, 9], [0, 1, 2047, 2048, 2049, 5000])
  func everyElementIsSummed(_ count: Int, _ length: Int) {
    let parts = (0..<count).map { Vector<Double>(Self.numbers(length, seed: UInt64($0) + 7)) }
    let expected = (0..<length).map { i in parts.reduce(0) { $0 + $1[i] } }
    let pointers = parts.map { UnsafePointer($0.pointer) }
    let target = Vector<Double>([Double](repeating: .nan, count: length))
    SummationTree.add(pointers, count: length, to: target.pointer)
    let first = target.array
    // Nine terms of size one, rounded once each.
    #expect(zip(first, expected).allSatisfy { abs($0 - $1) <= 16 * .ulpOfOne * Double(count) })
    SummationTree.add(pointers, count: length, to: parts[0].pointer)
    #expect(parts[0].array == first)
  }
}
