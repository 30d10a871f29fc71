import Testing

@testable import Checkpoints

/// The smallest archive, taken apart to be changed.
struct ProgramDraft {
  static let model = "models/model.json"
  static let weights = "data/weights/model_weights_config.json"
  static let constants = "data/constants/model_constants_config.json"

  var root = "counter"
  var members: [String: [UInt8]] = [:]
  var isDeflated = false

  init() throws {
    let archive = try ZipArchive(MappedFile(path: fixture("data/exported/counter.pt2")))
    for member in archive.members {
      members[String(member.name.dropFirst(root.utf8.count + 1))] =
        try archive.prefix(member.size, of: member)
    }
  }

  func text(_ member: String) -> String { String(decoding: members[member] ?? [], as: UTF8.self) }

  /// Replaces the first occurrence, which must be there.
  mutating func replace(_ old: String, _ new: String, in member: String = ProgramDraft.model) {
    let text = text(member)
    guard let range = text.range(of: old) else {
      Issue.record("\(member) has no \(old)")
      return
    }
    members[member] = Array(text.replacingCharacters(in: range, with: new).utf8)
  }

  var bytes: [UInt8] {
    zip(
      members.sorted { $0.key < $1.key }.map { name, content in
        var member = ZipMember(name: "\(root)/\(name)", bytes: content)
        if isDeflated { member.deflate() }
        return member
      })
  }
}

extension ZipMember {
  /// As one deflated block that is not compressed.
  fileprivate mutating func deflate() {
    let count = UInt16(bytes.count)
    claimedSize = UInt32(count)
    checksum = crc32(bytes)
    method = 8
    bytes = [1] + littleEndian(count) + littleEndian(~count) + bytes
  }
}
