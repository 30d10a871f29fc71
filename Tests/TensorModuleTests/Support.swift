import CKernels
import TensorModule
import Testing

/// Seeded numbers for tests: SplitMix64 (Steele, Lea and Flood 2014).
struct TestRandom {
  let seed: UInt64
  private var state: UInt64

  init(seed: UInt64) {
    self.seed = seed
    state = seed
  }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  mutating func uniform(_ low: Double, _ high: Double) -> Double {
    low + (high - low) * Double(next() >> 11) * 0x1p-53
  }

  mutating func array<S: EngineScalar>(
    _ count: Int, _ low: Double = -1, _ high: Double = 1, as type: S.Type = S.self
  ) -> [S] {
    (0..<count).map { _ in S(uniform(low, high)) }
  }
}

/// Distance in units in the last place of `S` at `scale` (by default at `expected`); subnormal
/// scales count as the least normal number.
func ulps<S: EngineScalar>(
  _ found: S, _ expected: Double, scale: Double? = nil
) -> Double {
  let f = Double(found)
  if f == expected || (f.isNaN && expected.isNaN) { return 0 }
  let size = max(abs(scale ?? expected), Double(S.leastNormalMagnitude))
  return abs(f - expected) / Double(S(size).ulp)
}

/// Checks every entry and reports the worst: index, found, expected, ulps.
func expectUlps<S: EngineScalar>(
  _ found: [S], _ expected: [Double], scale: [Double]? = nil, within bound: Double,
  _ what: String = "", sourceLocation: SourceLocation = #_sourceLocation
) {
  #expect(found.count == expected.count, sourceLocation: sourceLocation)
  var worst = (index: 0, ulps: -1.0)
  for index in found.indices {
    let distance = ulps(found[index], expected[index], scale: scale?[index])
    if !(distance <= worst.ulps) { worst = (index, distance) }
  }
  #expect(
    worst.ulps <= bound,
    """
    \(what) \(S.self), worst at \(worst.index): found \(found[worst.index]), \
    expected \(expected[worst.index]), \(worst.ulps) ulps
    """,
    sourceLocation: sourceLocation)
}
