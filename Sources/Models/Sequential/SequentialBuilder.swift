import Checkpoints
import GraphModule
import TensorModule

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
    /// PyTorch's shape of one sample.
    var shape: [Int]
    /// Stored with the first axis last.
    var isChannelsLast = false
    /// Whole numbers, which only an embedding can read.
    var isIndex = false

    var count: Int { shape.reduce(1, *) }
    /// Both orders are the same when one of the axes has length 1.
    var isOrderFree: Bool { shape.count < 2 || shape[0] == 1 || count == shape[0] }
  }

  var graph = GraphBuilder()
  var unreadTensors: Set<String> = []
  /// Layers so far, those of branches among them.
  private var layerCount = 0

  static func build(_ description: JSONValue) throws(CheckpointError) -> Model {
    try description.requireKeys(in: ["type", "input_shape", "layers"])
    var builder = SequentialBuilder()
    let shape = try description["input_shape"].integers()
    let layers = try description["layers"].array()
    guard !shape.isEmpty, shape.allSatisfy({ $0 > 0 }), checkedCount(shape) != nil else {
      throw description["input_shape"].wrong("the positive dimensions of one sample")
    }
    guard !layers.isEmpty else { throw description["layers"].wrong("at least one layer") }
    let bound = try embeddingRows(layers)
    let input = builder.graph.input(
      "inputs", shape: shape, kind: bound.map { .index(bound: $0) } ?? .real)
    var value = Value(id: input, shape: shape, isIndex: bound != nil)
    for layer in poolingFirst(layers) { value = try builder.apply(layer, to: value) }
    value = builder.plain(value, name: "output")
    guard value.shape.count == 1 || value.shape.count == 2 else {
      throw description["layers"].wrong(
        "a last layer whose output is [classes] or [positions, classes]; it is \(value.shape)",
        hint: "Add a flatten layer before the last linear layer.")
    }
    return Model(
      graph: builder.graph.finish(output: value.id, shape: value.shape), type: "sequential",
      unreadTensors: builder.unreadTensors)
  }

  /// A rectifier after maximum pooling is a rectifier before it, value and derivatives alike, on a
  /// fraction of the numbers: a window's winner is the same, or the derivative is zero.
  private static func poolingFirst(_ layers: [JSONValue]) -> [JSONValue] {
    var ordered = layers
    for i in ordered.indices.dropLast() {
      let isRectifier = (try? ordered[i]["type"].string()) == "relu"
      if isRectifier, (try? ordered[i + 1]["type"].string()) == "max_pool2d" {
        ordered.swapAt(i, i + 1)
      }
    }
    return ordered
  }

  /// Rows of the embedding that reads the model's input, if one does.
  private static func embeddingRows(_ layers: [JSONValue]) throws(CheckpointError) -> Int? {
    for layer in layers {
      switch try layer["type"].string() {
      case "embedding": return try layer["num_embeddings"].integer()
      case "dropout", "flatten": continue
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
      let known = Self.layers.keys.sorted().joined(separator: ", ")
      throw layer["type"].wrong("one of the supported layers: \(known)")
    }
    guard let build = Self.layers[type] else {
      throw CheckpointError(
        .unknownName(what: "layer type", found: type, known: Self.layers.keys.sorted()),
        at: .init(file: layer.file, place: layer.path + ".type"))
    }
    layerCount += 1
    guard layerCount <= Self.mostLayers else {
      throw layer["type"].wrong("no more layers: there are \(Self.mostLayers) before it")
    }
    let context = LayerContext(json: layer, type: type)
    if value.isIndex && !["embedding", "dropout", "flatten", "residual"].contains(type) {
      throw layer["type"].wrong("an embedding, the only layer that reads whole numbers")
    }
    return try build(&self, context, value)
  }

  /// More than any network that is trained has; each takes work and memory whatever its size.
  private static let mostLayers = 10_000

  /// Modules of PyTorch that there is no layer for, under names like those of layers that there are.
  private static let otherModules: Set<String> = [
    "adaptive_avg_pool1d", "adaptive_max_pool2d", "avg_pool1d", "batch_norm1d", "batch_norm3d",
    "bilinear", "celu", "conv1d", "conv3d", "dropout1d", "dropout2d", "elu", "embedding_bag", "glu",
    "hardsigmoid", "hardswish", "hardtanh", "instance_norm2d", "log_sigmoid", "max_pool1d", "mish",
    "prelu", "relu6", "rms_norm", "rrelu", "selu", "softmax", "softsign", "tanhshrink", "unflatten",
  ]

  /// What builds each layer type.
  typealias LayerBuilder =
    @Sendable (
      inout SequentialBuilder, LayerContext, Value
    ) throws(CheckpointError) -> Value

  // MARK: - Orders

  mutating func plain(_ value: Value, name: String) -> Value { reordered(value, false, name) }

  mutating func channelsLast(_ value: Value, name: String) -> Value { reordered(value, true, name) }

  private mutating func reordered(_ value: Value, _ last: Bool, _ name: String) -> Value {
    var result = value
    result.isChannelsLast = last
    if value.isChannelsLast == last || value.isOrderFree { return result }
    let channels = value.shape[0]
    let rest = value.count / channels
    result.id = graph.apply(
      Transpose(rows: last ? channels : rest, columns: last ? rest : channels), to: [value.id],
      name: name)
    return result
  }

  // MARK: - Parameters

  mutating func parameter(
    _ layer: LayerContext, _ suffix: String, shape: [Int],
    storage: ParameterSpec.Storage = .plain, isBuffer: Bool = false
  ) throws(CheckpointError) -> ParameterID {
    let name = try layer.name() + "." + suffix
    guard
      let id = graph.parameter(name, shape: shape, storage: storage, isBuffer: isBuffer)
    else {
      throw layer.json["name"].wrong(
        "a name of its own: another layer has a parameter \(name) of another shape",
        hint: "Layers with the same name share their parameters (tied weights).")
    }
    return id
  }
}

/// The number of scalars of a shape, nil if it is beyond what one sample or parameter may have.
func checkedCount(_ shape: [Int]) -> Int? { checkedProduct(shape, atMost: Int(Int32.max)) }

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
    "dropout": ["inplace": .any],
    "conv2d": ["padding_mode": .only(.string("zeros"), "\"zeros\"")],
    "batch_norm2d": ["momentum": .any, "track_running_stats": .only(.bool(true), "true")],
    // A row of padding_idx has no gradient.
    "embedding": [
      "padding_idx": .only(.null, "null"), "max_norm": .only(.null, "null"), "norm_type": .any,
      "scale_grad_by_freq": .only(.bool(false), "false"), "sparse": .any,
    ],
    "max_pool2d": [
      "dilation": .only(.integer(1), "1"), "return_indices": .only(.bool(false), "false"),
      "ceil_mode": .only(.bool(false), "false"),
    ],
    "avg_pool2d": [
      "ceil_mode": .only(.bool(false), "false"),
      "count_include_pad": .only(.bool(true), "true"), "divisor_override": .only(.null, "null"),
    ],
    "flatten": ["start_dim": .only(.integer(1), "1"), "end_dim": .only(.integer(-1), "-1")],
  ]

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
  /// - Parameter fix: An option and the value under which it would.
  func mismatch(
    _ expected: String, found: [Int], fix: (option: String, value: String)? = nil
  ) -> CheckpointError {
    CheckpointError(
      .unexpectedValue("the input of \(label)", found: "\(found)", expected: expected),
      at: .init(file: json.file),
      hint: fix.map { "Set \($0.option) to \($0.value), or change the layers before it." }
        ?? "Change the layer or those before it.")
  }

  /// - Throws: An error unless there are few enough numbers for 32-bit indices in all of these.
  func requireSizes(_ shapes: [Int]...) throws(CheckpointError) {
    for shape in shapes where checkedCount(shape) == nil {
      throw CheckpointError(
        .unexpectedValue(
          "the size of \(label)", found: shape.map(String.init).joined(separator: " x "),
          expected: "fewer than 2^31 numbers per sample and per parameter"),
        at: .init(file: json.file), hint: "Check its options and the shape of its input.")
    }
  }
}
