import Foundation
import TensorModule
import Testing

/// Draws come from fixed seeds, so these tests either always pass or never; their bounds are five
/// standard errors all the same, so that a bound says something about the generator.
@Suite struct PhiloxTests {
  /// Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds.
  @Test func agreesWithRandom123() {
    typealias Vector = (counter: SIMD4<UInt32>, key: SIMD2<UInt32>, expected: SIMD4<UInt32>)
    let vectors: [Vector] = [
      (
        SIMD4(0, 0, 0, 0), SIMD2(0, 0),
        SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8)
      ),
      (
        SIMD4(repeating: 0xffff_ffff), SIMD2(repeating: 0xffff_ffff),
        SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd)
      ),
      (
        SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344), SIMD2(0xa409_3822, 0x299f_31d0),
        SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1)
      ),
    ]
    for vector in vectors {
      let found = Philox.block(counter: vector.counter, key: vector.key)
      #expect(found == vector.expected)
    }
  }

  @Test func drawsAreAFunctionOfSeedBatchSampleAndStream() {
    func draws(_ seed: UInt64, _ batch: Int, _ sample: Int, _ stream: RandomStream) -> [UInt64] {
      var random = CounterRandom(seed: seed, batch: batch, sample: sample, stream: stream)
      return (0..<5).map { _ in random.next() }
    }
    let base = draws(7, 3, 2, .sampledLabels)
    #expect(base == draws(7, 3, 2, .sampledLabels))
    let others = [
      draws(8, 3, 2, .sampledLabels), draws(7 + 1 << 32, 3, 2, .sampledLabels),
      draws(7, 4, 2, .sampledLabels), draws(7, 3, 1, .sampledLabels), draws(7, 3, 2, .vectors),
      draws(7, 2, 3, .sampledLabels),
    ]
    let all = Set(([base] + others).joined())
    #expect(all.count == 5 * (1 + others.count), "a draw occurs twice")
  }

  @Test func uniformNumbersHaveTheMomentsOfTheUniformDistribution() {
    let n = 200_000
    var random = CounterRandom(seed: 1, batch: 0, sample: 0)
    var (sum, square, product, previous) = (0.0, 0.0, 0.0, 0.5)
    for _ in 0..<n {
      let u = random.uniform()
      #expect(u >= 0 && u < 1)
      sum += u - 0.5
      square += (u - 0.5) * (u - 0.5)
      product += (u - 0.5) * (previous - 0.5)
      previous = u
    }
    let root = Double(n).squareRoot()
    // Standard deviations of u - 1/2, its square and a product of two: sqrt(1/12), sqrt(1/180), 1/12.
    #expect(abs(sum / Double(n)) <= 5 * (1.0 / 12).squareRoot() / root)
    #expect(abs(square / Double(n) - 1.0 / 12) <= 5 * (1.0 / 180).squareRoot() / root)
    #expect(abs(product / Double(n)) <= 5 / 12 / root)
  }

  @Test func openUniformNumbersAreNeverZeroOrOne() {
    var random = CounterRandom(seed: 2, batch: 0, sample: 0)
    for _ in 0..<10_000 {
      let u = random.openUniform()
      #expect(u > 0 && u < 1 && log(u).isFinite)
    }
    // The extremes of the formula.
    #expect((Double(UInt64.max >> 12) + 0.5) * 0x1p-52 < 1)
  }

  @Test func normalNumbersHaveTheMomentsOfTheNormalDistribution() {
    let n = 200_000
    var random = CounterRandom(seed: 3, batch: 1, sample: 9)
    var moments = [0.0, 0.0, 0.0, 0.0]
    var beyondTwo = 0
    for _ in 0..<n {
      let z = random.normal()
      var power = 1.0
      for order in 0..<4 {
        power *= z
        moments[order] += power / Double(n)
      }
      if abs(z) > 2 { beyondTwo += 1 }
    }
    let root = Double(n).squareRoot()
    // Variances of z, z^2, z^3, z^4: 1, 2, 15, 96.
    #expect(abs(moments[0]) <= 5 / root)
    #expect(abs(moments[1] - 1) <= 5 * 2.0.squareRoot() / root)
    #expect(abs(moments[2]) <= 5 * 15.0.squareRoot() / root)
    #expect(abs(moments[3] - 3) <= 5 * 96.0.squareRoot() / root)
    let share = 0.045500263896358
    #expect(
      abs(Double(beyondTwo) / Double(n) - share) <= 5 * (share * (1 - share)).squareRoot() / root)
  }

  @Test(arguments: [1, 2, 3, 7, 10, 1000])
  func integersBelowABoundAreEquallyFrequent(bound: Int) {
    let n = 100_000
    var random = CounterRandom(seed: 4, batch: bound, sample: 0)
    var counts = [Int](repeating: 0, count: bound)
    for _ in 0..<n { counts[random.integer(below: bound)] += 1 }
    let expected = Double(n) / Double(bound)
    let chiSquared = counts.reduce(0) { $0 + pow(Double($1) - expected, 2) / expected }
    let degrees = Double(bound - 1)
    // chi^2 has mean k and variance 2 k.
    #expect(abs(chiSquared - degrees) <= 5 * (2 * degrees).squareRoot(), "\(chiSquared)")
  }

  @Test func integersBelowALargeBoundAreNotBiased() {
    // 3 * 2^61: taking remainders of 64 bits would hit the lower third 1/2 of the time.
    let bound = 3 << 61
    var random = CounterRandom(seed: 5, batch: 0, sample: 0)
    let n = 30_000
    let low = (0..<n).filter { _ in random.integer(below: bound) < 1 << 61 }.count
    #expect(
      abs(Double(low) / Double(n) - 1.0 / 3) <= 5 * (2.0 / 9).squareRoot() / Double(n).squareRoot())
  }

  @Test func sampleWithoutReplacementHasNoRepetitions() {
    for count in [0, 1, 5, 160, 1000] {
      let sample = sampleWithoutReplacement(count: count, from: 1000, seed: 11, batch: 4)
      #expect(sample.count == count)
      #expect(Set(sample).count == count)
      #expect(sample.allSatisfy { $0 >= 0 && $0 < 1000 })
    }
  }

  @Test func sampleIsDeterminedBySeedAndBatch() {
    let sample = sampleWithoutReplacement(count: 20, from: 1 << 40, seed: 11, batch: 4)
    #expect(sample == sampleWithoutReplacement(count: 20, from: 1 << 40, seed: 11, batch: 4))
    #expect(sample != sampleWithoutReplacement(count: 20, from: 1 << 40, seed: 11, batch: 5))
    #expect(sample != sampleWithoutReplacement(count: 20, from: 1 << 40, seed: 12, batch: 4))
    // A longer sample begins with the shorter one.
    #expect(
      sampleWithoutReplacement(count: 40, from: 1 << 40, seed: 11, batch: 4).prefix(20)
        == sample[...])
  }

  @Test func everyOrderedPairIsEquallyLikely() {
    let batches = 30_000
    var counts: [[Int]: Int] = [:]
    for batch in 0..<batches {
      counts[sampleWithoutReplacement(count: 2, from: 4, seed: 6, batch: batch), default: 0] += 1
    }
    #expect(counts.count == 12)
    let expected = Double(batches) / 12
    let chiSquared = counts.values.reduce(0) { $0 + pow(Double($1) - expected, 2) / expected }
    #expect(abs(chiSquared - 11) <= 5 * 22.0.squareRoot(), "\(chiSquared)")
  }
}
