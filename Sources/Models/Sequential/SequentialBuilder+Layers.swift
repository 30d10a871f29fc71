import Checkpoints
import GraphModule
import TensorModule

// One function per layer type. Options not listed here do not exist: a misspelt option is an
// error, not a default.

extension SequentialBuilder {
  static let layers: [String: LayerBuilder] = [
    "linear": { b, l, v throws(CheckpointError) in try b.linear(l, v) },
    "conv2d": { b, l, v throws(CheckpointError) in try b.convolution(l, v) },
    "batch_norm2d": { b, l, v throws(CheckpointError) in try b.batchNorm(l, v) },
    "layer_norm": { b, l, v throws(CheckpointError) in try b.layerNorm(l, v) },
    "group_norm": { b, l, v throws(CheckpointError) in try b.groupNorm(l, v) },
    "embedding": { b, l, v throws(CheckpointError) in try b.embedding(l, v) },
    "relu": { b, l, v throws(CheckpointError) in try b.activation(.relu, l, v) },
    "leaky_relu": { b, l, v throws(CheckpointError) in
      let slope = try l.json["negative_slope"].double(default: 0.01)
      return try b.activation(.leakyReLU.with(slope), l, v)
    },
    "gelu": { b, l, v throws(CheckpointError) in try b.gelu(l, v) },
    "silu": { b, l, v throws(CheckpointError) in try b.activation(.silu, l, v) },
    "tanh": { b, l, v throws(CheckpointError) in try b.activation(.tanh, l, v) },
    "sigmoid": { b, l, v throws(CheckpointError) in try b.activation(.sigmoid, l, v) },
    "softplus": { b, l, v throws(CheckpointError) in try b.softplus(l, v) },
    "max_pool2d": { b, l, v throws(CheckpointError) in try b.pool(l, v, isMaximum: true) },
    "avg_pool2d": { b, l, v throws(CheckpointError) in try b.pool(l, v, isMaximum: false) },
    "adaptive_avg_pool2d": { b, l, v throws(CheckpointError) in try b.globalPool(l, v) },
    "flatten": { b, l, v throws(CheckpointError) in try b.flatten(l, v) },
    "dropout": { _, l, v throws(CheckpointError) in
      try l.options("p")
      return v
    },
    "residual": { b, l, v throws(CheckpointError) in try b.residual(l, v) },
  ]

  // MARK: - Layers with parameters

  private mutating func linear(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("in_features", "out_features", "bias")
    let (inputs, outputs) = (try l.size("in_features"), try l.size("out_features"))
    let hasBias = try l.json["bias"].bool(default: true)
    guard v.shape.last == inputs else {
      throw l.mismatch(
        "in_features = \(inputs) as the last dimension", found: v.shape,
        fix: ("in_features", "\(v.shape.last!)"), isFlat: v.shape.reduce(1, *) == inputs)
    }
    var parameters = [try parameter(l, "weight", shape: [outputs, inputs])]
    if hasBias { parameters.append(try parameter(l, "bias", shape: [outputs])) }
    return try apply(Linear(), parameters, l, v)
  }

  private mutating func convolution(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value
  {
    try l.options(
      "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
      "bias")
    let (inputs, outputs) = (try l.size("in_channels"), try l.size("out_channels"))
    let groups = l.json["groups"].exists ? try l.size("groups") : 1
    let hasBias = try l.json["bias"].bool(default: true)
    guard inputs % groups == 0, outputs % groups == 0 else {
      throw l.json["groups"].wrong("a divisor of in_channels and out_channels")
    }
    guard v.shape.count == 3, v.shape[0] == inputs else {
      throw l.mismatch(
        "[in_channels = \(inputs), height, width]", found: v.shape,
        fix: v.shape.count == 3 ? ("in_channels", "\(v.shape[0])") : nil)
    }
    if l.json["padding"].exists, case .string = try l.json["padding"].content() {
      return try Self.modules[l.type]!(&self, l, v)
    }
    let kernel = try l.pair("kernel_size", minimum: 1)
    let operation = Convolution(
      stride: try l.pair("stride", default: (1, 1), minimum: 1),
      padding: try l.pair("padding", default: (0, 0), minimum: 0),
      dilation: try l.pair("dilation", default: (1, 1), minimum: 1), groups: groups)
    let weight = [outputs, inputs / groups, kernel.0, kernel.1]
    var parameters = [try parameter(l, "weight", shape: weight, storage: .channelsLast)]
    if hasBias { parameters.append(try parameter(l, "bias", shape: [outputs])) }
    return try apply(operation, parameters, l, v, channelsLast: true)
  }

  private mutating func batchNorm(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("num_features", "eps", "affine")
    let channels = try l.size("num_features")
    let hasAffine = try l.json["affine"].bool(default: true)
    guard v.shape.count == 3, v.shape[0] == channels else {
      throw l.mismatch(
        "[num_features = \(channels), height, width]", found: v.shape,
        fix: v.shape.count == 3 ? ("num_features", "\(v.shape[0])") : nil)
    }
    var parameters = [
      try parameter(l, "running_mean", shape: [channels], isBuffer: true),
      try parameter(l, "running_var", shape: [channels], isBuffer: true),
    ]
    if hasAffine {
      parameters.append(try parameter(l, "weight", shape: [channels]))
      parameters.append(try parameter(l, "bias", shape: [channels]))
    }
    unreadTensors.insert(try l.name() + ".num_batches_tracked")
    return try apply(
      BatchNorm(epsilon: try l.epsilon()), parameters, l, v, channelsLast: true)
  }

  private mutating func layerNorm(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("normalized_shape", "eps", "elementwise_affine", "bias")
    let shape: [Int]
    if case .integer(let size) = try l.json["normalized_shape"].content() {
      shape = [size]
    } else {
      shape = try l.json["normalized_shape"].integers()
    }
    guard !shape.isEmpty, v.shape.count >= shape.count, v.shape.suffix(shape.count) == shape[...]
    else {
      throw l.mismatch(
        "normalized_shape = \(shape) as the last dimensions", found: v.shape,
        fix: ("normalized_shape", "\(v.shape.suffix(1))"))
    }
    let hasWeight = try l.json["elementwise_affine"].bool(default: true)
    let hasBias = try l.json["bias"].bool(default: true) && hasWeight
    return try normalize(
      l, v, .rows(dimensions: shape.count), shape: shape, hasWeight: hasWeight, hasBias: hasBias)
  }

  private mutating func groupNorm(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("num_groups", "num_channels", "eps", "affine")
    let (groups, channels) = (try l.size("num_groups"), try l.size("num_channels"))
    guard channels % groups == 0 else {
      throw l.json["num_groups"].wrong("a divisor of num_channels = \(channels)")
    }
    guard v.shape[0] == channels else {
      throw l.mismatch(
        "num_channels = \(channels) as the first dimension", found: v.shape,
        fix: ("num_channels", "\(v.shape[0])"))
    }
    let hasAffine = try l.json["affine"].bool(default: true)
    return try normalize(
      l, v, .channels(groups: groups), shape: [channels], hasWeight: hasAffine,
      hasBias: hasAffine)
  }

  private mutating func normalize(
    _ l: LayerContext, _ v: Value, _ groups: Normalization.Groups, shape: [Int], hasWeight: Bool,
    hasBias: Bool
  ) throws(CheckpointError) -> Value {
    var parameters: [ParameterID] = []
    if hasWeight { parameters.append(try parameter(l, "weight", shape: shape)) }
    if hasBias { parameters.append(try parameter(l, "bias", shape: shape)) }
    let isByChannel = if case .channels = groups { true } else { false }
    return try apply(
      Normalization(groups, epsilon: try l.epsilon()), parameters, l, v, channelsLast: isByChannel)
  }

  private mutating func embedding(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("num_embeddings", "embedding_dim", "padding_idx")
    let (rows, columns) = (try l.size("num_embeddings"), try l.size("embedding_dim"))
    guard v.isIndex else {
      throw l.json["type"].wrong("an embedding only as the first layer: it reads whole numbers")
    }
    let weight = try parameter(l, "weight", shape: [rows, columns])
    graph.limitIndex(v.id, below: rows)
    let values = try apply(Embedding(), [weight], l, v)
    guard l.json["padding_idx"].exists else { return values }
    let padding = try l.json["padding_idx"].integer()
    guard (-rows..<rows).contains(padding) else {
      throw l.json["padding_idx"].wrong("null, or one of \(rows) rows")
    }
    // Its row has no gradient.
    return try checked(l, v) { b throws(GraphError) in
      let id = try b.graph.apply(
        Detach(index: padding < 0 ? padding + rows : padding), to: [values.id, v.id], name: l.label)
      return b.value(id)
    }
  }

  // MARK: - Layers without parameters

  private mutating func activation(
    _ function: ElementFunction, _ l: LayerContext, _ v: Value, options: [String] = []
  ) throws(CheckpointError) -> Value {
    try l.options(function.options + options)
    // Element by element, in whatever order they are.
    return try apply(
      Activation(function), [], l, v, channelsLast: v.isChannelsLast)
  }

  private mutating func softplus(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    let beta = try l.json["beta"].double(default: 1)
    let threshold = try l.json["threshold"].double(default: 20)
    // In single precision too.
    guard Float(beta).isNormal, beta > 0 else {
      throw l.json["beta"].wrong("a positive number")
    }
    guard Float(threshold).isFinite else { throw l.json["threshold"].wrong("a finite number") }
    return try activation(.softplus.with(beta, threshold), l, v)
  }

  private mutating func gelu(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    let approximation = try l.json["approximate"].string(default: "none")
    guard ["none", "tanh"].contains(approximation) else {
      throw l.json["approximate"].wrong("\"none\" or \"tanh\"")
    }
    return try activation(
      approximation == "none" ? .gelu : .geluTanh, l, v, options: ["approximate"])
  }

  private mutating func pool(
    _ l: LayerContext, _ v: Value, isMaximum: Bool
  ) throws(CheckpointError) -> Value {
    try l.options(
      ["kernel_size", "stride", "padding", "ceil_mode"]
        + [isMaximum ? "dilation" : "count_include_pad"])
    // What the engine's own pools do not do.
    let roundsUp = try l.json["ceil_mode"].bool(default: false)
    let countsPadding = try l.json["count_include_pad"].bool(default: true)
    let dilation = try l.pair("dilation", default: (1, 1), minimum: 1)
    if roundsUp || !countsPadding || dilation != (1, 1) {
      return try Self.modules[l.type]!(&self, l, v)
    }
    let kernel = try l.pair("kernel_size", minimum: 1)
    let options = WindowOptions(
      kernel: kernel, stride: try l.pair("stride", default: kernel, minimum: 1),
      padding: try l.pair("padding", default: (0, 0), minimum: 0))
    try requireImage(l, v)
    return isMaximum
      ? try apply(MaxPool(options), [], l, v, channelsLast: true)
      : try apply(AveragePool(options), [], l, v, channelsLast: true)
  }

  private mutating func globalPool(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("output_size")
    try requireImage(l, v)
    guard try l.outputSizes("output_size", Array(v.shape.dropFirst())) == [1, 1] else {
      return try Self.modules[l.type]!(&self, l, v)
    }
    return try apply(AveragePool(), [], l, v, channelsLast: true)
  }

  private func requireImage(_ l: LayerContext, _ v: Value) throws(CheckpointError) {
    if v.shape.count == 3 { return }
    throw l.mismatch("[channels, height, width]", found: v.shape)
  }

  private mutating func flatten(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("start_dim", "end_dim")
    let first = try l.dimension("start_dim", v.shape, default: 1)
    let last = try l.dimension("end_dim", v.shape, default: -1)
    guard first <= last else { throw l.json["end_dim"].wrong("a dimension behind start_dim") }
    var shape = v.shape
    shape.replaceSubrange(first - 1..<last, with: [shape[first - 1..<last].reduce(1, *)])
    return try checked(l, v) { b throws(GraphError) in
      let rows = try b.plain(v, name: l.label)
      return b.value(try b.graph.reshape(rows.id, to: shape))
    }
  }

  private mutating func residual(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("layers", "shortcut")
    var branch = v
    for layer in try l.json["layers"].array() { branch = try apply(layer, to: branch) }
    var shortcut = v
    if l.json["shortcut"].exists {
      for layer in try l.json["shortcut"].array() { shortcut = try apply(layer, to: shortcut) }
    }
    guard branch.shape == shortcut.shape else {
      throw l.json["layers"].wrong(
        "a branch whose output has the shortcut's shape: branch \(branch.shape), "
          + "shortcut \(shortcut.shape)")
    }
    guard !branch.isIndex, !shortcut.isIndex else {
      throw l.json["type"].wrong("an embedding on both sides: whole numbers cannot be added")
    }
    return try checked(l, v) { b throws(GraphError) in
      let isLast = branch.isChannelsLast
      let other =
        isLast
        ? try b.channelsLast(shortcut, name: l.label) : try b.plain(shortcut, name: l.label)
      let sum = try b.graph.apply(Sum(), to: [branch.id, other.id], name: l.label)
      return b.value(sum, isChannelsLast: isLast)
    }
  }

  // MARK: - Nodes

  /// The operation on the value, in the order that it reads and writes.
  private mutating func apply(
    _ operation: some GraphModule.Operation, _ parameters: [ParameterID], _ l: LayerContext,
    _ v: Value, channelsLast: Bool = false
  ) throws(CheckpointError) -> Value {
    try checked(l, v) { b throws(GraphError) in
      let input =
        channelsLast ? try b.channelsLast(v, name: l.label) : try b.plain(v, name: l.label)
      let id = try b.graph.apply(
        operation, to: [input.id], parameters: parameters, name: l.label)
      return b.value(id, isChannelsLast: channelsLast)
    }
  }

  private mutating func checked(
    _ l: LayerContext, _ v: Value, _ body: (inout SequentialBuilder) throws(GraphError) -> Value
  ) throws(CheckpointError) -> Value {
    do throws(GraphError) { return try body(&self) } catch {
      throw l.error(error, found: v.shape)
    }
  }
}
