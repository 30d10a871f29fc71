import Checkpoints
import GraphModule
import TensorModule

/// What the builders of transformer models share: layers over tokens `[T, columns]`, with the
/// adapter applied where it says so, and a record of what trains.
struct TransformerBuilder {
  let graph = GraphBuilder()
  let config: JSONValue
  let adapter: Adapter?
  /// The name of a module in other versions of Transformers, for adapters.
  let otherNames: @Sendable (String) -> [String]
  /// Parameters that the adapter brings or trains.
  private(set) var adapted: Set<String> = []
  /// Parameters that the adapter trains if it brings them.
  private(set) var adaptedIfStored: Set<String> = []
  /// Parameters that PEFT trains and no computation reads, by what they are, with their number of
  /// scalars.
  private(set) var unused: [UnusedParameter] = []
  /// Modules that the adapter changes, to notice one that changes nothing.
  private(set) var changedModules = 0
  /// Whether the rows of tokens that it trains have a place.
  private var hasTrainedTokens = false

  init(
    config: JSONValue, adapter: Adapter?,
    otherNames: @escaping @Sendable (String) -> [String]
  ) {
    self.config = config
    self.adapter = adapter
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
    do throws(GraphError) {
      unused.append(UnusedParameter(name: name, count: try ValueType(shape).count))
    } catch {
      throw self.error(GraphError(error.problem, node: name))
    }
  }

  /// Tells that rows of tokens which the adapter trains are read.
  mutating func takesTrainedTokens() { hasTrainedTokens = true }

  /// Whether the adapter has a trained copy of a module, or of one that it is part of.
  func saves(_ module: String) -> Bool {
    guard case .lowRank(let adapter)? = adapter else { return false }
    return ([module] + otherNames(module)).contains(where: adapter.saves)
  }

  private mutating func declare(
    _ name: String, shape: [Int], storage: ParameterSpec.Storage = .plain
  ) throws(CheckpointError) -> ParameterID {
    do throws(GraphError) {
      return try graph.parameter(name, shape: shape, storage: storage)
    } catch {
      throw self.error(error)
    }
  }

  /// A parameter that exists because of the adapter.
  mutating func adapterParameter(
    _ name: String, shape: [Int]
  ) throws(CheckpointError) -> ParameterID {
    adapted.insert(name)
    return try declare(name, shape: shape)
  }

  // MARK: - Nodes

  mutating func input(
    _ name: String, shape: [Int], kind: ValueType.Element
  ) throws(CheckpointError) -> ValueID {
    do throws(GraphError) { return try graph.input(name, shape: shape, kind: kind) } catch {
      throw self.error(error)
    }
  }

  mutating func apply(
    _ operation: some GraphModule.Operation, to inputs: [ValueID],
    parameters: [ParameterID] = [], name: String
  ) throws(CheckpointError) -> ValueID {
    do throws(GraphError) {
      return try graph.apply(operation, to: inputs, parameters: parameters, name: name)
    } catch {
      throw self.error(error)
    }
  }

  func reshape(_ x: ValueID, to shape: [Int]) throws(CheckpointError) -> ValueID {
    do throws(GraphError) { return try graph.reshape(x, to: shape) } catch {
      throw self.error(error)
    }
  }

  func shape(_ x: ValueID) -> [Int] { graph.type(x).shape }

  /// What the graph says, as an error of the configuration: its sizes and those of the data are
  /// where all others come from.
  private func error(_ error: GraphError) -> CheckpointError {
    func unexpected(_ what: String, _ found: String, _ expected: String) -> CheckpointError {
      CheckpointError(
        .unexpectedValue(what, found: found, expected: expected), at: .init(file: config.file),
        hint: "Check the sizes in the configuration and the data.")
    }
    switch error.problem {
    case .parameterName(let name):
      return config.wrong("sizes under which \(name) has one shape")
    case .size(let factors):
      let found = factors.map(String.init).joined(separator: " x ")
      return unexpected(error.node, found, "fewer than 2^31 numbers")
    case .other(let what, let found, let expected):
      return unexpected("\(what) in \(error.node)", found, expected)
    case .option(let name, let expected):
      return unexpected("\(name) in \(error.node)", "another number", expected)
    case .shape(_, let found, let expected):
      return unexpected("the input of \(error.node)", "\(found)", expected)
    case .element(_, let expected):
      return unexpected("the input of \(error.node)", "of another kind", expected)
    }
  }

  // MARK: - Layers

  /// A linear layer over tokens, with its low-rank change if the adapter has one for it.
  ///
  /// - Parameters:
  ///   - tied: A weight `[outputs, columns]` of another module in place of its own: the change is the
  ///     layer's alone.
  ///   - owner: The module that has the bias, where it is another one.
  ///   - storage: Transposed where files have the weight as `[columns, outputs]`.
  mutating func linear(
    _ x: ValueID, _ module: String, tied: ParameterID? = nil, outputs: Int, hasBias: Bool,
    biasOf owner: String? = nil, isHead: Bool = false, storage: ParameterSpec.Storage = .plain
  ) throws(CheckpointError) -> ValueID {
    let columns = shape(x).last!
    let stored = storage == .transposed ? [columns, outputs] : [outputs, columns]
    let weight =
      if let tied { tied } else {
        try parameter(module, "weight", shape: stored, storage: storage)
      }
    var parameters = [weight]
    if hasBias { parameters.append(try parameter(owner ?? module, "bias", shape: [outputs])) }
    let result = try apply(Linear(), to: [x], parameters: parameters, name: module)
    guard
      let change = try lowRankChange(
        of: module, inputs: columns, outputs: outputs, hasBias: hasBias, isHead: isHead)
    else { return result }
    let hidden = try apply(Linear(), to: [x], parameters: [change.down], name: module + ".lora_A")
    let up = try apply(
      Linear(), to: [hidden], parameters: [change.up] + (change.bias.map { [$0] } ?? []),
      name: module + ".lora_B")
    let scaled = try apply(Scale(factor: change.scale), to: [up], name: module + ".lora_B")
    return try apply(Sum(), to: [result, scaled], name: module + ".lora_B")
  }

  /// A linear layer, and a function of what it gives.
  mutating func activated(
    _ x: ValueID, _ module: String, outputs: Int, hasBias: Bool = true,
    storage: ParameterSpec.Storage = .plain, _ function: ElementFunction, name: String
  ) throws(CheckpointError) -> ValueID {
    let hidden = try linear(x, module, outputs: outputs, hasBias: hasBias, storage: storage)
    return try apply(Activation(function), to: [hidden], name: name)
  }

  /// `scale B A` that the adapter adds to the weight of a module: A [rank, in], B [out, rank]; and
  /// `scale b` to its bias, if it has a b [out].
  struct LowRankChange {
    let rank: Int
    let scale: Double
    let down: ParameterID
    let up: ParameterID
    let bias: ParameterID?
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
    let bias =
      adapter.hasBiases ? try adapterParameter(module + ".lora_B.bias", shape: [outputs]) : nil
    return LowRankChange(rank: change.rank, scale: change.scale, down: down, up: up, bias: bias)
  }

  /// Layer norm, or RMS norm without `centered`.
  mutating func norm(
    _ x: ValueID, _ module: String, epsilon: Double, centered: Bool
  ) throws(CheckpointError) -> ValueID {
    let shape = [self.shape(x).last!]
    var parameters = [try parameter(module, "weight", shape: shape)]
    if centered { parameters.append(try parameter(module, "bias", shape: shape)) }
    return try apply(
      Normalization(.rows(dimensions: 1), epsilon: epsilon, centered: centered), to: [x],
      parameters: parameters, name: module)
  }

  /// Parameters as a value, and operations on it: passes make layers of them.
  mutating func value(_ parameter: ParameterID, _ name: String) throws(CheckpointError) -> ValueID {
    try apply(ParameterValue(), to: [], parameters: [parameter], name: name)
  }

  /// Some of the tokens; all of them are the value itself.
  mutating func select(
    _ x: ValueID, _ rows: [Int], name: String
  ) throws(CheckpointError) -> ValueID {
    // They ascend.
    if rows.count == shape(x)[0] { return x }
    return try apply(Take(rows), to: [x], name: name)
  }

  // MARK: - Finish

  /// The model, after a check that the adapter found something to change.
  func finish(
    output: ValueID, shape: [Int], type: String, unreadTensors: Set<String>,
    sequence: SequenceRule? = nil
  ) throws(CheckpointError) -> Model {
    if case .lowRank(let adapter)? = adapter, let tokens = adapter.trainedTokens, !hasTrainedTokens
    {
      throw tokens.place.wrong("nothing: trained tokens are read for language models alone")
    }
    if case .lowRank(let adapter)? = adapter, changedModules == 0, !hasTrainedTokens {
      throw adapter.targetPlace.wrong(
        "names of linear layers of the model, a \(type)",
        hint: "The adapter is for another model: give it with the one that it was trained on.")
    }
    return Model(
      graph: graph.finish(output: output, shape: shape), type: type,
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
  func layerCount(default standard: Int? = nil) throws(CheckpointError) -> Int {
    let value = try size(default: standard)
    guard value <= 1000 else { throw wrong("at most 1000 layers") }
    return value
  }

  /// A number of heads among which the columns of a model are dealt out.
  ///
  /// - Parameter name: The setting of the columns.
  func heads(
    sharing columns: Int, of name: String = "hidden_size", default standard: Int? = nil
  ) throws(CheckpointError) -> Int {
    let heads = try size(default: standard)
    guard columns % heads == 0 else { throw wrong("a divisor of \(name)") }
    return heads
  }

  /// An activation by the name that Transformers gives it.
  func activation() throws(CheckpointError) -> ElementFunction {
    try JSONValue.activation(named: string(), at: self)
  }

  static func activation(
    named name: String, at place: JSONValue
  ) throws(CheckpointError) -> ElementFunction {
    switch name {
    case "relu": return .relu
    case "gelu", "gelu_python": return .gelu
    case "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate": return .geluTanh
    case "silu", "swish": return .silu
    case "tanh": return .tanh
    case "sigmoid": return .sigmoid
    default: throw place.wrong("relu, gelu, gelu_new, silu, tanh or sigmoid")
    }
  }
}
