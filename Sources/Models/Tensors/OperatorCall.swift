/// An operator with the values of its arguments, by their names in PyTorch's schema.
struct OperatorCall {
  /// Names of the results, where a program has given them some.
  let resultNames: [String]
  /// What PyTorch says of the results, with the number of samples in place of the batch's symbol.
  let results: [(sizes: [Int], kind: ImportedTensor.Kind)]
  fileprivate let arguments: [String: Value]

  enum Value {
    case none
    case tensor(ImportedTensor)
    case tensors([ImportedTensor?])
    /// A size may depend on the number of samples.
    case integers([Int], isList: Bool, dependsOnSamples: Bool)
    case reals([Double], isList: Bool)
    case bool(Bool)
    case string(String)
    /// What decides where and how a tensor lies in memory.
    case ignored
  }

  init(
    results: [(sizes: [Int], kind: ImportedTensor.Kind)], arguments: [String: Value],
    names: [String] = []
  ) {
    resultNames = names
    self.results = results
    self.arguments = arguments
  }

  func has(_ name: String) -> Bool {
    switch arguments[name] {
    case nil, .some(.none): false
    default: true
    }
  }

  func tensor(_ name: String) throws -> ImportedTensor {
    guard case .tensor(let tensor)? = arguments[name] else { throw missing(name) }
    return tensor
  }

  func optionalTensor(_ name: String) -> ImportedTensor? {
    guard case .tensor(let tensor)? = arguments[name] else { return nil }
    return tensor
  }

  func tensors(_ name: String) throws -> [ImportedTensor] {
    try optionalTensors(name).map { tensor in
      guard let tensor else { throw missing(name) }
      return tensor
    }
  }

  func optionalTensors(_ name: String) throws -> [ImportedTensor?] {
    guard case .tensors(let tensors)? = arguments[name] else { throw missing(name) }
    return tensors
  }

  /// Sizes: they may be those of the batch.
  func integers(_ name: String, default standard: [Int]? = nil) throws -> [Int] {
    switch arguments[name] {
    case .integers(let values, _, _)?: return values
    case nil, .some(.none):
      guard let standard else { throw missing(name) }
      return standard
    default: throw missing(name)
    }
  }

  func integer(_ name: String, default standard: Int? = nil) throws -> Int {
    switch arguments[name] {
    case .integers(let values, isList: false, _)?: return values[0]
    case .bool(let value)?: return value ? 1 : 0
    case nil, .some(.none):
      guard let standard else { throw missing(name) }
      return standard
    default: throw missing(name)
    }
  }

  func real(_ name: String, default standard: Double? = nil) throws -> Double {
    switch arguments[name] {
    case .reals(let values, isList: false)?: return values[0]
    case .integers(let values, isList: false, let dependsOnSamples)?:
      if dependsOnSamples { throw ImportFailure.mixing("\(name) is the number of samples") }
      return Double(values[0])
    case .bool(let value)?: return value ? 1 : 0
    case nil, .some(.none):
      guard let standard else { throw missing(name) }
      return standard
    default: throw missing(name)
    }
  }

  func reals(_ name: String) throws -> [Double] {
    switch arguments[name] {
    case .reals(let values, _)?: return values
    case .integers(let values, _, dependsOnSamples: false)?: return values.map(Double.init)
    default: throw missing(name)
    }
  }

  /// Whether a size is made of the number of samples.
  func dependsOnSamples(_ name: String) -> Bool {
    if case .integers(_, _, dependsOnSamples: true)? = arguments[name] { true } else { false }
  }

  /// Whether an operand is a whole number, so that its result may be one.
  func isInteger(_ name: String) -> Bool {
    switch arguments[name] {
    case .integers?, .bool?: true
    default: false
    }
  }

  func bool(_ name: String, default standard: Bool) throws -> Bool {
    switch arguments[name] {
    case .bool(let value)?: return value
    case nil, .some(.none): return standard
    default: throw missing(name)
    }
  }

  func string(_ name: String, default standard: String) throws -> String {
    switch arguments[name] {
    case .string(let value)?: return value
    case nil, .some(.none): return standard
    default: throw missing(name)
    }
  }

  /// A dimension, counted from the first.
  func dimension(_ name: String, rank: Int, default standard: Int? = nil) throws -> Int {
    try Self.dimension(integer(name, default: standard), rank: rank)
  }

  /// Dimensions, all of them where none is given.
  func dimensions(_ name: String, rank: Int) throws -> [Int] {
    guard has(name) else { return Array(0..<rank) }
    let given = try integers(name)
    return given.isEmpty ? Array(0..<rank) : try given.map { try Self.dimension($0, rank: rank) }
  }

  static func dimension(_ value: Int, rank: Int) throws -> Int {
    let dimension = value < 0 ? value + rank : value
    guard (0..<max(rank, 1)).contains(dimension) else {
      throw ImportFailure("there is no dimension \(value) of \(rank)")
    }
    return dimension
  }

  /// Where `start` and `step` begin among the entries of a dimension, and how far it is from one entry to
  /// the next: from both ends as Python counts, and never beyond them.
  func slice(of size: Int, count: Int) throws -> (start: Int, step: Int) {
    let given = try integer("start", default: 0)
    let start = max(0, min(given < 0 ? given + size : given, size))
    // Larger steps lead beyond the end too.
    let step = min(try integer("step", default: 1), max(size, 1))
    guard step > 0, count == 0 || start < size && count - 1 <= (size - 1 - start) / step else {
      throw ImportFailure("\(count) entries from \(given) on are not in a dimension of \(size)")
    }
    return (start, step)
  }

  private func missing(_ name: String) -> ImportFailure {
    ImportFailure("its argument \(name) is missing or of another kind than is supported")
  }
}
