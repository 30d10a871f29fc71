import Checkpoints
import Foundation

/// A disk in memory that knows what would survive a power cut: content that was synchronized, and
/// names whose folder was.
///
/// A value: a copy is the disk as it is now. Paths are absolute and without `..`.
package struct SimulatedDisk: Sendable {
  struct File: Sendable {
    var kind: FileStatus.Kind
    /// As processes see it.
    var content: [UInt8] = []
    /// As it was when it was last synchronized.
    var durable: [UInt8] = []
    /// Counts changes: the time of the last one.
    var modified = 0
    /// Addresses of maps, which see what is written to the file.
    var maps: [UInt] = []
    /// The open file that holds the lock.
    var lock: Int32?
  }

  /// Names that appear and disappear together, as in a rename.
  private struct NameChange: Sendable {
    var names: [(path: String, file: Int?)]
    var folders: Set<String>
  }

  var files: [Int: File] = [:]
  /// As processes see them.
  private(set) var names: [String: Int] = [:]
  private var durableNames: [String: Int] = [:]
  /// What is not on the disk yet, in order: a file system keeps the order of its changes.
  private var pending: [NameChange] = []
  private var nextFile = 1
  var clock = 0

  package init() {
    let root = make(.folder)
    change([("/", root)], in: "/")
    synchronizeNames(in: "/")
  }
}

// MARK: - Names

extension SimulatedDisk {
  mutating func make(_ kind: FileStatus.Kind) -> Int {
    clock += 1
    files[nextFile] = File(kind: kind, modified: clock)
    nextFile += 1
    return nextFile - 1
  }

  mutating func change(_ changed: [(path: String, file: Int?)], in folder: String) {
    for (path, file) in changed { names[path] = file }
    pending.append(NameChange(names: changed, folders: [folder]))
  }

  /// All changes up to the last one in the folder.
  mutating func synchronizeNames(in folder: String) {
    guard let last = pending.lastIndex(where: { $0.folders.contains(folder) }) else { return }
    for change in pending[...last] {
      for (path, file) in change.names { durableNames[path] = file }
    }
    pending.removeSubrange(...last)
  }

  func links(_ file: Int) -> Int { names.values.count { $0 == file } }

  /// Names of the files in a folder, sorted.
  package func content(of folder: String) -> [String] {
    let prefix = folder == "/" ? "/" : folder + "/"
    return names.keys.filter { $0.hasPrefix(prefix) && $0.count > prefix.count }
      .map { String($0.dropFirst(prefix.count)) }.filter { !$0.contains("/") }.sorted()
  }

  package func bytes(_ path: String) -> [UInt8]? {
    names[path].flatMap { files[$0] }.map(\.content)
  }
}

// MARK: - Changes from outside

extension SimulatedDisk {
  /// A file, and the folders above it, that were there long ago.
  package mutating func put(_ path: String, _ content: [UInt8]) {
    let folder = folderName(of: path)
    if names[folder] == nil { putFolder(folder) }
    replace(path, content)
    synchronizeNames(in: folder)
  }

  private mutating func putFolder(_ path: String) {
    let parent = folderName(of: path)
    if names[parent] == nil { putFolder(parent) }
    change([(path, make(.folder))], in: parent)
    synchronizeNames(in: parent)
  }

  /// Another file takes the name, as where a program writes anew and renames.
  package mutating func replace(_ path: String, _ content: [UInt8]) {
    let file = make(.file)
    files[file]!.content = content
    files[file]!.durable = content
    change([(path, file)], in: folderName(of: path))
  }

  /// The same file gets another content, which its maps see.
  package mutating func overwrite(_ path: String, _ content: [UInt8]) {
    guard let file = names[path] else { return }
    set(file, content)
    files[file]!.durable = content
  }

  package mutating func removeFile(_ path: String) {
    if names[path] != nil { change([(path, nil)], in: folderName(of: path)) }
  }

  mutating func set(_ file: Int, _ content: [UInt8]) {
    clock += 1
    files[file]!.content = content
    files[file]!.modified = clock
    for address in files[file]!.maps {
      let map = UnsafeMutableRawPointer(bitPattern: address)!
      content.withUnsafeBytes { map.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
    }
  }

  /// The process is gone: with it its locks and maps.
  package mutating func endProcess() {
    for file in files.keys {
      files[file]!.maps = []
      files[file]!.lock = nil
    }
  }

  /// The power goes: what was not synchronized is lost, there, or partly there.
  package mutating func losePower(_ random: inout some RandomNumberGenerator) {
    endProcess()
    let survivors = Int.random(in: 0...pending.count, using: &random)
    for change in pending[..<survivors] {
      for (path, file) in change.names { durableNames[path] = file }
    }
    pending = []
    names = durableNames
    for (file, state) in files.sorted(by: { $0.key < $1.key }) where state.content != state.durable
    {
      let content = Self.torn(state.durable, state.content, &random)
      files[file]!.content = content
      files[file]!.durable = content
    }
  }

  /// Each block has reached the disk or not; where there was none before, it reads as zeros.
  private static func torn(
    _ old: [UInt8], _ new: [UInt8], _ random: inout some RandomNumberGenerator
  ) -> [UInt8] {
    switch Int.random(in: 0..<4, using: &random) {
    case 0: return old
    case 1: return new
    default: break
    }
    let (low, high) = (min(old.count, new.count), max(old.count, new.count))
    let size = Bool.random(using: &random) ? new.count : Int.random(in: low...high, using: &random)
    let block = 512
    var result = [UInt8](repeating: 0, count: size)
    for start in stride(from: 0, to: size, by: block) {
      let source = Bool.random(using: &random) ? new : old
      let end = min(start + block, size, source.count)
      if start < end { result.replaceSubrange(start..<end, with: source[start..<end]) }
    }
    return result
  }
}
