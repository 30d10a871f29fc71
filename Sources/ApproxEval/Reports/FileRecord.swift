import Checkpoints
import Crypto
import Foundation

/// A file that a run has read.
public struct FileRecord: Sendable, Equatable, Codable {
  public var path: String
  public var bytes: Int
  /// In lower-case hexadecimal digits; `nil` for a pipe, which can be read only once.
  public var sha256: String?

  /// The files behind what a user names: itself, or those of a model's folder that may be read.
  static func files(_ path: String) -> [String] {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder),
      isFolder.boolValue
    else { return [path] }
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    let folder = path.hasSuffix("/") ? path : path + "/"
    return names.filter { name in
      ["json", "safetensors", "bin"].contains { name.hasSuffix("." + $0) }
    }.sorted().map { folder + $0 }
  }

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
    sha256 = hash.finalize().hexadecimal
    withExtendedLifetime(file) {}
  }
}

extension SHA256Digest {
  /// In lower case.
  var hexadecimal: String {
    map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}
