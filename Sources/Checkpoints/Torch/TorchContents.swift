import Foundation
import TensorModule

/// What an unpickled object of `torch.save` comes to: named tensors over storages, and metadata.
struct TorchContents {
  // Real optimiser states nest four deep. A container that contains itself nests without end.
  private static let maximumDepth = 64
  // Containers may be shared, and be visited exponentially often, with ever longer names. Without
  // sharing every value takes a byte of the pickle at least, and its name few times as many.
  private static let maximumVisits = 1 << 20
  private static let maximumName = 1024
  private static let nameBytesPerByte = 64
  private static let maximumNameBytes = 1 << 26

  private let file: MappedFile
  private var storages: TorchStorages
  private var visits = 0
  private var nameBytes = 0

  private(set) var tensors: [String: StoredTensor] = [:]
  private(set) var metadata: [String: String] = [:]

  init(file: MappedFile, storages: TorchStorages) {
    self.file = file
    self.storages = storages
  }

  /// Takes over all tensors and scalars of the object `root`.
  mutating func collect(
    _ root: Unpickler.Value, from unpickler: Unpickler
  ) throws(CheckpointError) {
    switch root {
    case .tensor, .storage: try visit(root, "tensor", depth: 0, unpickler)
    default: try visit(root, "", depth: 0, unpickler)
    }
  }
}

// MARK: - Names

extension TorchContents {
  private mutating func visit(
    _ value: Unpickler.Value, _ name: String, depth: Int, _ unpickler: Unpickler
  ) throws(CheckpointError) {
    visits += 1
    nameBytes += name.utf8.count
    if visits > Self.maximumVisits || nameBytes > Self.maximumNameBytes {
      throw failure("it holds more than \(visits - 1) values")
    }
    let size = unpickler.byteCount
    // Short pickles may share a little.
    if visits > size + 64 || nameBytes > (size + 64) * Self.nameBytesPerByte {
      throw failure("it repeats parts of itself more often than its length explains")
    }
    if depth > Self.maximumDepth {
      throw failure(
        "nested deeper than \(Self.maximumDepth) levels, or a container that contains itself")
    }
    switch value {
    case .dictionary(let index):
      if unpickler.dictionaries[index].isEmpty { metadata[name] = "{}" }
      for (key, value) in unpickler.dictionaries[index] {
        try visit(value, join(name, text(of: key, in: name)), depth: depth + 1, unpickler)
      }
    case .list(let index), .tuple(let index):
      if unpickler.sequences[index].isEmpty { metadata[name] = "[]" }
      for (position, value) in unpickler.sequences[index].enumerated() {
        try visit(value, join(name, String(position)), depth: depth + 1, unpickler)
      }
    case .tensor(let index):
      try add(unpickler.tensors[index], name)
    case .storage(let storage):
      try add(
        TorchTensor(storage: storage, offset: 0, shape: [storage.count], strides: [1]), name)
    case .none: metadata[name] = "null"
    case .bool(let value): metadata[name] = value ? "true" : "false"
    case .integer(let value): metadata[name] = String(value)
    case .real(let value): metadata[name] = String(value)
    case .string(let value): metadata[name] = value
    case .long, .bytes, .global: break
    }
  }

  private func text(of key: Unpickler.Value, in name: String) throws(CheckpointError) -> String {
    switch key {
    case .string(let text): return text
    case .integer(let number): return String(number)
    default:
      let place = name.isEmpty ? "" : " of \(quoted(name))"
      throw failure("a key\(place) is neither a string nor an integer")
    }
  }

  private func join(_ name: String, _ key: String) throws(CheckpointError) -> String {
    if name.utf8.count + key.utf8.count > Self.maximumName {
      throw failure("a name is longer than \(Self.maximumName) bytes")
    }
    return name.isEmpty ? key : "\(name).\(key)"
  }

  private mutating func add(_ tensor: TorchTensor, _ name: String) throws(CheckpointError) {
    let stored = try storages.stored(tensor, name)
    if tensors.updateValue(stored, forKey: name) != nil {
      throw CheckpointError(
        .duplicateTensor, at: stored.location,
        hint: "Nested dictionaries are flattened with dots; rename a key.")
    }
  }

  private func failure(_ reason: String) -> CheckpointError {
    CheckpointError(.invalidPickle(reason), at: .init(file: file.path))
  }
}
