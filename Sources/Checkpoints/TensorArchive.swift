import Foundation

/// A file of named tensors, safetensors, npz or PyTorch, told apart by content.
public struct TensorArchive: Sendable {
  public enum Format: String, Sendable {
    case safetensors
    case npz
    case torch
  }

  /// The path as it was given.
  public let path: String
  public let format: Format
  /// The `__metadata__` of safetensors; what a PyTorch file holds besides tensors (`epoch`);
  /// empty for npz.
  public let metadata: [String: String]
  public let tensors: [String: StoredTensor]

  /// Opens a file and checks all of its structure; reads no tensor.
  ///
  /// - Parameter files: Those of the run, of which this becomes one.
  /// - Throws: `CheckpointError`; for a file of another kind `otherFormat`, which says what the
  ///   file looks like.
  public static func open(
    _ path: String, files: InputFiles = InputFiles()
  ) throws(CheckpointError) -> TensorArchive {
    try TensorArchive(files.open(path))
  }

  public init(_ file: MappedFile) throws(CheckpointError) {
    path = file.path
    if let found = FileKind.foreign(file.bytes) {
      throw Self.otherFormat(found, file.path)
    }
    if FileKind.isZip(file.bytes) {
      let archive = try ZipArchive(file)
      if !TorchReader.pickles(in: archive).isEmpty {
        let reader = try TorchReader(archive)
        (format, metadata, tensors) = (.torch, reader.metadata, reader.tensors)
      } else {
        (format, metadata, tensors) = (.npz, [:], try NPZReader(archive).tensors)
      }
    } else if FileKind.isPickle(file.bytes) {
      let reader = try TorchReader(file)
      (format, metadata, tensors) = (.torch, reader.metadata, reader.tensors)
    } else {
      let reader = try SafetensorsReader(file)
      (format, metadata, tensors) = (.safetensors, reader.metadata, reader.tensors)
    }
  }

  private static func otherFormat(_ found: String, _ path: String) -> CheckpointError {
    CheckpointError(
      .otherFormat(found: found, expected: "a safetensors, npz or PyTorch file"),
      at: .init(file: path))
  }
}

extension TensorArchive {
  public var url: URL { URL(fileURLWithPath: path) }

  /// The tensor of this name.
  ///
  /// - Throws: `missingTensor` with the names that come near.
  public func tensor(_ name: String) throws(CheckpointError) -> StoredTensor {
    if let tensor = tensors[name] { return tensor }
    throw CheckpointError(
      .missingTensor(name, near: nearMisses(name, among: tensors.keys)), at: .init(file: path))
  }
}

/// What a file looks like from its first bytes.
package enum FileKind {
  package static func isZip(_ bytes: UnsafeRawBufferPointer) -> Bool {
    // A member, or the end of an archive without members.
    bytes.starts(with: [0x50, 0x4B, 3, 4]) || bytes.starts(with: [0x50, 0x4B, 5, 6])
  }

  /// Safetensors begins with the length of its header, whose first character is a brace.
  package static func isSafetensors(_ bytes: UnsafeRawBufferPointer) -> Bool {
    bytes.count > 8 && bytes[8] == UInt8(ascii: "{")
      && bytes.loadUnaligned(as: UInt64.self).littleEndian
        <= UInt64(SafetensorsReader.maximumHeader)
  }

  /// A pickle of protocol 2 to 5, with which PyTorch files before 1.6 begin.
  package static func isPickle(_ bytes: UnsafeRawBufferPointer) -> Bool {
    !isSafetensors(bytes) && bytes.count > 1 && bytes[0] == 0x80 && (2...5).contains(bytes[1])
  }

  /// The name of a known format that is not read.
  package static func foreign(_ bytes: UnsafeRawBufferPointer) -> String? {
    // The length could by chance look like something else; the brace decides.
    if isSafetensors(bytes) { return nil }
    for (name, magic) in signatures where bytes.starts(with: magic) { return name }
    // ONNX has no signature. Its protobuf begins with ir_version (field 1, a small number), then
    // producer_name (field 2) in what every exporter writes.
    if bytes.count > 3, bytes[0] == 0x08, (1...32).contains(bytes[1]), bytes[2] == 0x12 {
      return "an ONNX model"
    }
    return nil
  }

  private static let signatures: [(String, [UInt8])] =
    [
      ("a single .npy array", [0x93] + Array("NUMPY".utf8)),
      ("an HDF5 file", [0x89] + Array("HDF\r\n".utf8)),
      ("a GGUF file", Array("GGUF".utf8)),
      ("a gzip file", [0x1F, 0x8B]),
      ("a Git LFS pointer in place of the file", Array("version https://git-lfs".utf8)),
      ("an HTML page", Array("<!DOCTYPE".utf8)),
      ("an HTML page", Array("<html".utf8)),
      ("a JSON text", Array("{".utf8)),
    ]
}
