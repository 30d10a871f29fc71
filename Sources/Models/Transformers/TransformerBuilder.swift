import CKernels
import Checkpoints
import GraphModule
import TensorModule

/// What the builders of transformer models share: layers over tokens `[T, columns]`, with the
/// adapter applied where it says so, and a record of what trains.
struct TransformerBuilder {
  /// A value `[tokens, columns]` of one sample.
  struct Tokens {
    var id: ValueID
    var count: Int
    var columns: Int
  }

  var graph = GraphBuilder()
  let config: JSONValue
  let adapter: Adapter?
  /// The name of a module in other versions of Transformers, for adapters.
  let otherNames: @Sendable (String) -> [String]
  /// Whether attention may move projections of keys and values to the side of the queries.
  let mayGather: Bool
  /// Parameters that the adapter brings or trains.
  private(set) var adapted: Set<String> = []
  /// Parameters that the adapter trains if it brings them.
  private(set) var adaptedIfStored: Set<String> = []
  /// Parameters that PEFT trains and no computation reads, by what they are, with their number of
  /// scalars.
  private(set) var unused: [UnusedParameter] = []
  /// Modules that the adapter changes, to notice one that changes nothing.
  private(set) var changedModules = 0

  init(
    config: JSONValue, adapter: Adapter?, mayGather: Bool,
    otherNames: @escaping @Sendable (String) -> [String]
  ) {
    self.config = config
    self.adapter = adapter
    self.mayGather = mayGather
    self.otherNames = otherNames
  }

  // MARK: - Parameters

  /// A parameter of the base model; what the adapter trains of it is recorded.
  mutating func parameter(
    _ module: String, _ suffix: String, shape: [Int], storage: ParameterSpec.Storage = .plain
  ) throws(CheckpointError) -> ParameterID {
    let name = suffix.isEmpty ? module : module + "." + suffix
    if case .lowRank(let adapter)? = adapter {
      if saves(module) || (adapter.bias == .all && name.hasSuffix(".bias")) {
        adapted.insert(name)
      } else if adapter.bias == .all && name.contains("bias") {
        // T5's relative_attention_bias.weight: PEFT used to train and save it, and no longer does.
        adaptedIfStored.insert(name)
      }
    }
    return try declare(name, shape: shape, storage: storage)
  }

  /// A parameter that stays as the base model has it, whatever the adapter does.
  mutating func frozenParameter(_ name: String, shape: [Int]) throws(CheckpointError) -> ParameterID
  {
    try declare(name, shape: shape)
  }

  /// Records a parameter that the adapter trains and no computation reads.
  mutating func addUnused(_ name: String, shape: [Int]) throws(CheckpointError) {
    try requireSize(shape, of: name)
    unused.append(UnusedParameter(name: name, count: shape.reduce(1, *)))
  }

  /// Whether the adapter has a trained copy of a module, or of one that it is part of.
  func saves(_ module: String) -> Bool {
    guard case .lowRank(let adapter)? = adapter else { return false }
    return ([module] + otherNames(module)).contains(where: adapter.saves)
  }

  private mutating func declare(
    _ name: String, shape: [Int], storage: ParameterSpec.Storage = .plain
  ) throws(CheckpointError) -> ParameterID {
    try requireSize(shape, of: name)
    guard let id = graph.parameter(name, shape: shape, storage: storage) else {
      throw config.wrong("sizes under which \(name) has one shape")
    }
    return id
  }

  /// - Throws: An error unless these are few enough numbers for 32-bit indices.
  private func requireSize(_ shape: [Int], of name: String) throws(CheckpointError) {
    if checkedCount(shape) != nil { return }
    throw CheckpointError(
      .unexpectedValue(
        name, found: shape.map(String.init).joined(separator: " x "),
        expected: "fewer than 2^31 numbers"),
      at: .init(file: config.file), hint: "Check the sizes in the configuration and the data.")
  }

  /// Tokens of these columns.
  ///
  /// - Throws: An error if they are too many for 32-bit indices.
  func tokens(_ id: ValueID, _ count: Int, _ columns: Int, _ name: String) throws(CheckpointError)
    -> Tokens
  {
    try requireSize([count, columns], of: name)
    return Tokens(id: id, count: count, columns: columns)
  }

  /// A parameter that exists because of the adapter.
  mutating func adapterParameter(
    _ name: String, shape: [Int]
  ) throws(CheckpointError) -> ParameterID {
    adapted.insert(name)
    return try declare(name, shape: shape)
  }

  // MARK: - Layers

  /// A linear layer over tokens, with its low-rank change if the adapter has one for it.
  ///
  /// - Parameter tied: A weight `[outputs, columns]` of another module in place of its own: the
  ///   change is the layer's alone.
  mutating func linear(
    _ x: Tokens, _ module: String, tied: ParameterID? = nil, outputs: Int, hasBias: Bool,
    isHead: Bool = false
  ) throws(CheckpointError) -> Tokens {
    let weight =
      if let tied { tied } else {
        try parameter(module, "weight", shape: [outputs, x.columns])
      }
    var parameters = [weight]
    if hasBias { parameters.append(try parameter(module, "bias", shape: [outputs])) }
    let operation = Linear(
      positions: x.count, inputs: x.columns, outputs: outputs, hasBias: hasBias)
    var result = try tokens(x.id, x.count, outputs, module)
    result.id = graph.apply(operation, to: [x.id], parameters: parameters, name: module)
    guard
      let change = try lowRankChange(
        of: module, inputs: x.columns, outputs: outputs, hasBias: hasBias, isHead: isHead)
    else { return result }
    let hidden = graph.apply(
      Linear(positions: x.count, inputs: x.columns, outputs: change.rank, hasBias: false),
      to: [x.id], parameters: [change.down], name: module + ".lora_A")
    result.id = graph.apply(
      LowRankUpdate(
        positions: x.count, rank: change.rank, outputs: outputs, scale: change.scale),
      to: [result.id, hidden], parameters: [change.up], name: module + ".lora_B")
    return result
  }

  /// `scale B A` that the adapter adds to the weight of a module: A [rank, in], B [out, rank].
  struct LowRankChange {
    let rank: Int
    let scale: Double
    let down: ParameterID
    let up: ParameterID
  }

  /// What the adapter changes of a linear layer whose own parameters have been declared; `nil` if
  /// it leaves it alone.
  mutating func lowRankChange(
    of module: String, inputs: Int, outputs: Int, hasBias: Bool, isHead: Bool = false
  ) throws(CheckpointError) -> LowRankChange? {
    guard case .lowRank(let adapter)? = adapter,
      let change = try adapter.change(to: [module] + otherNames(module), isHead: isHead)
    else { return nil }
    changedModules += 1
    if hasBias && adapter.bias == .adapted { adapted.insert(module + ".bias") }
    let down = try adapterParameter(module + ".lora_A.weight", shape: [change.rank, inputs])
    let up = try adapterParameter(module + ".lora_B.weight", shape: [outputs, change.rank])
    return LowRankChange(rank: change.rank, scale: change.scale, down: down, up: up)
  }

  /// Whether the adapter leaves the weight of a module as it is in the base model.
  func isFrozen(_ module: String) -> Bool {
    switch adapter {
    case nil: false
    case .promptTuning: true
    case .lowRank: !saves(module)
    }
  }

  /// Layer norm, or RMS norm without `centered`.
  mutating func norm(
    _ x: Tokens, _ module: String, epsilon: Double, centered: Bool
  ) throws(CheckpointError) -> Tokens {
    let layout = Kernels.Normalization(
      items: x.count, groups: 1, outer: 1, inner: x.columns, stride: x.columns,
      centered: centered ? 1 : 0, epsilon: epsilon)
    var parameters = [try parameter(module, "weight", shape: [x.columns])]
    if centered { parameters.append(try parameter(module, "bias", shape: [x.columns])) }
    var result = x
    result.id = graph.apply(
      Normalization(
        layout: layout, size: x.count * x.columns, affineColumns: x.columns, hasWeight: true,
        hasBias: centered), to: [x.id], parameters: parameters, name: module)
    return result
  }

  mutating func activation(
    _ x: Tokens, _ function: Kernels.Activation, name: String
  ) -> Tokens {
    var result = x
    result.id = graph.apply(
      Activation(function, size: x.count * x.columns), to: [x.id], name: name)
    return result
  }

  mutating func sum(_ a: Tokens, _ b: Tokens, name: String) -> Tokens {
    var result = a
    result.id = graph.apply(Sum(size: a.count * a.columns), to: [a.id, b.id], name: name)
    return result
  }

  /// Some of the tokens; all of them are the value itself.
  mutating func select(_ x: Tokens, _ rows: [Int], name: String) -> Tokens {
    // They ascend.
    if rows.count == x.count { return x }
    let id = graph.apply(
      SelectRows(rows: rows, of: x.count, columns: x.columns), to: [x.id], name: name)
    return Tokens(id: id, count: rows.count, columns: x.columns)
  }

  mutating func prepend(
    _ parameter: ParameterID, _ count: Int, to x: Tokens, name: String
  ) throws(CheckpointError) -> Tokens {
    let result = try tokens(x.id, count + x.count, x.columns, name)
    let id = graph.apply(
      Prepend(prefix: count, tokens: x.count, columns: x.columns), to: [x.id],
      parameters: [parameter], name: name)
    return Tokens(id: id, count: result.count, columns: result.columns)
  }

  // MARK: - Finish

  /// The model, after a check that the adapter found something to change.
  func finish(
    output: Tokens, shape: [Int], type: String, unreadTensors: Set<String>,
    sequence: SequenceRule? = nil
  ) throws(CheckpointError) -> Model {
    if case .lowRank = adapter, changedModules == 0 {
      throw CheckpointError(
        .unexpectedValue(
          "target_modules of the adapter", found: "without a match in this model",
          expected: "names of its linear layers"),
        at: .init(file: config.file), hint: "The adapter is for another model.")
    }
    return Model(
      graph: graph.finish(output: output.id, shape: shape), type: type,
      unreadTensors: unreadTensors, adapted: adapter == nil ? nil : adapted,
      adaptedIfStored: adaptedIfStored, unused: unused, sequence: sequence)
  }
}

extension JSONValue {
  /// A positive integer, for sizes in configurations.
  func size(default standard: Int? = nil) throws(CheckpointError) -> Int {
    var value = standard ?? 0
    if standard == nil || exists { value = try integer() }
    guard value > 0, value <= Int(Int32.max) else { throw wrong("a positive integer") }
    return value
  }

  /// A number of layers: the largest published models have some hundred, and every layer takes work
  /// before a weight is looked for.
  func layerCount(default standard: Int) throws(CheckpointError) -> Int {
    let value = try size(default: standard)
    guard value <= 1000 else { throw wrong("at most 1000 layers") }
    return value
  }

  /// An activation by the name that Transformers gives it.
  func activation() throws(CheckpointError) -> Kernels.Activation {
    try JSONValue.activation(named: string(), at: self)
  }

  static func activation(
    named name: String, at place: JSONValue
  ) throws(CheckpointError) -> Kernels.Activation {
    switch name {
    case "relu": return CK_RELU
    case "gelu", "gelu_python": return CK_GELU_ERF
    case "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate": return CK_GELU_TANH
    case "silu", "swish": return CK_SILU
    case "tanh": return CK_TANH
    case "sigmoid": return CK_SIGMOID
    default: throw place.wrong("relu, gelu, gelu_new, silu, tanh or sigmoid")
    }
  }
}
