import Checkpoints
import GraphModule
import TensorModule

// Functions of single numbers and norms as layers.

extension SequentialBuilder {
  /// Operators of functions, with their options and the defaults of these, where there are any.
  private static let functions: [String: (name: String, options: KeyValuePairs<String, Double?>)] =
    [
      "elu": ("elu.default", ["alpha": 1]), "celu": ("celu.default", ["alpha": 1]),
      "selu": ("selu.default", [:]), "hardsigmoid": ("hardsigmoid.default", [:]),
      "hardswish": ("hardswish.default", [:]), "mish": ("mish.default", [:]),
      "hardtanh": ("hardtanh.default", ["min_val": -1, "max_val": 1]),
      "relu6": ("relu6.default", [:]), "log_sigmoid": ("log_sigmoid.default", [:]),
      "softshrink": ("softshrink.default", ["lambd": 0.5]),
      "hardshrink": ("hardshrink.default", ["lambd": 0.5]),
      // In evaluation mode the slope is the mean.
      "rrelu": ("rrelu.default", ["lower": 1.0 / 8, "upper": 1.0 / 3]),
      "threshold": ("threshold.default", ["threshold": nil, "value": nil]),
    ]

  // Closures that capture nothing: what a layer is, its type says.
  static let activations: [String: LayerBuilder] = {
    var table = otherFunctions
    for type in functions.keys {
      let function: LayerBuilder = { b, l, v throws(CheckpointError) in try b.function(l, v) }
      table[type] = function
    }
    return table
  }()

  private static let otherFunctions: [String: LayerBuilder] = [
    "softsign": { b, l, v throws(CheckpointError) in try b.softsign(l, v) },
    "tanhshrink": { b, l, v throws(CheckpointError) in try b.tanhshrink(l, v) },
    "prelu": { b, l, v throws(CheckpointError) in try b.parametricRectifier(l, v) },
    "glu": { b, l, v throws(CheckpointError) in try b.gatedUnit(l, v) },
    "softmax": { b, l, v throws(CheckpointError) in try b.softmax(l, v) },
    "log_softmax": { b, l, v throws(CheckpointError) in try b.softmax(l, v) },
    "softmin": { b, l, v throws(CheckpointError) in try b.softmin(l, v) },
    "softmax2d": { b, l, v throws(CheckpointError) in try b.softmaxOfChannels(l, v) },
  ]

  static let normalizations: [String: LayerBuilder] = [
    "batch_norm1d": { b, l, v throws(CheckpointError) in try b.batchNorm(l, v, ranks: 1...2) },
    "batch_norm3d": { b, l, v throws(CheckpointError) in try b.batchNorm(l, v, ranks: 4...4) },
    "instance_norm1d": { b, l, v throws(CheckpointError) in try b.instanceNorm(l, v, rank: 1) },
    "instance_norm2d": { b, l, v throws(CheckpointError) in try b.instanceNorm(l, v, rank: 2) },
    "instance_norm3d": { b, l, v throws(CheckpointError) in try b.instanceNorm(l, v, rank: 3) },
    "rms_norm": { b, l, v throws(CheckpointError) in try b.rootMeanSquareNorm(l, v) },
  ]

  private mutating func function(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    guard let (name, options) = Self.functions[l.type] else {
      preconditionFailure("SequentialBuilder: \(l.type) is no function")
    }
    try l.options(options.map(\.key))
    var values: [String: OperatorCall.Value] = [:]
    for (option, standard) in options {
      values[option] = .real(try l.number(option, default: standard))
    }
    let arguments = values
    return try operation(name, l, v) { _ in arguments }
  }

  private mutating func softsign(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options()
    return try module(l, v) { builder, x in
      try builder.quotient(x, builder.sum(builder.unary("abs", x), builder.scalar(1)))
    }
  }

  private mutating func tanhshrink(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options()
    return try module(l, v) { try $0.difference($1, $0.unary(.tanh, $1)) }
  }

  private mutating func parametricRectifier(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options("num_parameters")
    let count = l.json["num_parameters"].exists ? try l.size("num_parameters") : 1
    guard count == 1 || v.shape[0] == count else {
      throw l.mismatch(
        "num_parameters = \(count) channels", found: v.shape,
        fix: ("num_parameters", "\(v.shape[0])"))
    }
    let name = try l.name()
    return try operation("prelu.default", l, v) {
      ["weight": .tensor(try $0.parameter(name + ".weight", [count]))]
    }
  }

  private mutating func gatedUnit(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options("dim")
    let dimension = try l.dimension("dim", v.shape, default: -1)
    guard v.shape[dimension - 1] % 2 == 0 else {
      throw l.mismatch("an even dimension \(dimension)", found: v.shape)
    }
    return try operation("glu.default", l, v) { _ in ["dim": .number(dimension)] }
  }

  private mutating func softmax(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options("dim")
    let dimension = try l.dimension("dim", v.shape)
    return try operation(l.type + ".int", l, v) { _ in ["dim": .number(dimension)] }
  }

  private mutating func softmin(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options("dim")
    let dimension = try l.dimension("dim", v.shape)
    return try module(l, v) { try $0.softmax($0.scaled($1, by: -1), dimension) }
  }

  private mutating func softmaxOfChannels(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options()
    guard v.shape.count == 3 else { throw l.mismatch("[channels, height, width]", found: v.shape) }
    return try operation("softmax.int", l, v) { _ in ["dim": .number(1)] }
  }

  private mutating func instanceNorm(
    _ l: LayerContext, _ v: Value, rank: Int
  ) throws(CheckpointError) -> Value {
    try l.options("num_features", "eps", "affine")
    let channels = try l.size("num_features")
    guard v.shape.count == rank + 1, v.shape[0] == channels else {
      throw l.mismatch(
        "\(rank + 1) dimensions, num_features = \(channels) in front", found: v.shape)
    }
    let epsilon = try l.epsilon()
    let name = try l.json["affine"].bool(default: false) ? try l.name() : nil
    return try module(l, v) { builder, x in
      let weight = try name.map { try builder.parameter($0 + ".weight", [channels]) }
      let bias = try name.map { try builder.parameter($0 + ".bias", [channels]) }
      return try builder.groupNorm(x, groups: channels, weight, bias, epsilon: epsilon)
    }
  }

  private mutating func rootMeanSquareNorm(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options("normalized_shape", "eps", "elementwise_affine")
    let shape: [Int]
    if case .integer(let size) = try l.json["normalized_shape"].content() {
      shape = [size]
    } else {
      shape = try l.json["normalized_shape"].integers()
    }
    guard !shape.isEmpty, v.shape.count >= shape.count, v.shape.suffix(shape.count) == shape[...]
    else {
      throw l.mismatch("normalized_shape = \(shape) as the last dimensions", found: v.shape)
    }
    let epsilon = l.json["eps"].exists ? try l.epsilon() : nil
    let name = try l.json["elementwise_affine"].bool(default: true) ? try l.name() : nil
    return try operation("rms_norm.default", l, v, input: "input") { builder in
      var arguments: [String: OperatorCall.Value] = ["normalized_shape": .list(shape)]
      if let epsilon { arguments["eps"] = .real(epsilon) }
      if let name {
        arguments["weight"] = .tensor(try builder.parameter(name + ".weight", shape))
      }
      return arguments
    }
  }

  private mutating func batchNorm(
    _ l: LayerContext, _ v: Value, ranks: ClosedRange<Int>
  ) throws(CheckpointError) -> Value {
    try l.options("num_features", "eps", "affine")
    let channels = try l.size("num_features")
    guard ranks.contains(v.shape.count), v.shape[0] == channels else {
      throw l.mismatch(
        "num_features = \(channels) as the first of \(ranks.upperBound) dimensions", found: v.shape,
        fix: ranks.contains(v.shape.count) ? ("num_features", "\(v.shape[0])") : nil)
    }
    let (name, epsilon) = (try l.name(), try l.epsilon())
    let hasAffine = try l.json["affine"].bool(default: true)
    unreadTensors.insert(name + ".num_batches_tracked")
    return try module(l, v) { builder, x in
      let mean = try builder.parameter(name + ".running_mean", [channels], isBuffer: true)
      let variance = try builder.parameter(name + ".running_var", [channels], isBuffer: true)
      let weight = hasAffine ? try builder.parameter(name + ".weight", [channels]) : nil
      let bias = hasAffine ? try builder.parameter(name + ".bias", [channels]) : nil
      return try builder.batchNorm(x, mean, variance, weight, bias, epsilon: epsilon)
    }
  }
}

extension LayerContext {
  /// A number that single precision can hold.
  func number(
    _ key: String, default standard: Double? = nil
  ) throws(CheckpointError) -> Double {
    if let standard, !json[key].exists { return standard }
    let value = try json[key].double()
    guard Float(value).isFinite else { throw json[key].wrong("a finite number") }
    return value
  }
}
