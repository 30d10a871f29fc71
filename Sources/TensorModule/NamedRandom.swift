import Foundation

/// Random numbers of a named array as a function of `(seed, name, place)`: pieces of an array can
/// be made by any thread in any order.
///
/// The seed is the key; the counter is `[place / 4, hash of the name (64 bits), stream]`. In single
/// precision throughout: the numbers start a model, nothing is measured with them.
public struct NamedRandom: Sendable {
  private let key: SIMD2<UInt32>
  private let counter: SIMD4<UInt32>

  /// - Parameter name: Of the parameter that is filled.
  public init(seed: UInt64, name: String, stream: RandomStream = .initialization) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    // FNV-1a, 64 bits: unlike Swift's own hash, the same in every run.
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
    counter = SIMD4(
      0, UInt32(truncatingIfNeeded: hash), UInt32(truncatingIfNeeded: hash >> 32), stream.rawValue)
  }

  /// Writes normal numbers of mean 0 (Box and Muller 1958) for these places of the array.
  ///
  /// - Precondition: The range begins at a multiple of 4.
  public func normal(
    _ places: Range<Int>, deviation: Float, into target: UnsafeMutablePointer<Float>
  ) {
    fill(places, target) { block in
      // In (0, 1]: the logarithm is finite.
      let u = (SIMD2(Float(block[0]), Float(block[2])) + 0.5) * 0x1p-32
      let angle = SIMD2(Float(block[1]), Float(block[3])) * (2 * Float.pi * 0x1p-32)
      let first = deviation * (-2 * log(u[0])).squareRoot()
      let second = deviation * (-2 * log(u[1])).squareRoot()
      return SIMD4(
        first * cos(angle[0]), first * sin(angle[0]), second * cos(angle[1]),
        second * sin(angle[1]))
    }
  }

  /// Writes numbers that are uniform between `-bound` and `bound`.
  ///
  /// - Precondition: The range begins at a multiple of 4.
  public func uniform(
    _ places: Range<Int>, bound: Float, into target: UnsafeMutablePointer<Float>
  ) {
    fill(places, target) { block in
      (SIMD4<Float>(block) * 0x1p-31 - 1) * bound
    }
  }

  private func fill(
    _ places: Range<Int>, _ target: UnsafeMutablePointer<Float>,
    _ numbers: (SIMD4<UInt32>) -> SIMD4<Float>
  ) {
    precondition(
      places.lowerBound % 4 == 0 && (places.upperBound + 3) / 4 <= 1 << 32,
      "NamedRandom: places \(places)")
    var counter = counter
    var done = 0
    while done < places.count {
      counter[0] = UInt32((places.lowerBound + done) / 4)
      let values = numbers(Philox.block(counter: counter, key: key))
      for lane in 0..<min(4, places.count - done) { target[done + lane] = values[lane] }
      done += 4
    }
  }
}
