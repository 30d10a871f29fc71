import CKernels
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
    "relu": { b, l, v throws(CheckpointError) in try b.activation(CK_RELU, l, v) },
    "leaky_relu": { b, l, v throws(CheckpointError) in
      try b.activation(
        CK_LEAKY_RELU, l, v, parameter: l.json["negative_slope"].double(default: 0.01),
        options: ["negative_slope"])
    },
    "gelu": { b, l, v throws(CheckpointError) in try b.gelu(l, v) },
    "silu": { b, l, v throws(CheckpointError) in try b.activation(CK_SILU, l, v) },
    "tanh": { b, l, v throws(CheckpointError) in try b.activation(CK_TANH, l, v) },
    "sigmoid": { b, l, v throws(CheckpointError) in try b.activation(CK_SIGMOID, l, v) },
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
        fix: ("in_features", "\(v.shape.last!)"))
    }
    let input = plain(v, name: l.label)
    let shape = Array(v.shape.dropLast()) + [outputs]
    try l.requireSizes(shape, [outputs, inputs])
    var parameters = [try parameter(l, "weight", shape: [outputs, inputs])]
    if hasBias { parameters.append(try parameter(l, "bias", shape: [outputs])) }
    let operation = Linear(
      positions: v.count / inputs, inputs: inputs, outputs: outputs, hasBias: hasBias)
    let id = graph.apply(operation, to: [input.id], parameters: parameters, name: l.label)
    return Value(id: id, shape: shape)
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
    let kernel = try l.pair("kernel_size", minimum: 1)
    let window = try window(
      l, v, kernel: kernel, stride: l.pair("stride", default: (1, 1), minimum: 1),
      padding: l.pair("padding", default: (0, 0), minimum: 0),
      dilation: l.pair("dilation", default: (1, 1), minimum: 1), groups: groups)
    let input = channelsLast(v, name: l.label)
    let shape = [outputs, window.outHeight, window.outWidth]
    let weight = [outputs, inputs / groups, kernel.0, kernel.1]
    try l.requireSizes(shape, weight)
    var parameters = [try parameter(l, "weight", shape: weight, storage: .channelsLast)]
    if hasBias { parameters.append(try parameter(l, "bias", shape: [outputs])) }
    let id = graph.apply(
      Convolution(window: window, outputs: outputs, hasBias: hasBias), to: [input.id],
      parameters: parameters, name: l.label)
    return Value(id: id, shape: shape, isChannelsLast: true)
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
    let input = channelsLast(v, name: l.label)
    var parameters = [
      try parameter(l, "running_mean", shape: [channels], isBuffer: true),
      try parameter(l, "running_var", shape: [channels], isBuffer: true),
    ]
    if hasAffine {
      parameters.append(try parameter(l, "weight", shape: [channels]))
      parameters.append(try parameter(l, "bias", shape: [channels]))
    }
    unreadTensors.insert(try l.name() + ".num_batches_tracked")
    let operation = BatchNorm(
      positions: v.count / channels, channels: channels, epsilon: try l.epsilon(),
      hasAffine: hasAffine)
    let id = graph.apply(operation, to: [input.id], parameters: parameters, name: l.label)
    return Value(id: id, shape: v.shape, isChannelsLast: true)
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
    let input = plain(v, name: l.label)
    let columns = shape.reduce(1, *)
    let layout = Kernels.Normalization(
      items: v.count / columns, groups: 1, outer: 1, inner: columns, stride: columns, centered: 1,
      epsilon: try l.epsilon())
    let id = try normalize(
      l, input, layout, columns: columns, parameterShape: shape, hasWeight: hasWeight,
      hasBias: hasBias)
    return Value(id: id, shape: v.shape)
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
    let input = channelsLast(v, name: l.label)
    let layout = Kernels.Normalization(
      items: 1, groups: groups, outer: v.count / channels, inner: channels / groups,
      stride: channels, centered: 1, epsilon: try l.epsilon())
    let id = try normalize(
      l, input, layout, columns: channels, parameterShape: [channels], hasWeight: hasAffine,
      hasBias: hasAffine)
    return Value(id: id, shape: v.shape, isChannelsLast: true)
  }

  private mutating func normalize(
    _ l: LayerContext, _ input: Value, _ layout: Kernels.Normalization, columns: Int,
    parameterShape: [Int], hasWeight: Bool, hasBias: Bool
  ) throws(CheckpointError) -> ValueID {
    var parameters: [ParameterID] = []
    if hasWeight { parameters.append(try parameter(l, "weight", shape: parameterShape)) }
    if hasBias { parameters.append(try parameter(l, "bias", shape: parameterShape)) }
    let operation = Normalization(
      layout: layout, size: input.count, affineColumns: columns, hasWeight: hasWeight,
      hasBias: hasBias)
    return graph.apply(operation, to: [input.id], parameters: parameters, name: l.label)
  }

  private mutating func embedding(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("num_embeddings", "embedding_dim")
    let (rows, columns) = (try l.size("num_embeddings"), try l.size("embedding_dim"))
    guard v.isIndex else {
      throw l.json["type"].wrong("an embedding only as the first layer: it reads whole numbers")
    }
    try l.requireSizes(v.shape + [columns], [rows, columns])
    let weight = try parameter(l, "weight", shape: [rows, columns])
    graph.limitIndex(v.id, below: rows)
    let id = graph.apply(
      Embedding(positions: v.count, rows: rows, columns: columns), to: [v.id],
      parameters: [weight], name: l.label)
    return Value(id: id, shape: v.shape + [columns])
  }

  // MARK: - Layers without parameters

  private mutating func activation(
    _ function: Kernels.Activation, _ l: LayerContext, _ v: Value, parameter: Double = 1,
    threshold: Double = 20, options: [String] = []
  ) throws(CheckpointError) -> Value {
    try l.options(options)
    var result = v
    result.id = graph.apply(
      Activation(function, parameter: parameter, threshold: threshold, size: v.count),
      to: [v.id], name: l.label)
    return result
  }

  private mutating func softplus(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    let beta = try l.json["beta"].double(default: 1)
    let threshold = try l.json["threshold"].double(default: 20)
    // In single precision too.
    guard Float(beta).isNormal, beta > 0 else {
      throw l.json["beta"].wrong("a positive number")
    }
    guard Float(threshold).isFinite else { throw l.json["threshold"].wrong("a finite number") }
    return try activation(
      CK_SOFTPLUS, l, v, parameter: beta, threshold: threshold, options: ["beta", "threshold"])
  }

  private mutating func gelu(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    let approximation = try l.json["approximate"].string(default: "none")
    guard ["none", "tanh"].contains(approximation) else {
      throw l.json["approximate"].wrong("\"none\" or \"tanh\"")
    }
    return try activation(
      approximation == "none" ? CK_GELU_ERF : CK_GELU_TANH, l, v, options: ["approximate"])
  }

  private mutating func pool(
    _ l: LayerContext, _ v: Value, isMaximum: Bool
  ) throws(CheckpointError) -> Value {
    try l.options("kernel_size", "stride", "padding")
    let kernel = try l.pair("kernel_size", minimum: 1)
    let padding = try l.pair("padding", default: (0, 0), minimum: 0)
    guard padding.0 <= kernel.0 / 2, padding.1 <= kernel.1 / 2 else {
      throw l.json["padding"].wrong("at most half of kernel_size")
    }
    guard v.shape.count == 3 else {
      throw l.mismatch("[channels, height, width]", found: v.shape)
    }
    let window = try window(
      l, v, kernel: kernel, stride: l.pair("stride", default: kernel, minimum: 1),
      padding: padding, dilation: (1, 1), groups: 1)
    return pool(l, v, window, isMaximum: isMaximum)
  }

  private mutating func globalPool(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("output_size")
    let size = try l.pair("output_size", minimum: 1)
    guard size == (1, 1) else { throw l.json["output_size"].wrong("1, the only size supported") }
    guard v.shape.count == 3 else {
      throw l.mismatch("[channels, height, width]", found: v.shape)
    }
    let kernel = (v.shape[1], v.shape[2])
    let window = try window(
      l, v, kernel: kernel, stride: kernel, padding: (0, 0), dilation: (1, 1), groups: 1)
    return pool(l, v, window, isMaximum: false)
  }

  private mutating func pool(
    _ l: LayerContext, _ v: Value, _ window: Window, isMaximum: Bool
  ) -> Value {
    let input = channelsLast(v, name: l.label)
    let operation: any Operation =
      isMaximum ? MaxPool(window: window) : AveragePool(window: window)
    let id = graph.apply(operation, to: [input.id], name: l.label)
    return Value(
      id: id, shape: [v.shape[0], window.outHeight, window.outWidth],
      isChannelsLast: true)
  }

  private mutating func flatten(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options()
    var result = plain(v, name: l.label)
    result.shape = [v.count]
    return result
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
    if branch.isChannelsLast {
      shortcut = channelsLast(shortcut, name: l.label)
    } else {
      shortcut = plain(shortcut, name: l.label)
    }
    var result = branch
    result.id = graph.apply(Sum(size: branch.count), to: [branch.id, shortcut.id], name: l.label)
    return result
  }

  // MARK: - Checks

  private func window(
    _ l: LayerContext, _ v: Value, kernel: (Int, Int), stride: (Int, Int), padding: (Int, Int),
    dilation: (Int, Int), groups: Int
  ) throws(CheckpointError) -> Window {
    guard let height = Window.extent(kernel: kernel.0, dilation: dilation.0),
      let width = Window.extent(kernel: kernel.1, dilation: dilation.1)
    else {
      throw l.json["kernel_size"].wrong("less than 2^31 pixels with its dilation")
    }
    // More would add nothing but windows that see nothing of the image.
    guard padding.0 <= height, padding.1 <= width else {
      throw l.json["padding"].wrong(
        "at most the kernel with its dilation, which is \(height) x \(width)")
    }
    guard
      let rows = Window.outputs(v.shape[1], kernel.0, stride.0, padding.0, dilation.0),
      let columns = Window.outputs(v.shape[2], kernel.1, stride.1, padding.1, dilation.1)
    else {
      throw l.mismatch(
        "an image into which, padded, kernel_size \(kernel) fits with its dilation",
        found: v.shape)
    }
    try l.requireSizes(
      [v.shape[0], rows, columns], [rows, columns, kernel.0, kernel.1, v.shape[0]],
      [v.shape[0], v.shape[1] + 2 * padding.0, v.shape[2] + 2 * padding.1])
    guard
      let window = Window(
        image: (v.shape[1], v.shape[2], v.shape[0]), kernel: kernel, stride: stride,
        padding: padding, dilation: dilation, groups: groups)
    else {
      throw l.mismatch("an image that the layer's options fit", found: v.shape)
    }
    return window
  }
}
