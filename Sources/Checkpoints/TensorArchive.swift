import Foundation

/// A file of named tensors in one of the formats that `TensorFormat` lists, told apart by content.
public struct TensorArchive: Sendable {
  /// The path as it was given.
  public let path: String
  /// What the file is, by its content.
  public let format: TensorFormat
  /// The `__metadata__` of safetensors; what a PyTorch file holds besides tensors (`epoch`);
  /// empty for npz.
  public let metadata: [String: String]
  /// By name.
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
    path = file.path
    if let found = FileKind.foreign(file.bytes) {
      throw Self.otherFormat(found, file.path)
    }
    let source = TensorFormat.Source(
      file: file, zip: FileKind.isZip(file.bytes) ? try ZipArchive(file) : nil,
      budget: UnpackingBudget(memory))
    if let zip = source.zip, ProgramArchive.isProgram(zip) {
      throw Self.otherFormat(.program, file.path)
    }
    // Of what is none of them, the reader of the commonest says what is wrong with it.
    format = TensorFormat.all.first { $0.recognizes(source) } ?? .safetensors
    (metadata, tensors) = try format.read(source)
  }

  private static func otherFormat(_ kind: FileKind.Foreign, _ path: String) -> CheckpointError {
    CheckpointError(
      .otherFormat(
        found: kind.name, expected: "a \(list(TensorFormat.all.map(\.name))) file"),
      at: .init(file: path), hint: kind.advice)
  }
}

extension TensorArchive {
  /// The file's path as a URL.
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
