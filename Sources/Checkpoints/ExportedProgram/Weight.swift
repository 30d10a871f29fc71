import TensorModule

extension ExportedProgram {
  /// A tensor of the archive.
  package struct Weight: Sendable {
    /// In the `state_dict`, or of a constant.
    package var name: String
    package var tensor: StoredTensor
    package var isParameter: Bool
    package var requiresGradient: Bool
    package var view: View

    /// Which numbers it shows. Weights that show the same ones are tied; two views of one storage may
    /// also overlap.
    package struct View: Hashable, Sendable {
      /// The member of the archive.
      package var storage: String
      /// In elements.
      package var offset: Int
      package var shape: [Int]
      /// In elements.
      package var strides: [Int]
    }
  }
}

extension ExportedProgram.Weight {
  /// Tensors of a file of another kind, by the names of a signature.
  ///
  /// - Parameter tied: Names of one tensor each, of which the first is there.
  static func all(
    _ signature: ExportedProgram.Signature, _ tensors: [String: StoredTensor], _ tied: [[String]]
  ) -> [String: ExportedProgram.Weight] {
    var first: [String: String] = [:]
    for group in tied { for name in group { first[name] = group.first } }
    var result: [String: ExportedProgram.Weight] = [:]
    for input in signature.inputs {
      guard let name = input.weight?.name, let tensor = tensors[first[name] ?? name] else {
        continue
      }
      let isParameter = if case .parameter = input { true } else { false }
      result[name] = ExportedProgram.Weight(
        name: name, tensor: tensor, isParameter: isParameter, requiresGradient: isParameter,
        view: View(
          storage: first[name] ?? name, offset: 0, shape: tensor.shape,
          strides: rowMajorStrides(tensor.shape)))
    }
    return result
  }
}

extension ProgramArchive {
  /// Which tensors of a program: those of its `state_dict`, or others.
  enum Payload {
    case weights
    case constants

    var folder: String { self == .weights ? "data/weights/" : "data/constants/" }
    var suffix: String { self == .weights ? "_weights_config.json" : "_constants_config.json" }
  }

  /// All tensors of a kind by name.
  func weights(_ payload: Payload) throws(CheckpointError) -> [String: ExportedProgram.Weight] {
    let folder = payload.folder
    if members[folder + model + ".pt"] != nil {
      throw Self.olderForm(at: .init(file: file.path, tensor: root + folder + model + ".pt"))
    }
    let entries = try json(folder + model + payload.suffix)["config"]
    let expressions = SymbolicExpressions()
    var storages = TorchStorages(
      file: file, regions: try regions(below: folder), prefix: root + folder, isBigEndian: false,
      budget: budget, writer: "torch.export.save")
    var types: [String: ExportedProgram.ScalarType] = [:]
    var result: [String: ExportedProgram.Weight] = [:]
    for name in try entries.keys() {
      let entry = entries[name]
      let key = try entry["path_name"].string()
      if !entry["tensor_meta"].exists {
        throw CheckpointError(
          .invalidProgram("it is an object, which only the code of its class understands"),
          at: .init(file: file.path, tensor: name),
          hint: "Networks of tensors alone are read.")
      }
      let type = try ExportedProgram.TensorType(entry["tensor_meta"], expressions)
      let isPickled = try entry["use_pickle"].bool()
      let view = try Self.view(type, storage: root + folder + key, entry["tensor_meta"])
      let tensor: StoredTensor
      if isPickled {
        tensor = try pickled(folder + key, name)
      } else {
        if let other = types.updateValue(type.dtype, forKey: key), other != type.dtype {
          throw entry["tensor_meta"]["dtype"].wrong(
            "\(other.rawValue), as another tensor of its storage has it")
        }
        guard let dtype = type.dtype.stored, type.layout == .strided else {
          throw CheckpointError(
            .unknownDType("torch.\(type.dtype) (layout \(type.layout))"),
            at: .init(file: file.path, tensor: name))
        }
        let bytes = members[folder + key]?.size ?? 0
        tensor = try storages.stored(
          TorchTensor(
            storage: TorchStorage(dtype: dtype, key: key, count: bytes / dtype.byteCount),
            offset: view.offset, shape: view.shape, strides: view.strides), name)
      }
      result[name] = ExportedProgram.Weight(
        name: name, tensor: tensor, isParameter: try entry["is_param"].bool(),
        requiresGradient: type.requiresGradient, view: view)
    }
    return result
  }

  private func regions(
    below folder: String
  ) throws(CheckpointError) -> [String: TorchStorages.Region] {
    var regions: [String: TorchStorages.Region] = [:]
    // Sorted, so that of several defects the same one is always reported.
    for (name, member) in members.sorted(by: { $0.key < $1.key }) where name.hasPrefix(folder) {
      regions[String(name.dropFirst(folder.count))] = .init(
        archive: archive, member: member, range: try archive.storedRange(of: member))
    }
    return regions
  }

  private static func view(
    _ type: ExportedProgram.TensorType, storage: String, _ json: JSONValue
  ) throws(CheckpointError) -> ExportedProgram.Weight.View {
    let shape = type.sizes.compactMap(\.expression.constant)
    let strides = type.strides.compactMap(\.expression.constant)
    guard shape.count == type.sizes.count, strides.count == type.strides.count,
      let offset = type.storageOffset.expression.constant
    else { throw json.wrong("sizes, strides and an offset that are numbers") }
    return .init(storage: storage, offset: offset, shape: shape, strides: strides)
  }

  /// A tensor in a file by torch.save, which holds nothing else.
  private func pickled(_ member: String, _ name: String) throws(CheckpointError) -> StoredTensor {
    let reader = try torchFile(member)
    guard let tensor = reader.tensors["tensor"], reader.tensors.count == 1 else {
      throw CheckpointError(
        .invalidProgram("the member \(member) holds no tensor"),
        at: .init(file: file.path, tensor: name))
    }
    return tensor.renamed(name)
  }
}
