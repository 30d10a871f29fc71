/// A format of files that hold named tensors. A new one is its reader in a folder of its own and a value in
/// `all`.
public struct TensorFormat: Sendable {
  /// As in "a safetensors file".
  public let name: String
  /// In a sentence.
  public let title: String
  /// What to do with such a file that is given as a checkpoint; `nil` where it may be one.
  let advice: SettingText?
  /// By content.
  let recognizes: @Sendable (Source) -> Bool
  /// Checks all of the structure; reads no tensor.
  let read: @Sendable (Source) throws(CheckpointError) -> Contents

  /// What a file is looked at as.
  struct Source {
    let file: MappedFile
    /// Where it is one.
    let zip: ZipArchive?
    let budget: UnpackingBudget
  }

  /// What a file holds beside tensors, as texts, and its tensors.
  typealias Contents = (metadata: [String: String], tensors: [String: StoredTensor])

  /// In the order in which a file is asked whether it is one.
  public static let all = [safetensors, npz, torch]

  /// Hugging Face's format: a header of JSON, then the bytes.
  public static let safetensors = TensorFormat(
    name: "safetensors", title: "a safetensors file", advice: nil,
    recognizes: { FileKind.isSafetensors($0.file.bytes) },
    read: { source throws(CheckpointError) in
      let reader = try SafetensorsReader(source.file)
      return (reader.metadata, reader.tensors)
    })

  /// NumPy's archive of arrays.
  public static let npz = TensorFormat(
    name: "npz", title: "an npz file", advice: "An npz file can be given as \(.data).",
    recognizes: { $0.zip.map { TorchReader.pickles(in: $0).isEmpty } ?? false },
    read: { source throws(CheckpointError) in
      ([:], try NPZReader(source.zip!, source.budget).tensors)
    })

  /// What `torch.save` writes: a zip archive around a pickle, of which nothing is executed.
  public static let torch = TensorFormat(
    name: "PyTorch", title: "a PyTorch file",
    advice: """
      It holds tensors but no model: name its network as \(.model), or save both in one \
      file.
      """,
    recognizes: {
      $0.zip.map { !TorchReader.pickles(in: $0).isEmpty } ?? FileKind.isPickle($0.file.bytes)
    },
    read: { source throws(CheckpointError) in
      let reader =
        if let zip = source.zip {
          try TorchReader(zip, source.budget)
        } else {
          try TorchReader(source.file, source.budget)
        }
      return (reader.metadata, reader.tensors)
    })
}

/// Equal by name.
extension TensorFormat: Equatable {
  public static func == (a: TensorFormat, b: TensorFormat) -> Bool { a.name == b.name }
}
