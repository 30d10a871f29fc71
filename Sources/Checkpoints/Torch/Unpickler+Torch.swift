/// What a pickle by `torch.save` refers to: elements of one type under a key.
struct TorchStorage: Equatable, Sendable {
  var dtype: DType
  var key: String
  /// Number of elements.
  var count: Int
}

/// A view of a storage, as claimed: nothing about it has been checked.
struct TorchTensor: Equatable, Sendable {
  var storage: TorchStorage
  /// In elements, as the strides.
  var offset: Int
  var shape: [Int]
  var strides: [Int]
}

extension Unpickler {
  /// The words that a pickle may use. The list is closed.
  enum Global: Equatable {
    case orderedDict
    case rebuildTensor
    case rebuildParameter
    /// A tensor to which attributes have been added in Python.
    case rebuildWithAttributes
    /// What such a tensor is an instance of.
    case tensorClass
    case storage(DType)

    static let storages: [String: DType] = [
      "torch.DoubleStorage": .f64, "torch.FloatStorage": .f32, "torch.HalfStorage": .f16,
      "torch.BFloat16Storage": .bf16, "torch.LongStorage": .i64, "torch.IntStorage": .i32,
      "torch.ShortStorage": .i16, "torch.CharStorage": .i8, "torch.ByteStorage": .u8,
      "torch.BoolStorage": .bool, "torch.storage.UntypedStorage": .u8,
    ]

    init?(module: String, name: String) {
      let full = "\(module).\(name)"
      switch full {
      case "collections.OrderedDict": self = .orderedDict
      case "torch._utils._rebuild_tensor_v2": self = .rebuildTensor
      case "torch._utils._rebuild_parameter": self = .rebuildParameter
      case "torch._tensor._rebuild_from_type_v2": self = .rebuildWithAttributes
      case "torch.Tensor", "torch.nn.parameter.Parameter": self = .tensorClass
      default:
        guard let dtype = Self.storages[full] else { return nil }
        self = .storage(dtype)
      }
    }

    /// What to do about a global that is not in the list, where it tells.
    static func advice(_ module: String, _ name: String) -> String? {
      if module == "torch" && name.hasSuffix("Storage") || name == "_rebuild_tensor_v3" {
        return "Element types that are read: "
          + DType.allCases.map(\.rawValue).joined(separator: ", ")
          + ". Convert the tensors and save them again."
      }
      if module == "torch._utils" {
        return "Only dense, unquantized tensors are read; convert them and save them again."
      }
      return nil
    }
  }

  /// What the persistent id `("storage", type, key, location, count)` stands for. The device it
  /// was on (location) does not matter; the old format adds a view, which is always None.
  func storage(_ id: Value) throws(Failure) -> TorchStorage {
    guard case .tuple(let index) = id, (5...6).contains(sequences[index].count),
      sequences[index][0] == .string("storage")
    else {
      throw failure(.invalidPickle("a persistent id is no storage"))
    }
    let parts = sequences[index]
    guard case .global(.storage(let dtype)) = parts[1], case .string(let key) = parts[2],
      case .integer(let count) = parts[4], count >= 0
    else {
      throw failure(.invalidPickle("a storage is not (type, key, location, count)"))
    }
    if key.utf8.count > Self.maximumKey {
      throw failure(.invalidPickle("the key of a storage is longer than \(Self.maximumKey) bytes"))
    }
    if parts.count == 6 && parts[5] != .none {
      throw failure(
        .invalidPickle("a storage is a view of another storage"),
        hint: "PyTorch before 0.4 wrote such files; load it there and save it again.")
    }
    return TorchStorage(dtype: dtype, key: key, count: count)
  }

  mutating func apply(_ global: Global, to arguments: Value) throws(Failure) -> Value {
    guard case .tuple(let index) = arguments else {
      throw failure(.invalidPickle("arguments are no tuple"))
    }
    let arguments = sequences[index]
    switch global {
    case .orderedDict:
      if !arguments.isEmpty {
        throw failure(.invalidPickle("collections.OrderedDict with arguments"))
      }
      return newDictionary()
    case .rebuildTensor:
      tensors.append(try tensor(arguments))
      return .tensor(tensors.count - 1)
    case .rebuildParameter:
      guard (2...3).contains(arguments.count), case .tensor = arguments[0] else {
        throw failure(.invalidPickle("a parameter is not (tensor, requires_grad, hooks)"))
      }
      return arguments[0]
    case .rebuildWithAttributes:
      // (function, class, its arguments, attributes); these are of no interest here.
      guard arguments.count == 4, case .global(let rebuild) = arguments[0],
        rebuild == .rebuildTensor || rebuild == .rebuildParameter,
        arguments[1] == .global(.tensorClass)
      else {
        throw failure(.invalidPickle("a tensor with attributes is not (function, class, ...)"))
      }
      return try apply(rebuild, to: arguments[2])
    case .tensorClass:
      throw failure(.invalidPickle("a class of tensors is called"))
    case .storage:
      throw failure(.invalidPickle("a storage type is called"))
    }
  }

  /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks, metadata)`.
  private mutating func tensor(_ arguments: [Value]) throws(Failure) -> TorchTensor {
    guard (6...7).contains(arguments.count), case .storage(let storage) = arguments[0],
      case .integer(let offset) = arguments[1], let shape = integers(arguments[2]),
      let strides = integers(arguments[3])
    else {
      throw failure(.invalidPickle("a tensor is not (storage, offset, shape, strides, ...)"))
    }
    if arguments.count == 7, !isEmpty(arguments[6]) {
      // It says that the numbers are to be negated or conjugated.
      throw failure(
        .invalidPickle("a tensor has a negative or conjugate bit"),
        hint: "Call resolve_neg() and resolve_conj() on it before saving.")
    }
    return TorchTensor(storage: storage, offset: offset, shape: shape, strides: strides)
  }

  private mutating func integers(_ value: Value) -> [Int]? {
    guard case .tuple(let index) = value else { return nil }
    if let known = integerTuples[index] { return known }
    var result: [Int] = []
    for element in sequences[index] {
      guard case .integer(let number) = element else { return nil }
      result.append(number)
    }
    integerTuples[index] = result
    return result
  }

  private func isEmpty(_ value: Value) -> Bool {
    switch value {
    case .none: true
    case .dictionary(let index): dictionaries[index].isEmpty
    default: false
    }
  }

  /// BUILD gives attributes to an object. A state_dict has `_metadata`, versions of modules,
  /// which nothing here needs.
  func checkState(_ state: Value, of object: Value) throws(Failure) {
    guard case .dictionary = object, case .dictionary(let index) = state,
      metadataHolders.contains(index)
    else {
      throw failure(.forbiddenOpcode("BUILD"))
    }
  }
}
