import Checkpoints
import Crypto

/// A file that a run has read.
public struct FileRecord: Sendable, Equatable, Codable {
  /// As it was given.
  public var path: String
  /// Its size.
  public var bytes: Int
  /// In lower-case hexadecimal digits.
  public var sha256: String

  /// With all of its parts.
  public init(path: String, bytes: Int, sha256: String) {
    self.path = path
    self.bytes = bytes
    self.sha256 = sha256
  }

  /// Of what is at the path now.
  public init(path: String) throws(CheckpointError) { self.init(try MappedFile(path: path)) }

  /// Of all that have been opened.
  ///
  /// - Throws: `changed` for one that is no longer what was opened.
  static func all(_ files: InputFiles) throws(CheckpointError) -> [FileRecord] {
    var records: [FileRecord] = []
    for file in files.opened {
      records.append(FileRecord(file))
      try file.requireUnchanged()
    }
    return records
  }

  /// One sum over others.
  static func sum(_ sums: [String]) -> String {
    SHA256.hash(data: Array(sums.joined(separator: " ").utf8)).hexadecimal
  }

  /// Of the bytes that whoever holds the file reads.
  package init(_ file: MappedFile) {
    path = file.path
    bytes = file.bytes.count
    var hash = SHA256()
    let piece = 1 << 22
    for start in stride(from: 0, to: bytes, by: piece) {
      let end = min(start + piece, bytes)
      hash.update(bufferPointer: UnsafeRawBufferPointer(rebasing: file.bytes[start..<end]))
    }
    sha256 = hash.finalize().hexadecimal
    file.release()
  }
}

extension SHA256Digest {
  /// In lower case.
  var hexadecimal: String {
    map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
  }
}
