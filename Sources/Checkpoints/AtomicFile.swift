import Foundation

/// An output file, written under a temporary name in the folder of `path` and renamed at the end,
/// so that it is whole or absent. What was not committed is removed.
///
/// A link is followed. A pipe or a device (`/dev/stdout`) cannot be renamed over and is written
/// directly.
package final class AtomicFile {
  private let path: String
  /// The name to take at the end; nil for what is written directly.
  private let destination: String?
  private let temporary: String
  private var descriptor: Int32 = -1

  /// - Throws: `CheckpointError.cannotWrite`.
  package init(path: String) throws(CheckpointError) {
    self.path = path
    var status = stat()
    let exists = stat(path, &status) == 0
    if exists && status.st_mode & S_IFMT == S_IFDIR { throw Self.failure(path, EISDIR) }
    if exists && status.st_mode & S_IFMT != S_IFREG {
      (destination, temporary) = (nil, path)
      descriptor = open(path, O_WRONLY | O_CLOEXEC)
    } else {
      let target = exists ? Self.resolved(path) : path
      let slash = target.lastIndex(of: "/")
      let folder = slash.map { String(target[...$0]) } ?? ""
      // A name of its own for every writer, so that two of them do not write into one file.
      let suffix = String(UInt64.random(in: .min ... .max), radix: 16)
      (destination, temporary) = (target, folder + ".tmp-" + suffix)
      descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
    }
    if descriptor < 0 { throw Self.failure(path, errno) }
  }

  deinit {
    if descriptor < 0 { return }
    close(descriptor)
    if destination != nil { unlink(temporary) }
  }

  /// Appends.
  package func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    var written = 0
    while written < bytes.count {
      let count = Foundation.write(
        descriptor, bytes.baseAddress! + written, bytes.count - written)
      if count < 0 {
        if errno == EINTR { continue }
        throw Self.failure(path, errno)
      }
      written += count
    }
  }

  /// Makes the content durable and gives it its name. Call it once, at the end.
  package func commit() throws(CheckpointError) {
    if let destination {
      if fsync(descriptor) != 0 { throw Self.failure(path, errno) }
      if rename(temporary, destination) != 0 { throw Self.failure(path, errno) }
    }
    let result = close(descriptor)
    descriptor = -1
    if result != 0 { throw Self.failure(path, errno) }
  }

  private static func resolved(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  private static func failure(_ path: String, _ code: Int32) -> CheckpointError {
    CheckpointError(.cannotWrite(code: code), at: .init(file: path))
  }
}
