import Foundation

/// Safetensors: an 8-byte little-endian header length, a JSON header, raw tensors.
///
/// The header maps each name to `{"dtype", "shape", "data_offsets": [begin, end]}`, offsets from
/// the end of the header; `__metadata__` maps strings to strings. Everything is checked before a
/// tensor is handed out: the tensors must fill the data section exactly, without overlap or hole.
///
/// Format: https://github.com/huggingface/safetensors (README, "Format").
public struct SafetensorsReader: Sendable {
  /// The format's own limit on the header.
  static let maximumHeader = 100_000_000
  // The header nests no deeper than {name: {"shape": [...]}}; more dimensions than this are
  // nobody's tensor but a way to make a small file take much memory.
  private static let limits = JSONParser.Limits(depth: 3, arrayCount: 256)

  /// `__metadata__` of the header.
  public let metadata: [String: String]
  /// By name.
  public let tensors: [String: StoredTensor]

  /// - Throws: `CheckpointError` with the file, and the tensor or byte, of the first defect.
  public init(_ file: MappedFile) throws(CheckpointError) {
    let bytes = file.bytes
    func failure(_ problem: CheckpointError.Problem, byte: Int? = nil) -> CheckpointError {
      CheckpointError(problem, at: .init(file: file.path, byte: byte))
    }
    if bytes.count < 8 { throw failure(.truncated(found: bytes.count, needed: 8)) }
    let claimed = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard let length = Int(exactly: claimed), length <= Self.maximumHeader else {
      throw failure(.headerTooLarge(bytes: claimed, limit: Self.maximumHeader), byte: 0)
    }
    if length > bytes.count - 8 {
      throw failure(.truncated(found: bytes.count, needed: 8 + length))
    }
    let header: JSONContent
    do throws(JSONParser.Failure) {
      header = try JSONParser.parse(
        UnsafeRawBufferPointer(rebasing: bytes[8..<8 + length]), limits: Self.limits)
    } catch {
      throw failure(
        .invalidJSON(document: "the header", defect: error.defect, offset: nil),
        byte: 8 + error.offset)
    }
    guard case .object(var entries) = header else {
      throw failure(
        .unexpectedValue("the header", found: header.summary, expected: "an object"), byte: 8)
    }
    metadata = try Self.metadata(entries.removeValue(forKey: "__metadata__"), file.path)
    tensors = try Self.tensors(entries, file, dataStart: 8 + length)
  }

  private static func metadata(
    _ content: JSONContent?, _ path: String
  ) throws(CheckpointError) -> [String: String] {
    guard let content else { return [:] }
    let value = JSONValue(content, name: "__metadata__", file: path)
    var result: [String: String] = [:]
    for key in try value.keys() { result[key] = try value[key].string() }
    return result
  }

  private static func tensors(
    _ entries: [String: JSONContent], _ file: MappedFile, dataStart: Int
  ) throws(CheckpointError) -> [String: StoredTensor] {
    let dataSize = file.bytes.count - dataStart
    var result: [String: StoredTensor] = [:]
    var spans: [(begin: Int, end: Int, name: String)] = []
    // Sorted, so that of several defects the same one is always reported.
    for (name, content) in entries.sorted(by: { $0.key < $1.key }) {
      let location = CheckpointError.Location(file: file.path, tensor: name)
      let entry: Entry
      do throws(CheckpointError) {
        entry = try Entry(content)
      } catch {
        throw CheckpointError(error.problem, at: location)
      }
      if entry.end > dataSize {
        throw CheckpointError(.outOfBounds(end: entry.end, limit: dataSize), at: location)
      }
      spans.append((entry.begin, entry.end, name))
      result[name] = StoredTensor(
        name: name, dtype: entry.dtype, shape: entry.shape, file: file.path, owner: file,
        offset: dataStart + entry.begin)
    }
    try checkCoverage(&spans, file, dataStart: dataStart)
    return result
  }

  /// In order of their offsets, each tensor must begin where the last one ended.
  private static func checkCoverage(
    _ spans: inout [(begin: Int, end: Int, name: String)], _ file: MappedFile, dataStart: Int
  ) throws(CheckpointError) {
    spans.sort { ($0.begin, $0.end, $0.name) < ($1.begin, $1.end, $1.name) }
    var position = 0
    var last = ""
    for span in spans {
      if span.begin < position {
        throw CheckpointError(
          .overlap(with: last),
          at: .init(file: file.path, tensor: span.name, byte: dataStart + span.begin))
      }
      if span.begin > position {
        throw CheckpointError(
          .unclaimedBytes(span.begin - position),
          at: .init(file: file.path, byte: dataStart + position))
      }
      position = span.end
      last = span.name
    }
    let rest = file.bytes.count - dataStart - position
    if rest > 0 {
      throw CheckpointError(
        .unclaimedBytes(rest), at: .init(file: file.path, byte: dataStart + position))
    }
  }

  /// One entry of the header, complete and consistent in itself.
  private struct Entry {
    var dtype: DType
    var shape: [Int]
    var begin: Int
    var end: Int

    init(_ content: JSONContent) throws(CheckpointError) {
      let value = JSONValue(content, name: "header", file: nil)
      try value.requireKeys(in: ["dtype", "shape", "data_offsets"])
      let typeName = try value["dtype"].string()
      guard let type = DType(rawValue: typeName) else {
        throw CheckpointError(.unknownDType(quoted(typeName)), at: .init())
      }
      dtype = type
      shape = try value["shape"].integers()
      guard let size = checkedByteCount(dtype, shape) else {
        throw CheckpointError(.impossibleShape(shape), at: .init())
      }
      let offsets = try value["data_offsets"].integers()
      if offsets.count != 2 { throw value["data_offsets"].wrong("two integers") }
      (begin, end) = (offsets[0], offsets[1])
      if begin < 0 || end < begin {
        throw CheckpointError(.reversedOffsets(begin: begin, end: end), at: .init())
      }
      if end - begin != size {
        throw CheckpointError(
          .sizeMismatch(found: end - begin, expected: size, dtype: dtype, shape: shape), at: .init()
        )
      }
    }
  }
}
