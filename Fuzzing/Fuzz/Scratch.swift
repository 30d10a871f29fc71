import Checkpoints
import Foundation
import FuzzerDriver

/// Files of this process, in the temporary folder.
enum Scratch {
  static let folder: String = {
    let path = NSTemporaryDirectory() + "/fuzz-\(getpid())"
    precondition(mkdir(path, 0o700) == 0 || errno == EEXIST, "cannot make \(path)")
    return path
  }()

  static func path(_ name: String) -> String { "\(folder)/\(name)" }

  static func makeFolder(_ name: String) { mkdir(path(name), 0o700) }

  /// - Returns: Its path.
  @discardableResult
  static func write(_ bytes: some Collection<UInt8>, to name: String) -> String {
    let path = path(name)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    precondition(descriptor >= 0, "cannot write \(path)")
    let isWhole =
      bytes.withContiguousStorageIfAvailable {
        Foundation.write(descriptor, $0.baseAddress, $0.count) == $0.count
      } ?? false
    precondition(isWhole, "cannot write \(path)")
    close(descriptor)
    return path
  }

  static func remove(_ name: String) { unlink(path(name)) }

  /// The file of these bytes, open. AddressSanitizer takes the rest of its last page, which the
  /// system fills with zeros, for memory that nobody may touch.
  static func withOpenFile(
    _ bytes: some Collection<UInt8>, _ body: (MappedFile) throws -> Void
  ) throws {
    let file = try MappedFile(path: write(bytes, to: "file"))
    guard let start = file.bytes.baseAddress else { return try body(file) }
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let rest = (page - file.bytes.count % page) % page
    __asan_poison_memory_region(start + file.bytes.count, rest)
    defer {
      __asan_unpoison_memory_region(start + file.bytes.count, rest)
      withExtendedLifetime(file) {}
    }
    try body(file)
  }
}
