import Foundation

/// A file written under a temporary name in the folder of `path` and renamed at the end. What was
/// not committed is removed.
final class AtomicFile {
  private let path: String
  private let temporary: String
  private var descriptor: Int32

  init(path: String) throws(CheckpointError) {
    self.path = path
    let slash = path.lastIndex(of: "/")
    let folder = slash.map { String(path[...$0]) } ?? ""
    // A name of its own for every writer, so that two of them do not write into one file.
    var template = Array((folder + ".tmp-XXXXXX").utf8CString)
    descriptor = mkstemp(&template)
    temporary = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    if descriptor < 0 { throw failure(errno) }
    // mkstemp makes it readable to the owner alone; a result is as readable as other files.
    let mask = umask(0)
    umask(mask)
    fchmod(descriptor, 0o666 & ~mask)
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      unlink(temporary)
    }
  }

  func write(_ bytes: UnsafeRawBufferPointer) throws(CheckpointError) {
    var written = 0
    while written < bytes.count {
      let count = Foundation.write(
        descriptor, bytes.baseAddress! + written, bytes.count - written)
      if count < 0 {
        if errno == EINTR { continue }
        throw failure(errno)
      }
      written += count
    }
  }

  /// Makes the content durable and gives it its name.
  func commit() throws(CheckpointError) {
    if fsync(descriptor) != 0 { throw failure(errno) }
    if rename(temporary, path) != 0 { throw failure(errno) }
    let result = close(descriptor)
    descriptor = -1
    if result != 0 { throw failure(errno) }
  }

  private func failure(_ code: Int32) -> CheckpointError {
    CheckpointError(.cannotWrite(code: code), at: .init(file: path))
  }
}
