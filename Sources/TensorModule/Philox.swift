import Foundation

/// Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
/// numbers: as easy as 1, 2, 3", SC 2011: a bijection of 128-bit counters for every 64-bit key.
/// There is no state to advance, so any draw can be made anywhere, in any order.
public enum Philox {
  /// 128 random bits: a function of counter and key.
  public static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
    var (c, k) = (counter, key)
    for _ in 0..<10 {
      let first = UInt32(0xD251_1F53).multipliedFullWidth(by: c[0])
      let second = UInt32(0xCD9E_8D57).multipliedFullWidth(by: c[2])
      c = SIMD4(second.high ^ c[1] ^ k[0], second.low, first.high ^ c[3] ^ k[1], first.low)
      k = SIMD2(k[0] &+ 0x9E37_79B9, k[1] &+ 0xBB67_AE85)
    }
    return c
  }
}

/// What draws are for. Streams never share a counter, so adding one use of random numbers leaves
/// all others as they were.
public enum RandomStream: UInt32, Sendable {
  /// Monte-Carlo labels of a sample.
  case sampledLabels = 0
  /// Which samples are in a batch.
  case batches = 1
  /// Trial vectors.
  case vectors = 2
  /// Parameters of a model.
  case initialization = 3
  /// Which samples come when in an epoch.
  case trainingOrder = 16
  /// Which samples are held out.
  case heldOutSamples = 17
}

/// Random numbers that are a function of `(seed, batch, sample, stream)` and of how many were
/// drawn before: neither threads nor the order of samples change them.
///
/// The seed is the key; the counter is `[draw / 2, sample, batch, stream]`, each 32 bits. Uniform
/// numbers have the same bits on every machine; normal ones are as equal as its `log` and `cos`.
public struct CounterRandom: RandomNumberGenerator, Sendable {
  private let key: SIMD2<UInt32>
  private var counter: SIMD4<UInt32>
  private var pending: UInt64?
  private var pendingNormal: Double?
  private var exhausted = false

  /// The first number of the sequence of this sample.
  public init(seed: UInt64, batch: Int, sample: Int, stream: RandomStream = .sampledLabels) {
    guard let batch = UInt32(exactly: batch), let sample = UInt32(exactly: sample) else {
      preconditionFailure("CounterRandom: batch \(batch), sample \(sample) not in 0 ..< 2^32")
    }
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    counter = SIMD4(0, sample, batch, stream.rawValue)
  }

  /// 64 uniform bits.
  public mutating func next() -> UInt64 {
    if let value = pending {
      pending = nil
      return value
    }
    precondition(!exhausted, "CounterRandom: more than 2^33 draws from one stream")
    let block = Philox.block(counter: counter, key: key)
    let (next, overflow) = counter[0].addingReportingOverflow(1)
    counter[0] = next
    exhausted = overflow
    pending = UInt64(block[2]) | UInt64(block[3]) << 32
    return UInt64(block[0]) | UInt64(block[1]) << 32
  }

  /// Uniform on the multiples of 2^-53 in `[0, 1)`.
  public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Uniform on the odd multiples of 2^-53 in `(0, 1)`: never 0 or 1, so its logarithm is finite.
  public mutating func openUniform() -> Double { (Double(next() >> 12) + 0.5) * 0x1p-52 }

  /// Standard normal (Box and Muller 1958): two uniform numbers give two normal ones.
  public mutating func normal() -> Double {
    if let value = pendingNormal {
      pendingNormal = nil
      return value
    }
    let radius = (-2 * log(openUniform())).squareRoot()
    let angle = 2 * Double.pi * uniform()
    pendingNormal = radius * sin(angle)
    return radius * cos(angle)
  }

  /// Uniform on `0 ..< bound` without bias: the few products that would favour some values are
  /// drawn again (Lemire 2019).
  public mutating func integer(below bound: Int) -> Int {
    precondition(bound > 0, "CounterRandom: no integer below \(bound)")
    let range = UInt64(bound)
    var product = range.multipliedFullWidth(by: next())
    if product.low < range {
      let threshold = (0 &- range) % range
      while product.low < threshold { product = range.multipliedFullWidth(by: next()) }
    }
    return Int(product.high)
  }
}

/// `count` different numbers of `0 ..< population` in random order, determined by `seed`, `batch`
/// and `stream` alone.
///
/// The first `count` steps of a Fisher-Yates shuffle whose moved entries are kept in a table: time
/// and memory are O(count), whatever the population.
public func sampleWithoutReplacement(
  count: Int, from population: Int, seed: UInt64, batch: Int, stream: RandomStream = .batches
) -> [Int] {
  precondition(
    count >= 0 && count <= population,
    "sampleWithoutReplacement: \(count) of \(population)")
  var random = CounterRandom(seed: seed, batch: batch, sample: 0, stream: stream)
  var moved: [Int: Int] = [:]
  moved.reserveCapacity(count)
  var result: [Int] = []
  result.reserveCapacity(count)
  for position in 0..<count {
    let chosen = position + random.integer(below: population - position)
    result.append(moved[chosen] ?? chosen)
    moved[chosen] = moved[position] ?? position
    moved[position] = nil
  }
  return result
}
