import Checkpoints
import GraphModule
import TensorModule

// Windows of images and sequences, and numbers in other places, as layers.

extension SequentialBuilder {
  static let pools: [String: LayerBuilder] = {
    var table: [String: LayerBuilder] = [:]
    for rank in 1...3 {
      let maximum: LayerBuilder = { b, l, v throws(CheckpointError) in try b.maximumPool(l, v) }
      table["max_pool\(rank)d"] = maximum
      let mean: LayerBuilder = { b, l, v throws(CheckpointError) in try b.averagePool(l, v) }
      table["avg_pool\(rank)d"] = mean
      let adaptiveMaximum: LayerBuilder = { b, l, v throws(CheckpointError) in
        try b.adaptivePool(l, v)
      }
      table["adaptive_max_pool\(rank)d"] = adaptiveMaximum
      let adaptiveMean: LayerBuilder = { b, l, v throws(CheckpointError) in
        try b.adaptivePool(l, v)
      }
      table["adaptive_avg_pool\(rank)d"] = adaptiveMean
    }
    return table
  }()

  private func windows(
    _ l: LayerContext, _ v: Value, _ rank: Int, hasDilation: Bool
  ) throws(CheckpointError) -> [String: OperatorCall.Value] {
    try requireImage(l, v, rank)
    let kernel = try l.sizes("kernel_size", rank, minimum: 1)
    let padding = try l.sizes("padding", rank, default: 0, minimum: 0)
    guard zip(padding, kernel).allSatisfy({ $0 <= $1 / 2 }) else {
      throw l.json["padding"].wrong("at most half of kernel_size")
    }
    var arguments: [String: OperatorCall.Value] = [
      "kernel_size": .list(kernel),
      "stride": .list(
        l.json["stride"].exists ? try l.sizes("stride", rank, minimum: 1) : kernel),
      "padding": .list(padding), "ceil_mode": .bool(try l.json["ceil_mode"].bool(default: false)),
    ]
    if hasDilation {
      arguments["dilation"] = .list(try l.sizes("dilation", rank, default: 1, minimum: 1))
    }
    return arguments
  }

  private func requireImage(
    _ l: LayerContext, _ v: Value, _ rank: Int
  ) throws(CheckpointError) {
    if v.shape.count == rank + 1 { return }
    let axes = ["length", "height, width", "depth, height, width"][rank - 1]
    throw l.mismatch("[channels, \(axes)]", found: v.shape)
  }

  // MARK: - Other places

  static let rearrangements: [String: LayerBuilder] = {
    var table: [String: LayerBuilder] = [
      "identity": { _, l, v throws(CheckpointError) in
        try l.options()
        return v
      },
      "unflatten": { b, l, v throws(CheckpointError) in try b.unflatten(l, v) },
      "pixel_shuffle": { b, l, v throws(CheckpointError) in
        try b.shuffle(l, v, option: "upscale_factor")
      },
      "pixel_unshuffle": { b, l, v throws(CheckpointError) in
        try b.shuffle(l, v, option: "downscale_factor")
      },
      "upsample": { b, l, v throws(CheckpointError) in try b.upsample(l, v) },
    ]
    for type in [
      "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
    ] {
      let dropout: LayerBuilder = { _, l, v throws(CheckpointError) in
        try l.options("p")
        return v
      }
      table[type] = dropout
    }
    for type in paddings.keys {
      for rank in 1...3 {
        let pad: LayerBuilder = { b, l, v throws(CheckpointError) in try b.pad(l, v) }
        table["\(type)\(rank)d"] = pad
      }
    }
    return table
  }()

  /// Layers that pad, by the modes of PyTorch's function.
  private static let paddings = [
    "zero_pad": "constant", "constant_pad": "constant", "reflection_pad": "reflect",
    "replication_pad": "replicate", "circular_pad": "circular",
  ]

  private mutating func maximumPool(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    let rank = l.rank
    try l.options("kernel_size", "stride", "padding", "dilation", "ceil_mode")
    let arguments = try windows(l, v, rank, hasDilation: true)
    return try operation("max_pool\(rank)d.default", l, v) { _ in arguments }
  }

  private mutating func averagePool(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    let rank = l.rank
    try l.options("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
    var arguments = try windows(l, v, rank, hasDilation: false)
    arguments["count_include_pad"] = .bool(try l.json["count_include_pad"].bool(default: true))
    let all = arguments
    return try operation("avg_pool\(rank)d.default", l, v) { _ in all }
  }

  private mutating func adaptivePool(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    let (rank, isMaximum) = (l.rank, l.type.hasPrefix("adaptive_max"))
    try l.options("output_size")
    try requireImage(l, v, rank)
    let size = try l.outputSizes("output_size", Array(v.shape.dropFirst()))
    return try operation(
      "adaptive_\(isMaximum ? "max" : "avg")_pool\(rank)d.default", l, v,
      size: [v.shape[0]] + size)
  }

  private mutating func unflatten(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    try l.options("dim", "unflattened_size")
    let dimension = try l.dimension("dim", v.shape)
    var sizes = try l.json["unflattened_size"].integers()
    let own = v.shape[dimension - 1]
    if let place = sizes.firstIndex(of: -1) {
      sizes[place] = 1
      let rest = checkedProduct(sizes, atMost: own) ?? 0
      if rest > 0 { sizes[place] = own / rest }
    }
    guard checkedProduct(sizes, atMost: own) == own, sizes.allSatisfy({ $0 > 0 }) else {
      throw l.json["unflattened_size"].wrong("sizes whose product is \(own)")
    }
    var shape = v.shape
    shape.replaceSubrange(dimension - 1..<dimension, with: sizes)
    let target = shape
    return try module(l, v) { try $0.viewed($1, [$0.samples] + target) }
  }

  private mutating func shuffle(
    _ l: LayerContext, _ v: Value, option: String
  ) throws(CheckpointError) -> Value {
    let type = l.type
    try l.options(option)
    try requireImage(l, v, 2)
    let factor = try l.sizes(option, 1, minimum: 1)[0]
    let fits =
      option == "upscale_factor"
      ? v.shape[0] % (factor * factor) == 0
      : v.shape[1] % factor == 0 && v.shape[2] % factor == 0
    guard fits else {
      throw l.mismatch("an image that \(option) = \(factor) divides", found: v.shape)
    }
    return try operation("\(type).default", l, v) { _ in [option: .number(factor)] }
  }

  private mutating func pad(
    _ l: LayerContext, _ v: Value
  ) throws(CheckpointError) -> Value {
    let (rank, type) = (l.rank, String(l.type.dropLast(2)))
    let mode = Self.paddings[type] ?? "constant"
    try l.options(type == "constant_pad" ? ["padding", "value"] : ["padding"])
    try requireImage(l, v, rank)
    let amounts = try l.sizes("padding", 2 * rank, minimum: type == "constant_pad" ? -1024 : 0)
    let value = type == "constant_pad" ? try l.number("value") : 0
    return try operation("pad.default", l, v) { _ in
      ["pad": .list(amounts), "mode": .string(mode), "value": .real(value)]
    }
  }

  private mutating func upsample(_ l: LayerContext, _ v: Value) throws(CheckpointError) -> Value {
    try l.options("size", "scale_factor", "mode", "align_corners")
    let rank = v.shape.count - 1
    let modes: [String: (rank: Int?, name: String)] = [
      "nearest": (nil, "nearest\(rank)d"), "nearest-exact": (nil, "_nearest_exact\(rank)d"),
      "linear": (1, "linear1d"), "bilinear": (2, "bilinear2d"), "trilinear": (3, "trilinear3d"),
      "bicubic": (2, "bicubic2d"),
    ]
    let word = try l.json["mode"].string(default: "nearest")
    guard let mode = modes[word] else {
      throw l.json["mode"].wrong("one of \(modes.keys.sorted().joined(separator: ", "))")
    }
    guard (1...3).contains(rank), mode.rank ?? rank == rank else {
      throw l.mismatch(
        "an image of \(mode.rank ?? 2) dimensions beside the channels", found: v.shape)
    }
    let alignsCorners = try l.json["align_corners"].bool(default: false)
    if alignsCorners, word.hasPrefix("nearest") {
      throw l.json["align_corners"].wrong("nothing: PyTorch takes none with \(word)")
    }
    let hasSize = l.json["size"].exists
    guard hasSize != l.json["scale_factor"].exists else {
      throw l.json["size"].wrong("either size or scale_factor")
    }
    var size: [Int]
    var arguments: [String: OperatorCall.Value] = [
      "align_corners": .bool(alignsCorners)
    ]
    if hasSize {
      size = try l.sizes("size", rank, minimum: 1)
    } else {
      var factors: [Double]
      if let one = try? l.json["scale_factor"].double() {
        factors = [Double](repeating: one, count: rank)
      } else {
        factors = try l.json["scale_factor"].array().map { json throws(CheckpointError) in
          try json.double()
        }
      }
      guard factors.count == rank, factors.allSatisfy({ $0 > 0 && $0 < 65536 }) else {
        throw l.json["scale_factor"].wrong("a positive number or \(rank) of them")
      }
      size = zip(v.shape.dropFirst(), factors).map { Int((Double($0) * $1).rounded(.down)) }
      arguments["scale_factors"] = .reals(factors, isList: true)
      guard size.allSatisfy({ $0 > 0 }) else {
        throw l.json["scale_factor"].wrong("a number that leaves something of the image")
      }
    }
    let name = mode.name.hasPrefix("_") ? "_upsample\(mode.name)" : "upsample_\(mode.name)"
    let all = arguments
    return try operation("\(name).vec", l, v, input: "input", size: [v.shape[0]] + size) { _ in all
    }
  }
}

extension LayerContext {
  /// Of `conv2d`, 2.
  var rank: Int { type.dropLast().last?.wholeNumberValue ?? 1 }

  /// Sizes of a result; `null` leaves a dimension as it is.
  func outputSizes(_ key: String, _ shape: [Int]) throws(CheckpointError) -> [Int] {
    guard case .array(let entries) = try json[key].content() else {
      return try sizes(key, shape.count, minimum: 1)
    }
    guard entries.count == shape.count else {
      throw json[key].wrong("an integer or \(shape.count) of them")
    }
    var result = shape
    for (place, entry) in entries.enumerated() where entry != .null {
      let value = try json[key][place].integer()
      guard (1...1 << 24).contains(value) else { throw json[key].wrong("positive integers") }
      result[place] = value
    }
    return result
  }
}
