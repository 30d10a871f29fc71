import Checkpoints
import Foundation

/// Files that appear together: all are prepared under temporary names, then all are renamed.
public struct OutputFiles {
  private var items: [(path: String, content: Data)] = []
  /// The file that speaks of the others.
  private var record: String?
  private let system: any FileSystem

  /// - Parameter system: Where files are written.
  public init(system: any FileSystem = POSIXFileSystem()) { self.system = system }

  /// Adds a file with a text, in UTF-8.
  public mutating func add(_ path: String, _ text: String) {
    items.append((path, Data(text.utf8)))
  }

  /// A file that says where the others come from: the last one to appear, and the first one to go,
  /// so that it never stands beside files of another run.
  public mutating func addRecord(_ path: String, _ text: String) {
    add(path, text)
    record = path
  }

  /// Returns when all of them are on the disk.
  ///
  /// - Throws: `CheckpointError.cannotWrite`; then none of the files has changed, unless it is a
  ///   removal or a rename that fails.
  public func write() throws(CheckpointError) {
    for item in items { try Self.makeFolder(folderName(of: item.path), system: system) }
    var prepared: [AtomicFile] = []
    for item in items {
      let file = try AtomicFile(path: item.path, system: system)
      let bytes = OwnedBytes(item.content)
      try file.write(bytes.load())
      withExtendedLifetime(bytes) {}
      prepared.append(file)
    }
    if let record { try removed(record) }
    for file in prepared { try file.commit() }
  }

  /// What has the name goes, if anything has.
  private func removed(_ path: String) throws(CheckpointError) {
    do throws(SystemError) {
      if try system.found(path, followingLinks: false) == nil { return }
      try system.remove(path)
      try system.synchronizeFolder(folderName(of: path))
    } catch {
      throw Self.failure(path, error)
    }
  }
}

// MARK: - Before a computation

extension OutputFiles {
  /// Finds out whether files can be made in a folder, which need not exist yet, and leaves
  /// nothing behind: temporary files of runs that were killed go as well.
  public static func requireWritable(
    folder path: String, system: any FileSystem = POSIXFileSystem()
  ) throws(CheckpointError) {
    var existing = path
    do throws(SystemError) {
      var kind = try system.found(existing)?.kind
      while kind == nil {
        guard !existing.isEmpty, existing != "." else { throw SystemError(ENOENT) }
        existing = folderName(of: existing)
        kind = try system.found(existing)?.kind
      }
      if kind != .folder { throw SystemError(ENOTDIR) }
      // A file to try it out would stay there if the process were killed, where no later run looks.
      if existing != path { return try system.requireWritable(existing) }
    } catch {
      throw failure(path, error)
    }
    AtomicFile.removeStale(in: existing, system)
    do {
      _ = try AtomicFile(path: joined(existing, "writable"), system: system)
    } catch {
      throw CheckpointError(error.problem, at: .init(file: path))
    }
  }

  /// The same for a file, which may exist.
  public static func requireWritable(
    file path: String, system: any FileSystem = POSIXFileSystem()
  ) throws(CheckpointError) {
    do throws(SystemError) {
      switch try system.found(path)?.kind {
      case .folder: throw SystemError(EISDIR)
      // Opening a pipe would have effects.
      case .pipe, .device: return try system.requireWritable(path)
      default: break
      }
    } catch {
      throw failure(path, error)
    }
    if system.exists(path) {
      AtomicFile.removeStale(in: folderName(of: path), system)
      _ = try AtomicFile(path: path, system: system)
      return
    }
    do {
      try requireWritable(folder: folderName(of: path), system: system)
    } catch {
      throw CheckpointError(error.problem, at: .init(file: path))
    }
  }

  /// The same for a file that must not be there, unless it is to be replaced.
  ///
  /// - Throws: `exists` for one that would be lost. Pipes and devices hold nothing that could be.
  public static func requireNew(
    file path: String, force: Bool, system: any FileSystem = POSIXFileSystem()
  ) throws(CheckpointError) {
    try requireWritable(file: path, system: system)
    if force { return }
    do throws(SystemError) {
      if try system.found(path, followingLinks: false)?.kind != .file { return }
    } catch {
      throw failure(path, error)
    }
    throw CheckpointError(
      .exists, at: .init(file: path), hint: "Give another name, or replace it by \(.force).")
  }

  /// Makes the folder of a file that is about to be written.
  public static func makeParent(of path: String) throws(CheckpointError) {
    try makeFolder(folderName(of: path))
  }

  /// Makes a folder and those above it; one that is there stays as it is.
  public static func makeFolder(
    _ path: String, system: any FileSystem = POSIXFileSystem()
  ) throws(CheckpointError) {
    do throws(SystemError) {
      switch try system.found(path)?.kind {
      case .folder: return
      case nil: break
      default: throw SystemError(ENOTDIR)
      }
    } catch {
      throw failure(path, error)
    }
    let parent = folderName(of: path)
    try makeFolder(parent, system: system)
    do throws(SystemError) {
      do throws(SystemError) {
        try system.untilDone { () throws(SystemError) in try system.makeFolder(path) }
      } catch {
        // Another run may have made it meanwhile.
        if error.code != EEXIST { throw error }
      }
      try system.synchronizeFolder(parent)
    } catch {
      throw failure(path, error)
    }
  }

  private static func failure(_ path: String, _ error: SystemError) -> CheckpointError {
    CheckpointError(.cannotWrite(code: error.code), at: .init(file: path))
  }
}
