/// Inputs are several texts or members in one; what separates them is in the dictionaries, and never
/// in UTF-8.
enum Parts {
  static let separator: [UInt8] = [0xFF, 0xFE]

  /// - Parameter limit: The last of so many parts has whatever follows.
  static func split(_ input: ArraySlice<UInt8>, limit: Int = .max) -> [ArraySlice<UInt8>] {
    var parts: [ArraySlice<UInt8>] = []
    var start = input.startIndex
    var index = start
    while index + 1 < input.endIndex && parts.count + 1 < limit {
      if input[index] == separator[0] && input[index + 1] == separator[1] {
        parts.append(input[start..<index])
        start = index + 2
        index = start
      } else {
        index += 1
      }
    }
    return parts + [input[start...]]
  }

  static func join(_ parts: [[UInt8]]) -> [UInt8] { Array(parts.joined(separator: separator)) }
}

/// Numbers without end from a seed.
struct SplitMix: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

/// What libFuzzer does not do by itself: another number in place of a number in a text.
enum NumberMutation {
  private static let extremes = [
    "0", "1", "2", "3", "4", "8", "16", "17", "64", "255", "256", "1000", "4097", "65536",
    "1048576", "16777216", "2147483647", "2147483648", "4294967296", "1099511627776",
    "4611686018427387904", "9223372036854775807", "9223372036854775808", "18446744073709551616",
    "-1", "-9223372036854775808", "0.5", "1e-9", "5e-324", "1e308", "1.8e308", "1e400", "-1e308",
  ]

  static func apply(to input: [UInt8], _ random: inout SplitMix) -> [UInt8]? {
    let runs = digitRuns(input)
    guard let run = runs.randomElement(using: &random) else { return nil }
    var number = extremes.randomElement(using: &random)!
    if random.next() % 2 == 0, let old = Int(String(decoding: input[run], as: UTF8.self)) {
      let near = [old &+ 1, old &- 1, old &* 2, old / 2, old &* 8, old / 3]
      number = String(near.randomElement(using: &random)!)
    }
    var output = input
    output.replaceSubrange(run, with: Array(number.utf8))
    return output
  }

  private static func digitRuns(_ input: [UInt8]) -> [Range<Int>] {
    let digits = UInt8(ascii: "0")...UInt8(ascii: "9")
    var runs: [Range<Int>] = []
    var start: Int?
    for (index, byte) in input.enumerated() {
      if digits.contains(byte) {
        start = start ?? index
      } else if let first = start {
        runs.append(first..<index)
        start = nil
      }
    }
    if let first = start { runs.append(first..<input.count) }
    return runs
  }
}
