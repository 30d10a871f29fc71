import Foundation
import TensorModule

/// PyTorch's `torch.save`: a zip archive with `data.pkl` and one member per storage (PyTorch 1.6
/// and later), or the older sequence of pickles followed by the storages.
///
/// Nested dictionaries, lists and tuples are flattened, with dots between their keys and indices:
/// `model.fc.weight`, `state.0.exp_avg`. A file of one bare tensor calls it `tensor`. What is no
/// tensor becomes metadata, spelt as in JSON.
///
/// A storage that lies in the file uncompressed and little-endian is used in place, as PyTorch
/// itself does with `mmap=True`; its checksum, which PyTorch may be told not to compute, is not
/// looked at. Tensors that are not row-major are gathered when they are first read.
public struct TorchReader: Sendable {
  /// What the dictionary holds beside tensors, as texts.
  public let metadata: [String: String]
  /// By name; parts of nested dictionaries joined by dots.
  public let tensors: [String: StoredTensor]

  /// The pickle alone, without tensors. Far more than any model needs.
  private static let maximumPickle = 100_000_000

  /// - Throws: `CheckpointError` naming the global, the instruction or the tensor at fault.
  public init(_ file: MappedFile) throws(CheckpointError) {
    try self.init(file, UnpackingBudget(.max))
  }

  init(_ file: MappedFile, _ budget: UnpackingBudget) throws(CheckpointError) {
    if FileKind.isZip(file.bytes) {
      try self.init(ZipArchive(file), budget)
    } else {
      try self.init(legacy: file, budget)
    }
  }

  private init(_ contents: TorchContents) {
    (metadata, tensors) = (contents.metadata, contents.tensors)
  }
}

// MARK: - Zip archives

extension TorchReader {
  /// The pickles in an archive; one by `torch.save` has exactly one.
  static func pickles(in archive: ZipArchive) -> [ZipArchive.Member] {
    archive.members.filter { $0.name == "data.pkl" || $0.name.hasSuffix("/data.pkl") }
  }

  init(_ archive: ZipArchive, _ budget: UnpackingBudget) throws(CheckpointError) {
    let location = CheckpointError.Location(file: archive.path)
    let pickles = Self.pickles(in: archive)
    guard let pickle = pickles.first, pickles.count == 1 else {
      throw CheckpointError(
        .otherFormat(
          found: "a zip with \(pickles.count) members data.pkl", expected: "a file by torch.save"),
        at: location, hint: "Save one object: torch.save(model.state_dict(), path).")
    }
    let prefix = String(pickle.name.dropLast("data.pkl".count))
    var members: [String: ZipArchive.Member] = [:]
    for member in archive.members where member.name.hasPrefix(prefix) {
      members[String(member.name.dropFirst(prefix.count))] = member
    }
    if members["constants.pkl"] != nil || members.keys.contains(where: { $0.hasPrefix("code/") }) {
      throw CheckpointError(
        .otherFormat(
          found: "a TorchScript archive (torch.jit.save)", expected: "a file by torch.save"),
        at: location,
        hint: "It holds a program. Save its tensors: torch.save(model.state_dict(), path).")
    }
    try budget.take(pickle.isStored ? 0 : pickle.size, for: location)
    if pickle.size > Self.maximumPickle {
      throw CheckpointError(
        .headerTooLarge(bytes: UInt64(pickle.size), limit: Self.maximumPickle),
        at: .init(file: archive.path, tensor: pickle.name))
    }
    let isBigEndian = try Self.isBigEndian(members["byteorder"], archive)
    var storages: [String: TorchStorages.Region] = [:]
    // Sorted, so that of several defects the same one is always reported.
    for (name, member) in members.sorted(by: { $0.key < $1.key })
    where name.hasPrefix("data/") {
      storages[String(name.dropFirst(5))] = .init(
        archive: archive, member: member, range: try archive.storedRange(of: member))
    }
    let bytes = try archive.bytes(of: pickle)
    var unpickler = Unpickler(try bytes.load())
    defer { withExtendedLifetime(bytes) {} }
    let root: Unpickler.Value
    do throws(Unpickler.Failure) {
      root = try unpickler.run()
    } catch {
      throw CheckpointError(
        error.problem, at: .init(file: archive.path, tensor: pickle.name, byte: error.offset),
        hint: error.hint)
    }
    var contents = TorchContents(
      file: archive.file,
      storages: TorchStorages(
        file: archive.file, regions: storages, prefix: prefix + "data/", isBigEndian: isBigEndian,
        budget: budget))
    try contents.collect(root, from: unpickler)
    self.init(contents)
  }

  private static func isBigEndian(
    _ member: ZipArchive.Member?, _ archive: ZipArchive
  ) throws(CheckpointError) -> Bool {
    guard let member else { return false }
    let text = String(decoding: try archive.prefix(16, of: member), as: UTF8.self)
    switch text {
    case "little": return false
    case "big": return true
    default:
      throw CheckpointError(
        .unexpectedValue("the byte order", found: quoted(text), expected: "little or big"),
        at: .init(file: archive.path, tensor: member.name))
    }
  }
}

// MARK: - The older format

extension TorchReader {
  private static let magic: [UInt8] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]

  /// Five pickles: a magic number, the version 1001, the machine's sizes of types, the object,
  /// the keys of its storages; then for each key the number of elements (64 bits) and the
  /// elements, little-endian whatever machine wrote them.
  private init(legacy file: MappedFile, _ budget: UnpackingBudget) throws(CheckpointError) {
    var position = 0
    func next() throws(CheckpointError) -> (Unpickler.Value, Unpickler) {
      var unpickler = Unpickler(file.bytes, at: position)
      do throws(Unpickler.Failure) {
        let value = try unpickler.run()
        position = unpickler.position
        return (value, unpickler)
      } catch {
        throw CheckpointError(
          error.problem, at: .init(file: file.path, byte: error.offset), hint: error.hint)
      }
    }
    func failure(_ reason: String, at byte: Int) -> CheckpointError {
      CheckpointError(.invalidPickle(reason), at: .init(file: file.path, byte: byte))
    }
    if try next().0 != .long(Self.magic) {
      throw CheckpointError(
        .otherFormat(found: "a Python pickle", expected: "a file by torch.save"),
        at: .init(file: file.path), hint: "Save tensors with torch.save or safetensors.")
    }
    let versionStart = position
    if try next().0 != .integer(1001) {
      throw failure("the version of torch.save is not 1001", at: versionStart)
    }
    _ = try next()
    let (root, unpickler) = try next()
    let keysStart = position
    let (keys, keyTable) = try next()
    guard case .list(let index) = keys else {
      throw failure("the keys of the storages are no list", at: keysStart)
    }
    let claimed = try Self.claimedStorages(unpickler, file.path)
    var storages: [String: TorchStorages.Region] = [:]
    for key in keyTable.sequences[index] {
      guard case .string(let key) = key, let storage = claimed[key], storages[key] == nil else {
        throw failure("the keys of the storages are not those of its tensors", at: keysStart)
      }
      let location = CheckpointError.Location(file: file.path, tensor: key, byte: position)
      let start = position + 8
      if start > file.bytes.count {
        throw CheckpointError(.truncated(found: file.bytes.count, needed: start), at: location)
      }
      let count = Int64(
        littleEndian: file.bytes.loadUnaligned(fromByteOffset: position, as: Int64.self))
      if count != Int64(storage.count) {
        throw failure(
          "a storage of \(storage.count) elements is stored with \(count)", at: position)
      }
      let size = checkedByteCount(storage.dtype, [storage.count])
      guard let size, size <= file.bytes.count - start else {
        throw CheckpointError(
          .truncated(found: file.bytes.count, needed: checkedSum(start, size ?? .max) ?? .max),
          at: location)
      }
      storages[key] = .init(range: start..<start + size)
      position = start + size
    }
    if position < file.bytes.count {
      throw CheckpointError(
        .unclaimedBytes(file.bytes.count - position),
        at: .init(file: file.path, byte: position))
    }
    var contents = TorchContents(
      file: file,
      storages: TorchStorages(
        file: file, regions: storages, prefix: "", isBigEndian: false, budget: budget))
    try contents.collect(root, from: unpickler)
    self.init(contents)
  }

  /// The storages of all tensors by key.
  private static func claimedStorages(
    _ unpickler: Unpickler, _ path: String
  ) throws(CheckpointError) -> [String: TorchStorage] {
    var result: [String: TorchStorage] = [:]
    for storage in unpickler.storages {
      if let other = result.updateValue(storage, forKey: storage.key), other != storage {
        throw CheckpointError(
          .invalidPickle("storage \(quoted(storage.key)) is claimed to be two things"),
          at: .init(file: path))
      }
    }
    return result
  }
}
