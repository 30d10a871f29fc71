/// A zip archive of given members with right sums and sizes, so that what is fuzzed is behind them.
struct ZipBuilder {
  struct Member {
    var name: [UInt8]
    var content: [UInt8]
    /// As deflated blocks that are not compressed.
    var isDeflated = false
  }

  private(set) var bytes: [UInt8] = []
  private var directory: [UInt8] = []
  private var count = 0

  init(_ members: [Member]) {
    for member in members { append(member) }
    let start = bytes.count
    bytes += directory
    bytes += [0x50, 0x4B, 5, 6, 0, 0, 0, 0] + Self.little(count, 2) + Self.little(count, 2)
    bytes += Self.little(directory.count, 4) + Self.little(start, 4) + [0, 0]
  }

  private mutating func append(_ member: Member) {
    let stored = member.isDeflated ? Self.deflated(member.content) : member.content
    let common: [UInt8] =
      [20, 0, 0, 0, member.isDeflated ? 8 : 0, 0, 0, 0, 0x21, 0]
      + Self.little(Int(Self.checksum(member.content)), 4)
      + Self.little(stored.count, 4) + Self.little(member.content.count, 4)
      + Self.little(member.name.count, 2) + [0, 0]
    directory += [0x50, 0x4B, 1, 2, 20, 0] + common
    directory += [UInt8](repeating: 0, count: 10) + Self.little(bytes.count, 4) + member.name
    bytes += [0x50, 0x4B, 3, 4] + common + member.name + stored
    count += 1
  }

  private static func deflated(_ content: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    var rest = content[...]
    repeat {
      let block = rest.prefix(0xFFFF)
      rest = rest.dropFirst(block.count)
      result += [rest.isEmpty ? 1 : 0] + little(block.count, 2) + little(~block.count, 2) + block
    } while !rest.isEmpty
    return result
  }

  private static func little(_ value: Int, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
  }

  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { sum, _ in
      sum & 1 == 1 ? 0xEDB8_8320 ^ (sum >> 1) : sum >> 1
    }
  }

  private static func checksum(_ content: [UInt8]) -> UInt32 {
    ~content.reduce(~UInt32(0)) { table[Int(UInt8(truncatingIfNeeded: $0) ^ $1)] ^ ($0 >> 8) }
  }
}

/// Inputs of readers of zip archives: members as parts, each `flag NAME NUL CONTENT`; with a first
/// part `raw`, the rest is the file itself.
enum ZipInput {
  private static let raw = Array("raw".utf8)

  static func file(_ input: ArraySlice<UInt8>) -> [UInt8] {
    let parts = Parts.split(input)
    if parts[0].elementsEqual(raw) { return Array(input.dropFirst(raw.count + 2)) }
    return ZipBuilder(
      parts.map { part in
        let text = part.dropFirst()
        let end = text.firstIndex(of: 0) ?? text.endIndex
        return ZipBuilder.Member(
          name: Array(text[..<end]), content: Array(text[end...].dropFirst()),
          isDeflated: part.first == UInt8(ascii: "d"))
      }
    ).bytes
  }

  static func raw(_ file: [UInt8]) -> [UInt8] { raw + Parts.separator + file }

  static func members(_ members: [(name: String, content: [UInt8])], flag: UInt8) -> [UInt8] {
    Parts.join(members.map { [flag] + Array($0.name.utf8) + [0] + $0.content })
  }
}
