import GraphModule
import TensorModule

extension Operators {
  static let shapes: [String: Builder] = {
    var table = single(views)
    for name in [
      "aten.contiguous.default", "aten.clone.default", "aten.alias.default",
      "aten.lift_fresh_copy.default", "aten.lift_fresh.default", "aten.positive.default",
      "aten.lift.default", "aten.resolve_conj.default", "aten.resolve_neg.default",
    ] {
      table[name] = { _, call in [try call.tensor("self")] }
    }
    // Into another type of numbers, or to a device.
    for name in [
      "aten.to.dtype", "aten.to.dtype_layout", "aten.to.device", "aten.to.other",
      "aten._to_copy.default", "aten.type_as.default",
    ] {
      table[name] = converted
    }
    for name in ["view", "reshape", "_unsafe_view", "_reshape_alias", "view_copy"] {
      table["aten.\(name).default"] = { builder, call in
        [try builder.viewed(call.tensor("self"), call.results[0].sizes)]
      }
    }
    for name in [
      "flatten.using_ints", "unflatten.int", "view_as.default", "reshape_as.default",
    ] {
      table["aten.\(name)"] = { builder, call in
        [try builder.viewed(call.tensor("self"), call.results[0].sizes)]
      }
    }
    for name in ["split.Tensor", "split_with_sizes.default", "chunk.default", "split.sizes"] {
      table["aten.\(name)"] = split
    }
    table["aten.unbind.int"] = { builder, call in
      let x = try call.tensor("self")
      let dimension = try call.dimension("dim", rank: x.rank, default: 0)
      return try (0..<x.sizes[dimension]).map { try builder.selected(x, dimension, $0) }
    }
    return table
  }()

  private static let views:
    [String: @Sendable (inout TensorBuilder, OperatorCall) throws -> ImportedTensor] = [
      "aten.permute.default": { builder, call in
        let x = try call.tensor("self")
        return builder.permuted(
          x, try call.integers("dims").map { try OperatorCall.dimension($0, rank: x.rank) })
      },
      "aten.transpose.int": { builder, call in
        let x = try call.tensor("self")
        return builder.transposed(
          x, try call.dimension("dim0", rank: x.rank), try call.dimension("dim1", rank: x.rank))
      },
      "aten.swapaxes.default": { builder, call in
        let x = try call.tensor("self")
        return builder.transposed(
          x, try call.dimension("axis0", rank: x.rank), try call.dimension("axis1", rank: x.rank))
      },
      "aten.t.default": { builder, call in
        let x = try call.tensor("self")
        return x.rank < 2 ? x : builder.transposed(x, 0, 1)
      },
      "aten.numpy_T.default": reversed, "aten.mT.default": matrixTranspose,
      "aten.movedim.int": { builder, call in
        let x = try call.tensor("self")
        let (from, to) = (
          try call.dimension("source", rank: x.rank),
          try call.dimension("destination", rank: x.rank)
        )
        var order = Array(0..<x.rank)
        order.insert(order.remove(at: from), at: to)
        return builder.permuted(x, order)
      },
      "aten.unsqueeze.default": { builder, call in
        let x = try call.tensor("self")
        return builder.unsqueezed(x, try call.dimension("dim", rank: x.rank + 1))
      },
      "aten.squeeze.default": { builder, call in
        let x = try call.tensor("self")
        return builder.squeezed(x, Array(0..<x.rank))
      },
      "aten.squeeze.dim": { builder, call in
        let x = try call.tensor("self")
        return builder.squeezed(x, [try call.dimension("dim", rank: x.rank)])
      },
      "aten.squeeze.dims": { builder, call in
        let x = try call.tensor("self")
        return builder.squeezed(x, try call.dimensions("dim", rank: x.rank))
      },
      "aten.expand.default": { try $0.expanded($1.tensor("self"), $1.results[0].sizes) },
      "aten.expand_as.default": { try $0.expanded($1.tensor("self"), $1.results[0].sizes) },
      "aten.broadcast_to.default": { try $0.expanded($1.tensor("self"), $1.results[0].sizes) },
      "aten.select.int": { builder, call in
        let x = try call.tensor("self")
        let dimension = try call.dimension("dim", rank: x.rank)
        let index = try call.integer("index")
        return try builder.selected(
          x, dimension, index < 0 ? index + x.sizes[dimension] : index)
      },
      "aten.slice.Tensor": { builder, call in
        let x = try call.tensor("self")
        let dimension = try call.dimension("dim", rank: x.rank, default: 0)
        let count = call.results[0].sizes[dimension]
        if count == x.sizes[dimension] { return x }
        let (start, step) = try call.slice(of: x.sizes[dimension], count: count)
        return try builder.sliced(x, dimension, start: start, step: step, count: count)
      },
      "aten.narrow.default": { builder, call in
        let x = try call.tensor("self")
        let dimension = try call.dimension("dim", rank: x.rank)
        let count = try call.integer("length")
        if count == x.sizes[dimension] { return x }
        let (start, _) = try call.slice(of: x.sizes[dimension], count: count)
        return try builder.sliced(x, dimension, start: start, count: count)
      },
      "aten.flip.default": { builder, call in
        var x = try call.tensor("self")
        for dimension in try call.dimensions("dims", rank: x.rank) where x.sizes[dimension] > 1 {
          let count = x.sizes[dimension]
          x = try builder.sliced(x, dimension, start: count - 1, step: -1, count: count)
        }
        return x
      },
      "aten.repeat.default": repeated, "aten.tile.default": repeated,
      "aten.detach.default": { builder, call in
        let x = try builder.real(call.tensor("self"))
        if x.constants != nil { return x }
        return builder.made(
          try builder.apply(Detach(), [builder.stored(x, x.order)]), x.sizes, x.batch,
          order: x.order, kind: x.kind)
      },
    ]

  @Sendable private static func converted(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> [ImportedTensor] {
    var x = try call.tensor("self")
    let kind = call.results.first?.kind ?? x.kind
    if kind == x.kind { return [x] }
    if kind == .boolean { return [try builder.compared(.notEqual, x, builder.scalar(0))] }
    if kind == .integer, x.kind == .real {
      guard let values = x.constants else {
        throw ImportFailure("numbers are cut off to whole ones, which has no derivatives")
      }
      return [builder.with(x, values.map { $0.rounded(.towardZero) }, kind: .integer)]
    }
    x = kind == .real ? try builder.real(x) : x
    x.kind = kind
    return [x]
  }

  @Sendable private static func split(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> [ImportedTensor] {
    let x = try call.tensor("self")
    let dimension = try call.dimension("dim", rank: x.rank, default: 0)
    var start = 0
    return try call.results.map { result in
      let count = result.sizes[dimension]
      defer { start += count }
      return try builder.sliced(x, dimension, start: start, count: count)
    }
  }

  @Sendable private static func reversed(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let x = try call.tensor("self")
    return builder.permuted(x, Array((0..<x.rank).reversed()))
  }

  @Sendable private static func matrixTranspose(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let x = try call.tensor("self")
    return builder.transposed(x, x.rank - 2, x.rank - 1)
  }

  @Sendable private static func repeated(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    let target = call.results[0].sizes
    var x = try call.tensor("self").padded(to: target.count)
    for (dimension, size) in target.enumerated() where x.sizes[dimension] != size {
      if x.batch == nil, size == x.sizes[dimension] * builder.samples,
        builder.isSymbolic || dimension == 0
      {
        // Of every sample once.
        var sizes = x.sizes
        sizes.insert(builder.samples, at: dimension)
        x = try builder.expanded(builder.unsqueezed(x, dimension), sizes)
        sizes.replaceSubrange(dimension...dimension + 1, with: [size])
        x = try builder.viewed(x, sizes)
      } else if x.sizes[dimension] == 1 {
        var sizes = x.sizes
        sizes[dimension] = size
        x = try builder.expanded(x, sizes)
      } else {
        x = try builder.concatenated(
          [ImportedTensor](repeating: x, count: size / x.sizes[dimension]), dimension)
      }
    }
    return x
  }

  // MARK: - Several tensors

  static let joins = single([
    "aten.cat.default": { builder, call in
      // PyTorch leaves out empty ones.
      let tensors = try call.tensors("tensors").filter { $0.sizes != [0] }
      guard let first = tensors.first else { throw ImportFailure("it joins nothing") }
      return try builder.concatenated(
        tensors, call.dimension("dim", rank: first.rank, default: 0))
    },
    "aten.diff.default": { builder, call in
      var x = try call.tensor("self")
      let dimension = try call.dimension("dim", rank: x.rank, default: -1)
      guard try call.integer("n", default: 1) == 1 else {
        throw ImportFailure("differences of differences")
      }
      let parts = [call.optionalTensor("prepend"), x, call.optionalTensor("append")]
      x = try builder.concatenated(parts.compactMap { $0 }, dimension)
      let count = x.sizes[dimension] - 1
      return try builder.difference(
        builder.sliced(x, dimension, start: 1, count: count),
        builder.sliced(x, dimension, start: 0, count: count))
    },
    "aten.concat.default": { builder, call in
      let tensors = try call.tensors("tensors")
      return try builder.concatenated(
        tensors, call.dimension("dim", rank: tensors[0].rank, default: 0))
    },
    "aten.stack.default": { builder, call in
      let tensors = try call.tensors("tensors")
      let dimension = try call.dimension("dim", rank: tensors[0].rank + 1, default: 0)
      return try builder.concatenated(
        tensors.map { builder.unsqueezed($0, dimension) }, dimension)
    },
  ])
}

extension TensorBuilder {
  mutating func selected(
    _ x: ImportedTensor, _ dimension: Int, _ index: Int
  ) throws -> ImportedTensor {
    squeezed(try sliced(x, dimension, start: index, count: 1), [dimension])
  }

  mutating func concatenated(
    _ tensors: [ImportedTensor], _ dimension: Int
  ) throws -> ImportedTensor {
    if tensors.count == 1 { return tensors[0] }
    let batch = tensors.compactMap(\.batch).first
    guard batch?.axis != dimension else {
      throw ImportFailure.mixing("it joins tensors along the dimension of the samples")
    }
    var tensors = tensors
    let total = tensors.reduce(0) { $0 + $1.sizes[dimension] }
    var sizes = tensors[0].sizes
    if batch != nil {
      // All that is shared has a row for each sample.
      var matched: [ImportedTensor] = []
      for tensor in tensors {
        var like = scalar(0)
        like.sizes = sizes.map { _ in 1 }
        like.batch = batch
        matched.append(try self.matched([tensor, like]).operands[0])
      }
      tensors = matched
      sizes[batch!.axis] = batch!.outer * samples * batch!.inner
    }
    sizes[dimension] = total
    let kind = tensors.contains { $0.kind == .real } ? ImportedTensor.Kind.real : tensors[0].kind
    let largest = tensors.max { $0.sampleShape.reduce(1, *) < $1.sampleShape.reduce(1, *) }!
    let axis = largest.sampleAxis(dimension)
    let constants = tensors.compactMap { tensor in
      tensor.constants.map { ($0, tensor.sizes[dimension]) }
    }
    if constants.count == tensors.count {
      let outer = largest.sampleShape[..<axis].reduce(1, *)
      return ImportedTensor(
        sizes: sizes, batch: batch, kind: kind,
        storage: .constant(ConstantViews.joined(constants, outer: outer)))
    }
    let order = largest.order
    var inputs: [ValueID] = []
    for tensor in tensors { inputs.append(try stored(real(tensor), order)) }
    let place = order.firstIndex(of: axis)!
    return made(
      try apply(Concatenate(axis: place), inputs), sizes, batch, order: order, kind: kind)
  }
}
