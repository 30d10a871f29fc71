/// The zip archive of a network: one folder, whatever its name, with everything in it.
///
/// Format: `torch/export/pt2_archive` and `torch/csrc/export/pt2_archive_constants.h` of PyTorch.
struct ProgramArchive: Sendable {
  let file: MappedFile
  let archive: ZipArchive
  let budget: UnpackingBudget
  /// The name of the folder, with `/`.
  let root: String
  /// By their names in the folder.
  let members: [String: ZipArchive.Member]
  /// The version of the archive's form.
  let version: String
  /// The name of the network in it; others beside it would be other networks.
  let model: String

  static let versions = ["0", "1"]
  /// A document of a network with a million nodes is shorter.
  private static let maximumDocument = 500_000_000

  init(_ file: MappedFile, _ budget: UnpackingBudget) throws(CheckpointError) {
    let location = CheckpointError.Location(file: file.path)
    func failure(_ found: String, _ hint: String) -> CheckpointError {
      CheckpointError(
        .otherFormat(found: found, expected: "a network by torch.export.save"), at: location,
        hint: hint)
    }
    if !FileKind.isZip(file.bytes) {
      throw failure("no zip archive", "Save it: torch.export.save(torch.export.export(...), path).")
    }
    self.file = file
    self.budget = budget
    archive = try ZipArchive(file)
    if archive.members.contains(where: { $0.name == Self.olderDocument }) {
      throw Self.olderForm(at: location)
    }
    guard let root = Self.root(of: archive) else {
      throw failure(
        "another zip archive", "Save it: torch.export.save(torch.export.export(...), path).")
    }
    self.root = root
    var members: [String: ZipArchive.Member] = [:]
    for member in archive.members {
      guard member.name.hasPrefix(root) else {
        throw CheckpointError(
          .invalidProgram("the member \(member.name) is outside the folder \(root)"), at: location)
      }
      members[String(member.name.dropFirst(root.count))] = member
    }
    self.members = members
    version = try Self.word("archive_version", members, archive) ?? "0"
    if !Self.versions.contains(version) {
      throw CheckpointError(
        .unexpectedValue(
          "the archive's version", found: quoted(version),
          expected: Self.versions.joined(separator: " or ")), at: location,
        hint: "Export it with a version of PyTorch that writes such archives.")
    }
    let order = try Self.word("byteorder", members, archive) ?? "little"
    if order != "little" {
      throw CheckpointError(
        .unexpectedValue("the byte order", found: quoted(order), expected: "little"), at: location,
        hint: "Export it on a machine with little-endian numbers, as x86 and ARM have.")
    }
    let models = members.keys.filter { $0.hasPrefix("models/") && $0.hasSuffix(".json") }.sorted()
    guard let model = models.first, models.count == 1 else {
      throw failure(
        models.isEmpty ? "an archive without a graph" : "an archive of \(models.count) networks",
        models.isEmpty
          ? "Compiled code cannot be read; save the program: torch.export.save(program, path)."
          : "Save one network: torch.export.save(program, path).")
    }
    self.model = String(model.dropFirst("models/".count).dropLast(".json".count))
  }

  /// An archive in which all weights are one pickle, as PyTorch wrote them before 2.9.
  static func olderForm(at location: CheckpointError.Location) -> CheckpointError {
    CheckpointError(
      .otherFormat(
        found: "an archive in an older form", expected: "a network by torch.export.save"),
      at: location,
      hint: "Load it with torch.export.load and save it again with PyTorch 2.9 or later.")
  }

  /// Of archives without a folder, which are older still.
  private static let olderDocument = "serialized_exported_program.json"

  /// Whether it holds networks by torch.export, of whatever version.
  static func isProgram(_ archive: ZipArchive) -> Bool {
    root(of: archive) != nil || archive.members.contains { $0.name == olderDocument }
  }

  /// The folder that has a member `archive_format`.
  private static func root(of archive: ZipArchive) -> String? {
    for member in archive.members where member.name.hasSuffix("/archive_format") {
      let root = member.name.dropLast("archive_format".count)
      if root.dropLast().contains("/") { continue }
      if (try? archive.prefix(8, of: member)) == Array("pt2".utf8) { return String(root) }
    }
    return nil
  }

  /// What a short member says.
  private static func word(
    _ name: String, _ members: [String: ZipArchive.Member], _ archive: ZipArchive
  ) throws(CheckpointError) -> String? {
    guard let member = members[name] else { return nil }
    return String(decoding: try archive.prefix(64, of: member), as: UTF8.self)
  }
}

// MARK: - Members

extension ProgramArchive {
  private func member(_ name: String) throws(CheckpointError) -> ZipArchive.Member {
    if let member = members[name] { return member }
    throw CheckpointError(
      .missingStorage(root + name), at: .init(file: file.path),
      hint: "The file was not written completely; save it again.")
  }

  /// The bytes of a member, of which compressed ones take from the memory allowed.
  private func bytes(_ member: ZipArchive.Member) throws(CheckpointError) -> any ByteOwner {
    if !member.isStored {
      try budget.take(member.size, for: .init(file: file.path, tensor: member.name))
    }
    return try archive.bytes(of: member)
  }

  /// The bytes of a document.
  func document(_ name: String) throws(CheckpointError) -> StoredTensor {
    let member = try member(name)
    if member.size > Self.maximumDocument {
      throw CheckpointError(
        .headerTooLarge(bytes: UInt64(member.size), limit: Self.maximumDocument),
        at: .init(file: file.path, tensor: member.name))
    }
    return StoredTensor(
      name: member.name, dtype: .u8, shape: [member.size], file: file.path,
      owner: try bytes(member))
  }

  /// A document; paths in it begin with the name of the member.
  func json(_ name: String) throws(CheckpointError) -> JSONValue {
    try document(name).withBytes { bytes throws(CheckpointError) in
      try JSONValue(parsing: bytes, name: name, file: file.path)
    }
  }

  /// A file by torch.save in a member.
  func torchFile(_ name: String) throws(CheckpointError) -> TorchReader {
    let member = try member(name)
    let inner = try MappedFile(inside: bytes(member), path: "\(file.path), member \(member.name)")
    return try TorchReader(inner, budget)
  }

  /// The example inputs; without any the member is empty or not there.
  func sampleInputs() throws(CheckpointError) -> TorchReader? {
    let name = "data/sample_inputs/\(model).pt"
    guard let member = members[name], member.size > 0 else { return nil }
    return try torchFile(name)
  }
}
