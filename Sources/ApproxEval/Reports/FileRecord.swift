import Checkpoints
import Crypto
import Foundation

/// A file that a run has read.
public struct FileRecord: Sendable, Equatable {
  public var path: String
  public var bytes: Int
  /// In lower-case hexadecimal digits; `nil` for a pipe, which can be read only once.
  public var sha256: String?

  /// Reads the file once, in pieces.
  public init(path: String) throws(CheckpointError) {
    self.path = path
    var status = stat()
    if stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO {
      bytes = 0
      return
    }
    let file = try MappedFile(path: path)
    bytes = file.bytes.count
    var hash = SHA256()
    let piece = 1 << 22
    for start in stride(from: 0, to: bytes, by: piece) {
      let end = min(start + piece, bytes)
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: file.bytes[start..<end]))
    }
    sha256 = hash.finalize().map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
    withExtendedLifetime(file) {}
  }
}
