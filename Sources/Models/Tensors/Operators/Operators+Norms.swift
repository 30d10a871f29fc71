import GraphModule
import TensorModule

extension Operators {
  static let norms: [String: Builder] = [
    "aten.batch_norm.default": batchNorm,
    "aten._native_batch_norm_legit_no_training.default": batchNorm,
    "aten.native_batch_norm.default": batchNorm,
    // Of each sample's own channels, as instance norms are decomposed.
    "aten._native_batch_norm_legit.no_stats": { builder, call in
      let x = try call.tensor("input")
      guard x.rank >= 2, x.batch.map({ $0.axis == 1 }) ?? true else {
        throw ImportFailure.mixing(
          "a batch norm with the statistics of the batch: call net.eval() before torch.export.export"
        )
      }
      return [try builder.standardized(x, call)]
    },
    "aten.layer_norm.default": layerNorm, "aten.native_layer_norm.default": layerNorm,
    "aten.rms_norm.default": { builder, call in
      let x = try call.tensor("input")
      // Without one PyTorch takes the distance of 1 from the next number.
      let epsilon = try call.real("eps", default: Double(Float.ulpOfOne))
      return [try builder.rowNorm(x, call, epsilon: epsilon, centered: false)]
    },
    "aten.group_norm.default": { builder, call in
      [
        try builder.groupNorm(
          call.tensor("input"), groups: call.integer("num_groups"), call.optionalTensor("weight"),
          call.optionalTensor("bias"), epsilon: call.real("eps", default: 1e-5))
      ]
    },
    "aten.native_group_norm.default": { builder, call in
      [
        try builder.groupNorm(
          call.tensor("input"), groups: call.integer("group"), call.optionalTensor("weight"),
          call.optionalTensor("bias"), epsilon: call.real("eps"))
      ]
    },
    "aten.instance_norm.default": { builder, call in
      let x = try call.tensor("input")
      guard try call.bool("use_input_stats", default: true) else {
        return try batchNorm(&builder, call)
      }
      return [
        try builder.groupNorm(
          x, groups: x.sizes[1], call.optionalTensor("weight"), call.optionalTensor("bias"),
          epsilon: call.real("eps", default: 1e-5))
      ]
    },
  ]

  @Sendable private static func batchNorm(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> [ImportedTensor] {
    let x = try call.tensor("input")
    if x.batch == nil, try call.bool("training", default: false) {
      return [try builder.standardized(x, call)]
    }
    if try call.bool("training", default: false) || !call.has("running_mean") {
      throw ImportFailure.mixing(
        "a batch norm with the statistics of the batch: call net.eval() before torch.export.export")
    }
    return [
      try builder.batchNorm(
        call.tensor("input"), call.tensor("running_mean"), call.tensor("running_var"),
        call.optionalTensor("weight"), call.optionalTensor("bias"),
        epsilon: call.real("eps", default: 1e-5))
    ]
  }

  @Sendable private static func layerNorm(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> [ImportedTensor] {
    [
      try builder.rowNorm(
        call.tensor("input"), call, epsilon: call.real("eps", default: 1e-5), centered: true)
    ]
  }
}

extension TensorBuilder {
  /// The sample's axes in their order, but that of a dimension last.
  func lastOrder(_ x: ImportedTensor, _ dimension: Int) -> [Int] {
    let axis = x.sampleAxis(dimension)
    if x.order.last == axis { return x.order }
    return x.sampleShape.indices.filter { $0 != axis } + [axis]
  }

  mutating func batchNorm(
    _ x: ImportedTensor, _ mean: ImportedTensor, _ variance: ImportedTensor,
    _ weight: ImportedTensor?, _ bias: ImportedTensor?, epsilon: Double
  ) throws -> ImportedTensor {
    guard x.rank >= 2, x.batch?.axis != 1 else {
      throw ImportFailure.mixing("a batch norm whose channels are samples")
    }
    let x = try real(x)
    let order = lastOrder(x, 1)
    guard let mean = mean.wholeParameter, let variance = variance.wholeParameter else {
      throw ImportFailure("running statistics that are no buffers of the network")
    }
    let affine = [weight, bias].compactMap { $0 }
    let own = affine.compactMap(\.wholeParameter)
    let isOwn = own.count == affine.count && own.count != 1
    let id = try apply(
      BatchNorm(epsilon: epsilon), [stored(x, order)], [mean, variance] + (isOwn ? own : []))
    let result = made(id, x.sizes, x.batch, order: order)
    return isOwn ? result : try affineChannels(result, weight, bias)
  }

  /// What a batch norm in training makes of weights, which have no samples: weight standardisation.
  fileprivate mutating func standardized(
    _ x: ImportedTensor, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let dimensions = x.sizes.indices.filter { $0 != 1 }
    let mean = try reduced(x, .mean, dimensions, keeps: true)
    let variance = try reduced(x, .variance(correction: 0), dimensions, keeps: true)
    let size = try unary("rsqrt", sum(variance, scalar(call.real("eps", default: 1e-5))))
    return try affineChannels(
      product(difference(x, mean), size), call.optionalTensor("weight"),
      call.optionalTensor("bias"))
  }

  /// `weight x + bias` for each channel, dimension 1.
  private mutating func affineChannels(
    _ x: ImportedTensor, _ weight: ImportedTensor?, _ bias: ImportedTensor?
  ) throws -> ImportedTensor {
    var x = x
    func channels(_ tensor: ImportedTensor) -> ImportedTensor {
      (2..<max(x.rank, 2)).reduce(tensor) { tensor, _ in unsqueezed(tensor, tensor.rank) }
    }
    if let weight { x = try product(x, channels(weight)) }
    if let bias { x = try sum(x, channels(bias)) }
    return x
  }

  /// Norms over the last dimensions.
  mutating func rowNorm(
    _ x: ImportedTensor, _ call: OperatorCall, epsilon: Double, centered: Bool
  ) throws -> ImportedTensor {
    let dimensions = try call.integers("normalized_shape").count
    guard (x.batch?.axis ?? -1) < x.rank - dimensions else {
      throw ImportFailure.mixing("a norm over the dimension of the samples")
    }
    let x = try real(x)
    let (weight, bias) = (call.optionalTensor("weight"), call.optionalTensor("bias"))
    let affine = [weight, bias].compactMap { $0 }
    let own = affine.compactMap(\.wholeParameter)
    let isOwn = own.count == affine.count && (weight != nil || bias == nil)
    let last = Array(x.sampleShape.indices.suffix(dimensions))
    let order = x.order.suffix(dimensions) == last[...] ? x.order : Array(x.sampleShape.indices)
    // Passes look for rows: dimensions of 1 are none.
    let full = order.map { x.sampleShape[$0] }
    let rows = full.dropLast(dimensions).filter { $0 > 1 } + full.suffix(dimensions)
    let id = try apply(
      Normalization(.rows(dimensions: dimensions), epsilon: epsilon, centered: centered),
      [reshaped(stored(x, order), to: rows)], isOwn ? own : [])
    var result = made(id, x.sizes, x.batch, order: order)
    if !isOwn {
      if let weight { result = try product(result, weight) }
      if let bias { result = try sum(result, bias) }
    }
    return result
  }

  /// Norms over groups of channels, dimension 1, and all dimensions behind.
  mutating func groupNorm(
    _ x: ImportedTensor, groups: Int, _ weight: ImportedTensor?, _ bias: ImportedTensor?,
    epsilon: Double
  ) throws -> ImportedTensor {
    guard x.rank >= 2, let batch = x.batch, batch == .init(axis: 0) else {
      throw ImportFailure("a group norm of a tensor without samples as its first dimension")
    }
    let x = try real(x)
    let order = lastOrder(x, 1)
    let affine = [weight, bias].compactMap { $0 }
    let own = affine.compactMap(\.wholeParameter)
    let isOwn = own.count == affine.count && (weight != nil || bias == nil)
    let id = try apply(
      Normalization(.channels(groups: groups), epsilon: epsilon), [stored(x, order)],
      isOwn ? own : [])
    let result = made(id, x.sizes, x.batch, order: order)
    return isOwn ? result : try affineChannels(result, weight, bias)
  }
}
