import Checkpoints
import Foundation

/// Files that appear together: all are prepared under temporary names, then all are renamed.
public struct OutputFiles {
  private var items: [(path: String, content: Data)] = []

  public init() {}

  public mutating func add(_ path: String, _ text: String) {
    items.append((path, Data(text.utf8)))
  }

  /// - Throws: `CheckpointError.cannotWrite`; then none of the files has changed, unless it is a
  ///   rename that fails.
  public func write() throws(CheckpointError) {
    for item in items { try Self.makeFolder(Self.folder(of: item.path)) }
    var prepared: [AtomicFile] = []
    for item in items {
      let file = try AtomicFile(path: item.path)
      let bytes = OwnedBytes(item.content)
      try file.write(bytes.load())
      withExtendedLifetime(bytes) {}
      prepared.append(file)
    }
    for file in prepared { try file.commit() }
  }
}

// MARK: - Before a computation

extension OutputFiles {
  /// Finds out whether files can be made in a folder, which need not exist yet, and leaves
  /// nothing behind.
  public static func requireWritable(folder path: String) throws(CheckpointError) {
    var existing = path
    var status = stat()
    while stat(existing, &status) != 0 {
      guard errno == ENOENT, !existing.isEmpty, existing != "." else {
        throw failure(path, errno)
      }
      existing = folder(of: existing)
    }
    if status.st_mode & S_IFMT != S_IFDIR { throw failure(path, ENOTDIR) }
    do {
      _ = try AtomicFile(path: existing + "/writable")
    } catch {
      throw CheckpointError(error.problem, at: .init(file: path))
    }
  }

  /// The same for a file, which may exist.
  public static func requireWritable(file path: String) throws(CheckpointError) {
    var status = stat()
    guard stat(path, &status) == 0 else {
      do {
        return try requireWritable(folder: folder(of: path))
      } catch {
        throw CheckpointError(error.problem, at: .init(file: path))
      }
    }
    switch status.st_mode & S_IFMT {
    case S_IFREG: _ = try AtomicFile(path: path)
    case S_IFDIR: throw failure(path, EISDIR)
    // Opening a pipe would have effects.
    default: if access(path, W_OK) != 0 { throw failure(path, errno) }
    }
  }

  /// Everything before the last component; `.` if there is nothing.
  private static func folder(of path: String) -> String {
    var parts = path[...]
    while parts.count > 1, parts.last == "/" { parts = parts.dropLast() }
    guard let slash = parts.lastIndex(of: "/") else { return "." }
    return slash == parts.startIndex ? "/" : String(parts[..<slash])
  }

  /// Makes the folder of a file that is about to be written.
  public static func makeParent(of path: String) throws(CheckpointError) {
    try makeFolder(folder(of: path))
  }

  /// Makes a folder and those above it; one that is there stays as it is.
  public static func makeFolder(_ path: String) throws(CheckpointError) {
    var status = stat()
    if stat(path, &status) == 0 {
      if status.st_mode & S_IFMT != S_IFDIR { throw failure(path, ENOTDIR) }
      return
    }
    try makeFolder(folder(of: path))
    if mkdir(path, 0o777) != 0 && errno != EEXIST { throw failure(path, errno) }
  }

  private static func failure(_ path: String, _ code: Int32) -> CheckpointError {
    CheckpointError(.cannotWrite(code: code), at: .init(file: path))
  }
}
