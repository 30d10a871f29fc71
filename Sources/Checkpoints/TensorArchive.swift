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
    try TensorArchive(files.open(path), memory: files.memory)
  }

  /// - Parameter memory: Bytes that numbers may take which cannot be read where they lie.
  public init(_ file: MappedFile, memory: Int = .max) throws(CheckpointError) {
    let budget = UnpackingBudget(memory)
    path = file.path
    if let found = FileKind.foreign(file.bytes) {
      throw Self.otherFormat(found, file.path)
    }
    if FileKind.isZip(file.bytes) {
      let archive = try ZipArchive(file)
      if ProgramArchive.isProgram(archive) { throw Self.otherFormat(.program, file.path) }
      if !TorchReader.pickles(in: archive).isEmpty {
        let reader = try TorchReader(archive, budget)
        (format, metadata, tensors) = (.torch, reader.metadata, reader.tensors)
      } else {
        (format, metadata, tensors) = (.npz, [:], try NPZReader(archive, budget).tensors)
      }
    } else if FileKind.isPickle(file.bytes) {
      let reader = try TorchReader(file, budget)
      (format, metadata, tensors) = (.torch, reader.metadata, reader.tensors)
    } else {
      let reader = try SafetensorsReader(file)
      (format, metadata, tensors) = (.safetensors, reader.metadata, reader.tensors)
    }
  }

  private static func otherFormat(_ kind: FileKind.Foreign, _ path: String) -> CheckpointError {
    CheckpointError(
      .otherFormat(found: kind.name, expected: "a safetensors, npz or PyTorch file"),
      at: .init(file: path), hint: kind.advice)
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

  /// A known format that is not read, and how to come from it to one that is.
  package struct Foreign: Sendable {
    package var name: String
    package var advice: String

    static let program = Foreign(
      name: "a network by torch.export.save (.pt2)",
      advice: "Save the tensors of its state_dict, with a description of the model.")
  }

  package static func foreign(_ bytes: UnsafeRawBufferPointer) -> Foreign? {
    // The length could by chance look like something else; the brace decides.
    if isSafetensors(bytes) { return nil }
    for (kind, magic) in signatures where bytes.starts(with: magic) { return kind }
    // ONNX has no signature. Its protobuf begins with ir_version (field 1, a small number), then
    // producer_name (field 2) in what every exporter writes.
    if bytes.count > 3, bytes[0] == 0x08, (1...32).contains(bytes[1]), bytes[2] == 0x12 {
      return Foreign(
        name: "an ONNX model",
        advice: "Save the weights of the model that it was exported from, with its description.")
    }
    return text(bytes)
  }

  /// Text that is nothing more special. Its first eight bytes can be no length of a header.
  private static func text(_ bytes: UnsafeRawBufferPointer) -> Foreign? {
    let beginning = bytes.prefix(256)
    // Of other alphabets every byte has the highest bit.
    let isText = beginning.allSatisfy { $0 >= 32 && $0 != 127 || (9...13).contains($0) }
    guard bytes.count >= 8, isText else { return nil }
    let line = beginning.prefix { $0 != UInt8(ascii: "\n") }
    let isTable = line.contains { [UInt8(ascii: ","), UInt8(ascii: ";"), 9].contains($0) }
    return Foreign(
      name: isTable ? "a table of text, such as CSV" : "a text",
      advice: isTable
        ? "Read it with numpy or pandas and save the arrays: numpy.savez(path, inputs=x, labels=y)."
        : "Name the file of tensors itself.")
  }

  private static let signatures: [(Foreign, [UInt8])] = [
    (
      Foreign(
        name: "a single .npy array",
        advice: "Save arrays by name: numpy.savez(path, inputs=x, labels=y)."),
      [0x93] + Array("NUMPY".utf8)
    ),
    (
      Foreign(
        name: "an HDF5 file",
        advice: "Read it with h5py and save the arrays with safetensors or numpy.savez."),
      [0x89] + Array("HDF\r\n".utf8)
    ),
    (
      Foreign(name: "a GGUF file", advice: "Take the weights that it was made from."),
      Array("GGUF".utf8)
    ),
    (
      Foreign(name: "a gzip file", advice: "Unpack it first: gunzip, or tar -xzf."),
      [0x1F, 0x8B]
    ),
    (
      Foreign(
        name: "a Git LFS pointer in place of the file", advice: "Fetch the file: git lfs pull."),
      Array("version https://git-lfs".utf8)
    ),
    (html, Array("<!DOCTYPE".utf8)),
    (html, Array("<html".utf8)),
    (
      Foreign(
        name: "a JSON text",
        advice: "A description alone has no weights; eval-cli init makes random ones for it."),
      Array("{".utf8)
    ),
  ]

  private static let html = Foreign(
    name: "an HTML page",
    advice: "A server has sent a page in place of the file; download it again.")
}
