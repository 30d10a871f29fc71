import Foundation

/// An output file, written under a temporary name in the folder of `path` and renamed at the end,
/// so that it is whole or absent. What was not committed is removed.
///
/// A link is replaced, and what it leads to stays as it is. A pipe or a device (`/dev/stdout`) cannot
/// be renamed over and is written directly.
package final class AtomicFile {
  private let path: String
  private let system: any FileSystem
  /// Before it is renamed; nil for what is written directly.
  private let temporary: String?
  private var descriptor: Int32?

  /// - Throws: `CheckpointError.cannotWrite`, `.linkedOutput`.
  package init(path: String, system: any FileSystem = POSIXFileSystem()) throws(CheckpointError) {
    self.path = path
    self.system = system
    var isLinked = false
    do throws(SystemError) {
      switch try system.found(path)?.kind {
      case .folder: throw SystemError(EISDIR)
      case .pipe, .device:
        temporary = nil
        descriptor = try system.untilDone { () throws(SystemError) in
          try system.open(path, for: .streaming)
        }
      default:
        if try Self.isSystemLink(path, system) {
          isLinked = true
          (temporary, descriptor) = (nil, nil)
        } else {
          (temporary, descriptor) = try Self.create(in: folderName(of: path), system)
        }
      }
    } catch {
      throw Self.failure(path, error)
    }
    if isLinked { throw CheckpointError(.linkedOutput, at: .init(file: path)) }
  }

  /// A name that the system has for an open file, as `/dev/stdout` where that is one: the name must
  /// not be replaced, and written directly the file would be neither whole nor absent.
  private static func isSystemLink(
    _ path: String, _ system: any FileSystem
  ) throws(SystemError) -> Bool {
    guard path.hasPrefix("/dev/") || path.hasPrefix("/proc/") else { return false }
    return try system.found(path, followingLinks: false)?.kind == .link
  }

  deinit { discard() }

  private func discard() {
    guard let descriptor else { return }
    // First the name: with the descriptor the lock ends that says that it is in use.
    if let temporary { try? system.remove(temporary) }
    try? system.close(descriptor)
    self.descriptor = nil
  }

  /// Appends.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    do throws(SystemError) {
      try system.writeAll(descriptor!, bytes)
    } catch {
      throw Self.failure(path, error)
    }
  }

  /// Makes the content durable and gives it its name. Call it once, at the end.
  package func commit() throws(CheckpointError) {
    guard let descriptor else { preconditionFailure("AtomicFile: committed twice") }
    do throws(SystemError) {
      if let temporary {
        try system.untilDone { () throws(SystemError) in try system.synchronize(descriptor) }
        try system.untilDone { () throws(SystemError) in try system.rename(temporary, to: path) }
      }
      self.descriptor = nil
      try system.close(descriptor)
      if temporary != nil { try system.synchronizeFolder(folderName(of: path)) }
    } catch {
      throw Self.failure(path, error)
    }
  }

  private static func failure(_ path: String, _ error: SystemError) -> CheckpointError {
    CheckpointError(.cannotWrite(code: error.code), at: .init(file: path))
  }
}

// MARK: - Temporary names

extension AtomicFile {
  private static let prefix = ".tmp-"
  private static let digits = 16

  /// A new file with a name of its own, so that two writers do not write into one, and locked as long
  /// as it is open, so that nobody takes it for one that was left behind.
  private static func create(
    in folder: String, _ system: any FileSystem
  ) throws(SystemError) -> (name: String, descriptor: Int32) {
    while true {
      let number = String(UInt64.random(in: .min ... .max), radix: 16)
      let zeros = String(repeating: "0", count: digits - number.count)
      let name = joined(folder, prefix + zeros + number)
      let descriptor: Int32
      do throws(SystemError) {
        descriptor = try system.untilDone { () throws(SystemError) in
          try system.open(name, for: .creating)
        }
      } catch {
        if error.code == EEXIST { continue }
        throw error
      }
      do throws(SystemError) {
        let lock = try system.untilDone { () throws(SystemError) in try system.lock(descriptor) }
        // Between the two calls somebody who tidies up may have had it.
        if lock != .taken, try system.status(descriptor).links > 0 { return (name, descriptor) }
        try? system.close(descriptor)
      } catch {
        try? system.remove(name)
        try? system.close(descriptor)
        throw error
      }
    }
  }

  private static func isTemporary(_ name: String) -> Bool {
    guard name.hasPrefix(prefix) else { return false }
    let number = name.utf8.dropFirst(prefix.utf8.count)
    return number.count == digits
      && number.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
  }

  /// Removes temporary files that processes which were killed have left in a folder; those that a
  /// living one still writes are locked and stay. What cannot be removed is left alone.
  package static func removeStale(in folder: String, _ system: any FileSystem) {
    for name in ((try? system.names(in: folder)) ?? []).sorted() where isTemporary(name) {
      let path = joined(folder, name)
      guard (try? system.status(of: path, followingLinks: false))?.kind == .file,
        let descriptor = try? system.open(path, for: .updating)
      else { continue }
      // Where there are no locks, nothing tells whether it is in use.
      if (try? system.lock(descriptor)) == .held { try? system.remove(path) }
      try? system.close(descriptor)
    }
  }
}
