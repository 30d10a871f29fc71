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
