import Checkpoints
import GraphModule
import TensorModule

// Modules of PyTorch by the operators that they call, which are those of exported networks.

extension SequentialBuilder {
  static let modules: [String: LayerBuilder] = {
    var table = activations.merging(normalizations) { first, _ in first }
    for rank in 1...3 {
      let forward: LayerBuilder = { b, l, v throws(CheckpointError) in
        try b.convolution(l, v, rank: l.rank)
      }
      table["conv\(rank)d"] = forward
      let transposed: LayerBuilder = { b, l, v throws(CheckpointError) in
        try b.transposedConvolution(l, v, rank: l.rank)
      }
      table["conv_transpose\(rank)d"] = transposed
    }
    return table.merging(pools) { first, _ in first }.merging(rearrangements) { first, _ in first }
      .merging(recurrent) { first, _ in first }
  }()

  /// A layer's operators on the value with a dimension of samples in front.
  mutating func module(
    _ l: LayerContext, _ v: Value,
    _ body: (inout TensorBuilder, ImportedTensor) throws -> ImportedTensor
  ) throws(CheckpointError) -> Value {
    var builder = TensorBuilder(graph: graph)
    builder.label = l.label
    do {
      let result = try body(&builder, builder.tensor(v))
      let shape = Array(result.sizes.dropFirst())
      guard result.batch == .init(axis: 0) else { throw ImportFailure("samples behind others") }
      let last = Array(result.sampleShape.indices.dropFirst(3)) + [2]
      // Images stay as they are from one convolution to the next.
      let isChannelsLast = shape.count > 1 && result.order == [0, 1] + last
      let numbers = try builder.real(result)
      let id =
        isChannelsLast
        ? try builder.reshaped(
          builder.stored(numbers, result.order), to: Array(shape.dropFirst()) + [shape[0]])
        : try builder.reshaped(builder.canonical(numbers), to: shape)
      return Value(id: id, type: builder.graph.type(id), isChannelsLast: isChannelsLast)
    } catch let error as CheckpointError {
      throw error
    } catch let error as GraphError {
      throw l.error(error, found: v.shape)
    } catch let error as ImportFailure {
      throw l.mismatch(
        "one that the layer's options fit: \(error.reason)", found: v.shape)
    } catch {
      throw l.json["type"].wrong("a layer that fits: \(error)")
    }
  }

  /// The same by one ATen operator of the value, its first argument.
  mutating func operation(
    _ name: String, _ l: LayerContext, _ v: Value, input: String = "self",
    size: [Int]? = nil,
    _ arguments: (inout TensorBuilder) throws -> [String: OperatorCall.Value] = { _ in [:] }
  ) throws(CheckpointError) -> Value {
    try module(l, v) { builder, x in
      var all = try arguments(&builder)
      all[input] = .tensor(x)
      guard let build = Operators.builder("aten.\(name)") else {
        preconditionFailure("SequentialBuilder: there is no operator \(name)")
      }
      let sizes = [builder.samples] + (size ?? v.shape)
      let call = OperatorCall(results: [(sizes, .real)], arguments: all)
      return try build(&builder, call)[0]
    }
  }

  // MARK: - Convolutions

  private mutating func convolution(
    _ l: LayerContext, _ v: Value, rank: Int
  ) throws(CheckpointError) -> Value {
    try l.options(
      "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups",
      "bias")
    let (inputs, outputs, groups) = try channels(l, v, rank: rank)
    let kernel = try l.sizes("kernel_size", rank, minimum: 1)
    let stride = try l.sizes("stride", rank, default: 1, minimum: 1)
    let dilation = try l.sizes("dilation", rank, default: 1, minimum: 1)
    let padding = try padding(l, rank)
    let hasBias = try l.json["bias"].bool(default: true)
    let name = try l.name()
    return try operation(
      "conv\(rank)d." + (padding.isWord ? "padding" : "default"), l, v, input: "input"
    ) { builder in
      var arguments: [String: OperatorCall.Value] = [
        "weight": .tensor(
          try builder.parameter(
            name + ".weight", [outputs, inputs / groups] + kernel, .channelsLast)),
        "stride": .list(stride), "dilation": .list(dilation), "groups": .number(groups),
        "padding": padding.value,
      ]
      if hasBias { arguments["bias"] = .tensor(try builder.parameter(name + ".bias", [outputs])) }
      return arguments
    }
  }

  private func channels(
    _ l: LayerContext, _ v: Value, rank: Int
  ) throws(CheckpointError) -> (inputs: Int, outputs: Int, groups: Int) {
    let (inputs, outputs) = (try l.size("in_channels"), try l.size("out_channels"))
    let groups = l.json["groups"].exists ? try l.size("groups") : 1
    guard inputs % groups == 0, outputs % groups == 0 else {
      throw l.json["groups"].wrong("a divisor of in_channels and out_channels")
    }
    guard v.shape.count == rank + 1, v.shape[0] == inputs else {
      let axes = ["length", "height, width", "depth, height, width"][rank - 1]
      throw l.mismatch(
        "[in_channels = \(inputs), \(axes)]", found: v.shape,
        fix: v.shape.count == rank + 1 ? ("in_channels", "\(v.shape[0])") : nil)
    }
    return (inputs, outputs, groups)
  }

  /// Numbers, or one of PyTorch's words.
  private func padding(
    _ l: LayerContext, _ rank: Int
  ) throws(CheckpointError) -> (value: OperatorCall.Value, isWord: Bool) {
    if l.json["padding"].exists, case .string(let word) = try l.json["padding"].content() {
      guard ["same", "valid"].contains(word) else {
        throw l.json["padding"].wrong("numbers, \"same\" or \"valid\"")
      }
      return (.string(word), true)
    }
    return (.list(try l.sizes("padding", rank, default: 0, minimum: 0)), false)
  }

  private mutating func transposedConvolution(
    _ l: LayerContext, _ v: Value, rank: Int
  ) throws(CheckpointError) -> Value {
    try l.options(
      "in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding",
      "groups", "bias", "dilation")
    let (inputs, outputs, groups) = try channels(l, v, rank: rank)
    let kernel = try l.sizes("kernel_size", rank, minimum: 1)
    let stride = try l.sizes("stride", rank, default: 1, minimum: 1)
    let dilation = try l.sizes("dilation", rank, default: 1, minimum: 1)
    let padding = try l.sizes("padding", rank, default: 0, minimum: 0)
    let extra = try l.sizes("output_padding", rank, default: 0, minimum: 0)
    let hasBias = try l.json["bias"].bool(default: true)
    let name = try l.name()
    var size = [outputs]
    for axis in 0..<rank {
      guard extra[axis] < max(stride[axis], dilation[axis]) else {
        throw l.json["output_padding"].wrong("numbers below stride or dilation")
      }
      let parts = [
        checkedProduct([v.shape[axis + 1] - 1, stride[axis]], atMost: Int(Int32.max)),
        checkedProduct([dilation[axis], kernel[axis] - 1], atMost: Int(Int32.max)),
      ].compactMap { $0 }
      let length = parts.reduce(1 + extra[axis], +) - 2 * padding[axis]
      guard parts.count == 2, length > 0 else {
        throw l.json["padding"].wrong("numbers that leave something of the result")
      }
      size.append(length)
    }
    return try operation(
      "conv_transpose\(rank)d." + (rank == 1 ? "default" : "input"), l, v, input: "input",
      size: size
    ) { builder in
      var arguments: [String: OperatorCall.Value] = [
        "weight": .tensor(
          try builder.parameter(
            name + ".weight", [inputs, outputs / groups] + kernel, .channelsLast)),
        "stride": .list(stride), "dilation": .list(dilation), "groups": .number(groups),
        "padding": .list(padding), "output_padding": .list(extra),
      ]
      if hasBias { arguments["bias"] = .tensor(try builder.parameter(name + ".bias", [outputs])) }
      return arguments
    }
  }
}

extension OperatorCall.Value {
  static func list(_ values: [Int]) -> Self {
    .integers(values, isList: true, dependsOnSamples: false)
  }
  static func number(_ value: Int) -> Self {
    .integers([value], isList: false, dependsOnSamples: false)
  }
  static func real(_ value: Double) -> Self { .reals([value], isList: false) }
}

extension TensorBuilder {
  /// A value of a sequential model with a dimension of samples in front.
  fileprivate func tensor(_ value: SequentialBuilder.Value) -> ImportedTensor {
    let shape = value.shape
    let axes = Array(2..<shape.count + 2)
    let order = value.isChannelsLast ? Array(axes.dropFirst()) + [2] : axes
    return ImportedTensor(
      sizes: [samples] + shape, batch: .init(axis: 0), kind: value.isIndex ? .integer : .real,
      storage: .node(value.id, order: [0, 1] + order))
  }
}

extension LayerContext {
  /// One integer for all dimensions, or a list of one for each.
  func sizes(
    _ key: String, _ rank: Int, default standard: Int? = nil, minimum: Int
  ) throws(CheckpointError) -> [Int] {
    if let standard, !json[key].exists { return [Int](repeating: standard, count: rank) }
    var values: [Int]
    if case .integer(let value) = try json[key].content() {
      values = [Int](repeating: value, count: rank)
    } else {
      values = try json[key].integers()
      if values.count == 1 { values = [Int](repeating: values[0], count: rank) }
    }
    guard values.count == rank, values.allSatisfy({ $0 >= minimum && $0 <= 1 << 24 }) else {
      throw json[key].wrong("an integer or \(rank) of them, at least \(minimum)")
    }
    return values
  }

  /// A dimension as PyTorch counts it, with the samples as 0: from 1 on, or from the end.
  func dimension(
    _ key: String, _ shape: [Int], default standard: Int? = nil
  ) throws(CheckpointError) -> Int {
    let value = json[key].exists || standard == nil ? try json[key].integer() : standard!
    let rank = shape.count + 1
    let dimension = value < 0 ? value + rank : value
    guard (1..<rank).contains(dimension) else {
      throw json[key].wrong("a dimension of \([-1] + shape) other than that of the samples, 0")
    }
    return dimension
  }
}
