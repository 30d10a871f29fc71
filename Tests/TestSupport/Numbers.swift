import Foundation

/// Random numbers without end from a seed (SplitMix64), the same on every machine.
package struct SeededGenerator: RandomNumberGenerator {
  package let seed: UInt64
  private var state: UInt64

  package init(seed: UInt64) {
    self.seed = seed
    state = seed
  }

  package mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  package mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  package mutating func normal() -> Double {
    (-2 * log(uniform() + 0x1p-54)).squareRoot() * cos(2 * Double.pi * uniform())
  }

  /// Normal numbers that single precision holds exactly, so that both precisions see one problem.
  package mutating func normals(_ count: Int, scale: Double = 1) -> [Double] {
    (0..<count).map { _ in Double(Float(scale * normal())) }
  }
}

/// The entry that is furthest off, as a sentence; `nil` if all are within `tolerance` of the
/// largest expected one. Errors are measured against the largest entry because sums of terms of
/// that size, not the entries themselves, are what rounding is relative to.
package func mismatch(
  _ found: [Double], _ expected: [Double], tolerance: Double, scale: Double? = nil
) -> String? {
  guard found.count == expected.count else {
    return "\(found.count) entries, expected \(expected.count)"
  }
  let size = scale ?? expected.reduce(0) { max($0, abs($1)) }
  var worst: (index: Int, error: Double) = (0, -1)
  for i in found.indices {
    let difference = abs(found[i] - expected[i])
    let error = difference.isNaN ? .infinity : difference
    if error > worst.error { worst = (i, error) }
  }
  if worst.error <= tolerance * size { return nil }
  let i = worst.index
  return "entry \(i) of \(found.count): found \(found[i]), expected \(expected[i]), off by "
    + "\(worst.error / size) of the largest entry \(size), tolerance \(tolerance)"
}

/// The largest difference of two directions, relative to the largest entry of the second.
package func distance(_ a: [Double], _ b: [Double]) -> Double {
  let size = b.reduce(0) { max($0, abs($1)) }
  let difference = zip(a, b).reduce(0) { max($0, abs($1.0 - $1.1)) }
  return difference == 0 ? 0 : difference / size
}

/// `mismatch` of one number, relative to itself.
package func mismatch(_ found: Double, _ expected: Double, tolerance: Double) -> String? {
  if found == expected || abs(found - expected) <= tolerance * abs(expected) { return nil }
  return "found \(found), expected \(expected), relative error "
    + "\(abs(found - expected) / abs(expected)), tolerance \(tolerance)"
}

/// Directions compared up to a positive factor, which no quantity of interest depends on.
package func mismatchUpToScale(
  _ found: [Double], _ expected: [Double], tolerance: Double
) -> String? {
  func unit(_ x: [Double]) -> [Double] {
    let largest = x.reduce(0) { max($0, abs($1)) }
    let scaled = x.map { $0 / largest }
    let norm = scaled.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return scaled.map { $0 / norm }
  }
  return mismatch(unit(found), unit(expected), tolerance: tolerance)
}

package func dot(_ a: [Double], _ b: [Double]) -> Double {
  var sum = 0.0
  for i in a.indices { sum += a[i] * b[i] }
  return sum
}

/// A file under fixtures/.
package func fixture(_ name: String, file: String = #filePath) -> String {
  URL(fileURLWithPath: file)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("fixtures").appendingPathComponent(name).path
}
