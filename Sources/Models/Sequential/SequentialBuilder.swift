import Checkpoints
import GraphModule

/// Builds the graph of a `sequential` model (formats.md): layers with the options, names and
/// defaults of the PyTorch modules of the same names, without the batch dimension.
///
/// Images are channels-last inside (convolutions become products with unfolded rows), so a value
/// carries the shape PyTorch would show and the order in which it is stored; transposes appear
/// only where a layer needs the other order.
struct SequentialBuilder {
  /// A value under construction.
  struct Value {
    var id: ValueID
    /// As it is stored.
    let type: ValueType
    /// Stored with the first axis last.
    var isChannelsLast = false

    /// PyTorch's shape of one sample.
    var shape: [Int] {
      isChannelsLast ? Array(type.shape.suffix(1)) + type.shape.dropLast() : type.shape
    }
    var count: Int { type.count }
    /// Whole numbers, which only an embedding can read.
    var isIndex: Bool { type.element != .real }
    /// Both orders are the same when one of the axes has length 1.
    var isOrderFree: Bool { shape.count < 2 || shape[0] == 1 || count == shape[0] }
  }

  let graph = GraphBuilder()
  var unreadTensors: Set<String> = []
  /// Layers so far, those of branches among them.
  private var layerCount = 0

  static func build(_ description: JSONValue) throws(CheckpointError) -> Model {
    try description.requireKeys(in: ["type", "input_shape", "layers"])
    var builder = SequentialBuilder()
    let shape = try description["input_shape"].integers()
    let layers = try description["layers"].array()
    guard !layers.isEmpty else { throw description["layers"].wrong("at least one layer") }
    let bound = try embeddingRows(layers)
    guard !shape.isEmpty,
      let input = try? builder.graph.input(
        "inputs", shape: shape, kind: bound.map { .index(bound: $0) } ?? .real)
    else {
      throw description["input_shape"].wrong("the positive dimensions of one sample")
    }
    var value = builder.value(input)
    for layer in layers { value = try builder.apply(layer, to: value) }
    do throws(GraphError) { value = try builder.plain(value, name: "output") } catch {
      throw description["layers"].wrong("layers whose output has an order: \(error)")
    }
    guard value.shape.count == 1 || value.shape.count == 2 else {
      throw description["layers"].wrong(
        "a last layer whose output is [classes] or [positions, classes]; it is \(value.shape)",
        hint: "Add a flatten layer before the last linear layer.")
    }
    return Model(
      graph: builder.graph.finish(output: value.id, shape: value.shape), type: "sequential",
      unreadTensors: builder.unreadTensors)
  }

  /// Rows of the embedding that reads the model's input, if one does.
  private static func embeddingRows(_ layers: [JSONValue]) throws(CheckpointError) -> Int? {
    for layer in layers {
      switch try layer["type"].string() {
      case "embedding": return try layer["num_embeddings"].integer()
      case "dropout", "flatten", "identity": continue
      case "residual": return try embeddingRows(layer["layers"].array())
      default: return nil
      }
    }
    return nil
  }

  mutating func apply(_ layer: JSONValue, to value: Value) throws(CheckpointError) -> Value {
    let type = try layer["type"].string()
    // What is near in name would be another network.
    guard !Self.otherModules.contains(type) else {
      throw layer["type"].wrong(
        "one of the supported layers: \(Self.layerNames.joined(separator: ", "))")
    }
    guard let build = Self.layers[type] ?? Self.modules[type] else {
      throw CheckpointError(
        .unknownName(what: "layer type", found: type, known: Self.layerNames),
        at: .init(file: layer.file, place: layer.path + ".type"))
    }
    layerCount += 1
    guard layerCount <= Self.mostLayers else {
      throw layer["type"].wrong("no more layers: there are \(Self.mostLayers) before it")
    }
    let context = LayerContext(json: layer, type: type)
    if value.isIndex && !["embedding", "dropout", "flatten", "identity", "residual"].contains(type)
    {
      throw layer["type"].wrong("an embedding, the only layer that reads whole numbers")
    }
    return try build(&self, context, value)
  }

  private static let layerNames = Set(layers.keys).union(modules.keys).sorted()

  /// More than any network that is trained has; each takes work and memory whatever its size.
  private static let mostLayers = 10_000

  /// Modules of PyTorch that there is no layer for, under names like those of layers that there are.
  private static let otherModules: Set<String> = [
    "bilinear", "embedding_bag", "lp_pool1d", "lp_pool2d", "fractional_max_pool2d", "max_unpool2d",
    "lazy_linear", "lazy_conv2d", "sync_batch_norm", "gru_cell", "lstm_cell", "rnn_cell",
  ]

  /// What builds each layer type.
  typealias LayerBuilder =
    @Sendable (
      inout SequentialBuilder, LayerContext, Value
    ) throws(CheckpointError) -> Value

  // MARK: - Values

  func value(_ id: ValueID, isChannelsLast: Bool = false) -> Value {
    Value(id: id, type: graph.type(id), isChannelsLast: isChannelsLast)
  }

  mutating func plain(_ value: Value, name: String) throws(GraphError) -> Value {
    try reordered(value, false, name)
  }

  mutating func channelsLast(_ value: Value, name: String) throws(GraphError) -> Value {
    try reordered(value, true, name)
  }

  private mutating func reordered(
    _ value: Value, _ last: Bool, _ name: String
  ) throws(GraphError) -> Value {
    if value.isChannelsLast == last { return value }
    let shape = value.shape
    let view = last ? View.firstToLast(shape.count) : View.lastToFirst(shape.count)
    let id =
      value.isOrderFree
      ? try graph.reshape(value.id, to: last ? Array(shape.dropFirst()) + [shape[0]] : shape)
      : try graph.apply(view, to: [value.id], name: name)
    return self.value(id, isChannelsLast: last)
  }

  // MARK: - Parameters

  mutating func parameter(
    _ layer: LayerContext, _ suffix: String, shape: [Int],
    storage: ParameterSpec.Storage = .plain, isBuffer: Bool = false
  ) throws(CheckpointError) -> ParameterID {
    let name = try layer.name() + "." + suffix
    do throws(GraphError) {
      return try graph.parameter(name, shape: shape, storage: storage, isBuffer: isBuffer)
    } catch {
      throw layer.error(error)
    }
  }
}

/// One layer's description with its place, for messages.
struct LayerContext {
  let json: JSONValue
  let type: String

  /// The prefix of the layer's parameters.
  func name() throws(CheckpointError) -> String {
    let name = try json["name"].string()
    if name.isEmpty { throw json["name"].wrong("the prefix of the layer's parameters") }
    // It is repeated by each of the layer's parameters.
    if name.utf8.count > 1024 { throw json["name"].wrong("a name of at most 1024 bytes") }
    return name
  }

  /// For messages and reports.
  var label: String {
    let name = (try? json["name"].string()).map { " \($0)" } ?? ""
    return "\(json.path) \(type)\(name)"
  }

  /// Refuses options that the layer does not have.
  func options(_ known: String...) throws(CheckpointError) { try options(known) }

  /// Those that PyTorch's module has beside them are accepted where they change nothing.
  func options(_ known: [String]) throws(CheckpointError) {
    let fixed = Self.fixedOptions[type] ?? [:]
    try json.requireKeys(in: ["type", "name"] + known + fixed.keys.sorted())
    for key in try json.keys() {
      guard case .only(let value, let text)? = fixed[key] else { continue }
      guard try json[key].content() == value else {
        throw json[key].wrong("\(text), the only value supported")
      }
    }
  }

  /// An option of which the description may speak though nothing depends on it.
  private enum Fixed {
    /// It has no influence on values and derivatives in evaluation.
    case any
    /// Only its default.
    case only(JSONContent, String)
  }

  private static let fixedOptions: [String: [String: Fixed]] = [
    "relu": ["inplace": .any],
    "leaky_relu": ["inplace": .any],
    "silu": ["inplace": .any],
    "dropout": ["inplace": .any], "dropout1d": ["inplace": .any], "dropout2d": ["inplace": .any],
    "dropout3d": ["inplace": .any], "alpha_dropout": ["inplace": .any],
    "feature_alpha_dropout": ["inplace": .any],
    "elu": ["inplace": .any], "celu": ["inplace": .any], "selu": ["inplace": .any],
    "hardsigmoid": ["inplace": .any], "hardswish": ["inplace": .any], "hardtanh": ["inplace": .any],
    "mish": ["inplace": .any], "relu6": ["inplace": .any], "rrelu": ["inplace": .any],
    "threshold": ["inplace": .any],
    // What its parameters begin with.
    "prelu": ["init": .any],
    "conv1d": zeros, "conv2d": zeros, "conv3d": zeros, "conv_transpose1d": zeros,
    "conv_transpose2d": zeros, "conv_transpose3d": zeros,
    "batch_norm1d": statistics, "batch_norm3d": statistics,
    "instance_norm1d": noStatistics, "instance_norm2d": noStatistics,
    "instance_norm3d": noStatistics,
    "max_pool1d": places, "max_pool3d": places, "adaptive_max_pool1d": places,
    "adaptive_max_pool2d": places, "adaptive_max_pool3d": places,
    "avg_pool3d": ["divisor_override": .only(.null, "null")],
    "upsample": ["recompute_scale_factor": .only(.null, "null")],
    "batch_norm2d": statistics,
    "embedding": [
      "max_norm": .only(.null, "null"), "norm_type": .any,
      "scale_grad_by_freq": .only(.bool(false), "false"), "sparse": .any,
    ],
    "max_pool2d": places, "avg_pool2d": ["divisor_override": .only(.null, "null")],
  ]

  private static let zeros: [String: Fixed] = [
    "padding_mode": .only(.string("zeros"), "\"zeros\"")
  ]
  private static let statistics: [String: Fixed] = [
    "momentum": .any, "track_running_stats": .only(.bool(true), "true"),
  ]
  private static let noStatistics: [String: Fixed] = [
    "momentum": .any, "track_running_stats": .only(.bool(false), "false"),
  ]
  private static let places: [String: Fixed] = ["return_indices": .only(.bool(false), "false")]

  /// A positive integer.
  func size(_ key: String) throws(CheckpointError) -> Int {
    let value = try json[key].integer()
    guard value > 0, value <= Int(Int32.max) else { throw json[key].wrong("a positive integer") }
    return value
  }

  /// One integer or a pair (height, width).
  func pair(
    _ key: String, default standard: (Int, Int)? = nil, minimum: Int
  ) throws(CheckpointError) -> (Int, Int) {
    if let standard, !json[key].exists { return standard }
    let values: [Int]
    if case .array = try json[key].content() {
      values = try json[key].integers()
    } else {
      let value = try json[key].integer()
      values = [value, value]
    }
    guard values.count == 2, values.allSatisfy({ $0 >= minimum && $0 <= Int(Int32.max) }) else {
      throw json[key].wrong("an integer or a pair of integers, at least \(minimum)")
    }
    return (values[0], values[1])
  }

  func epsilon() throws(CheckpointError) -> Double {
    let value = try json["eps"].double(default: 1e-5)
    guard value >= 0, value.isFinite else {
      throw json["eps"].wrong("a number that is not negative")
    }
    return value
  }

  /// The layer does not fit the value it is applied to.
  ///
  /// - Parameters:
  ///   - fix: An option and the value under which it would.
  ///   - isFlat: Whether it would if the value were flattened.
  func mismatch(
    _ expected: String, found: [Int], fix: (option: String, value: String)? = nil,
    isFlat: Bool = false
  ) -> CheckpointError {
    CheckpointError(
      .unexpectedValue("the input of \(label)", found: "\(found)", expected: expected),
      at: .init(file: json.file),
      hint: isFlat
        ? "Put {\"type\": \"flatten\"} before it."
        : fix.map { "Set \($0.option) to \($0.value), or change the layers before it." }
          ?? "Change the layer or those before it.")
  }

  /// What the graph says of the layer, at its place in the description.
  ///
  /// - Parameter found: The shape that the layer is applied to.
  func error(_ error: GraphError, found: [Int] = []) -> CheckpointError {
    switch error.problem {
    case .option(let name, let expected): json[name].wrong(expected)
    case .shape(_, _, let expected): mismatch(expected, found: found)
    case .size(let factors):
      CheckpointError(
        .unexpectedValue(
          "the size of \(label)", found: factors.map(String.init).joined(separator: " x "),
          expected: "fewer than 2^31 numbers per sample and per parameter"),
        at: .init(file: json.file), hint: "Check its options and the shape of its input.")
    case .parameterName(let name):
      json["name"].wrong(
        "a name of its own: another layer has a parameter \(name) of another shape",
        hint: "Layers with the same name share their parameters (tied weights).")
    case .element(_, let expected):
      CheckpointError(
        .unexpectedValue("the input of \(label)", found: "of another kind", expected: expected),
        at: .init(file: json.file))
    case .other(let what, let found, let expected):
      CheckpointError(
        .unexpectedValue("\(what) of \(label)", found: found, expected: expected),
        at: .init(file: json.file))
    }
  }
}
