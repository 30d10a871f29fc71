import Foundation
import Testing

@testable import Checkpoints

/// A file that lives as long as this value, with these bytes.
final class TemporaryFile {
  let path: String

  init(_ bytes: [UInt8] = []) {
    path = NSTemporaryDirectory() + "/checkpoints-test-" + UUID().uuidString
    guard FileManager.default.createFile(atPath: path, contents: Data(bytes)) else {
      fatalError("cannot write \(path)")
    }
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func write(_ byte: UInt8, at offset: Int) throws {
    let handle = try #require(FileHandle(forUpdatingAtPath: path))
    defer { try? handle.close() }
    try handle.seek(toOffset: UInt64(offset))
    try handle.write(contentsOf: [byte])
  }

  func truncate(to count: Int) throws { #expect(Foundation.truncate(path, count) == 0) }

  var contents: [UInt8] { [UInt8](FileManager.default.contents(atPath: path) ?? Data()) }
}

/// A folder that lives as long as this value.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "/checkpoints-test-" + UUID().uuidString
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var names: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: path).sorted() }
  }
}

func fixture(_ name: String) -> String {
  URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("fixtures").appendingPathComponent(name).path
}

func fixtureBytes(_ name: String) throws -> [UInt8] {
  [UInt8](try Data(contentsOf: URL(fileURLWithPath: fixture(name))))
}

/// The message of the error that `body` throws, with the path of the file given as FILE.
func message(
  for path: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> String {
  do {
    try body()
  } catch let error as CheckpointError {
    return "\(error)".replacingOccurrences(of: path, with: "FILE")
  } catch {
    Issue.record("\(error) is no CheckpointError", sourceLocation: sourceLocation)
    return ""
  }
  Issue.record("no error was thrown", sourceLocation: sourceLocation)
  return ""
}

/// Numbers without end from a seed (SplitMix64), the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}

func littleEndian<I: FixedWidthInteger>(_ value: I) -> [UInt8] {
  withUnsafeBytes(of: value.littleEndian) { Array($0) }
}

/// A safetensors file with this header, unpadded and unchecked.
func safetensors(_ header: String, data: [UInt8] = []) -> [UInt8] {
  littleEndian(UInt64(header.utf8.count)) + Array(header.utf8) + data
}

/// Every tensor of an archive, read in full.
func readAll(_ archive: TensorArchive) throws {
  for tensor in archive.tensors.values {
    if tensor.dtype.isFloatingPoint {
      _ = try tensor.vector(of: Double.self)
    } else {
      _ = try tensor.integers()
    }
  }
}

// MARK: - npz

/// A .npy member with this header text, unpadded.
func npy(_ header: String, data: [UInt8] = [], version: UInt8 = 1) -> [UInt8] {
  let count = header.utf8.count
  let length = version == 1 ? littleEndian(UInt16(count)) : littleEndian(UInt32(count))
  return [0x93] + Array("NUMPY".utf8) + [version, 0] + length + Array(header.utf8) + data
}

/// A member as the zip archive claims it to be.
struct ZipMember {
  var name: String
  var bytes: [UInt8]
  var method: UInt16 = 0
  var flags: UInt16 = 0
  /// The unpacked size, if the archive lies about it.
  var claimedSize: UInt32?
  /// The checksum of the unpacked bytes, where these are others than `bytes`.
  var checksum: UInt32?
}

func zip(_ members: [ZipMember]) -> [UInt8] {
  var body: [UInt8] = []
  var directory: [UInt8] = []
  for member in members {
    var common: [UInt8] = littleEndian(UInt16(20))
    common += littleEndian(member.flags)
    common += littleEndian(member.method)
    common += [0, 0, 0x21, 0]
    common += littleEndian(member.checksum ?? crc32(member.bytes))
    common += littleEndian(UInt32(member.bytes.count))
    common += littleEndian(member.claimedSize ?? UInt32(member.bytes.count))
    common += littleEndian(UInt16(member.name.utf8.count))
    common += [0, 0]
    directory += [0x50, 0x4B, 1, 2, 20, 0]
    directory += common
    directory += [UInt8](repeating: 0, count: 10)
    directory += littleEndian(UInt32(body.count))
    directory += Array(member.name.utf8)
    body += [0x50, 0x4B, 3, 4]
    body += common
    body += Array(member.name.utf8)
    body += member.bytes
  }
  let count = littleEndian(UInt16(members.count))
  var end: [UInt8] = [0x50, 0x4B, 5, 6, 0, 0, 0, 0]
  end += count
  end += count
  end += littleEndian(UInt32(directory.count))
  end += littleEndian(UInt32(body.count))
  end += [0, 0]
  return body + directory + end
}

func crc32(_ bytes: [UInt8]) -> UInt32 {
  var crc = UInt32.max
  for byte in bytes {
    crc ^= UInt32(byte)
    for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0xEDB8_8320 : crc >> 1 }
  }
  return ~crc
}
