import GraphModule
import TensorModule

/// What is put where indices say.
extension Operators {
  static let scattering = single([
    "aten.index_add.default": { builder, call in
      let (x, source) = (try call.tensor("self"), try call.tensor("source"))
      let dimension = try call.dimension("dim", rank: x.rank)
      let added = try builder.added(
        source, dimension, builder.wholeNumbers(call.tensor("index")), to: x.sizes[dimension])
      return try builder.sum(x, added, factor: call.real("alpha", default: 1))
    },
    "aten.index_copy.default": { builder, call in
      let x = try call.tensor("self")
      let dimension = try call.dimension("dim", rank: x.rank)
      return try builder.replaced(
        x, dimension, builder.wholeNumbers(call.tensor("index")), by: call.tensor("source"))
    },
    "aten.index_fill.int_Scalar": { builder, call in
      let x = try call.tensor("self")
      let dimension = try call.dimension("dim", rank: x.rank)
      return try builder.replaced(
        x, dimension, builder.wholeNumbers(call.tensor("index")),
        by: builder.scalar(call.real("value")))
    },
    "aten.scatter_add.default": { builder, call in
      let x = try call.tensor("self")
      return try builder.sum(x, builder.scattered(call, call.tensor("src"), like: x))
    },
    "aten.scatter.src": { try $0.scattered($1, by: $1.tensor("src")) },
    "aten.scatter.value": { try $0.scattered($1, by: $0.scalar($1.real("value"))) },
    "aten.select_scatter.default": { builder, call in
      let x = try call.tensor("self")
      let dimension = try call.dimension("dim", rank: x.rank)
      let index = try call.integer("index")
      let source = builder.unsqueezed(try call.tensor("src"), dimension)
      return try builder.replaced(
        x, dimension, [index < 0 ? index + x.sizes[dimension] : index], by: source)
    },
    "aten.slice_scatter.default": { builder, call in
      let (x, source) = (try call.tensor("self"), try call.tensor("src"))
      let dimension = try call.dimension("dim", rank: x.rank, default: 0)
      // All of it, of the samples too.
      if source.sizes == x.sizes { return builder.with(source, kind: x.kind) }
      guard source.rank == x.rank else {
        throw ImportFailure("\(source.sizes) in place of a part of \(x.sizes)")
      }
      let count = source.sizes[dimension]
      let (start, step) = try call.slice(of: x.sizes[dimension], count: count)
      return try builder.replaced(
        x, dimension, (0..<count).map { start + $0 * step }, by: source)
    },
    "aten.index_put.default": { builder, call in
      let (x, indices) = (try call.tensor("self"), try call.optionalTensors("indices"))
      let places = indices.indices.filter { indices[$0] != nil }
      guard places.count == 1, let index = indices[places[0]], index.rank == 1 else {
        throw ImportFailure("numbers put at indices of several dimensions at once")
      }
      var own = try builder.wholeNumbers(index)
      if index.kind == .boolean { own = own.indices.filter { own[$0] != 0 } }
      let values = try call.tensor("values")
      if try call.bool("accumulate", default: false) {
        var sizes = x.sizes
        sizes[places[0]] = own.count
        let added = try builder.added(
          builder.expanded(values, sizes), places[0], own, to: x.sizes[places[0]])
        return try builder.sum(x, added)
      }
      return try builder.replaced(x, places[0], own, by: values)
    },
  ])
}

extension TensorBuilder {
  private func inside(_ indices: [Int], _ size: Int) throws -> [Int] {
    let own = indices.map { $0 < 0 ? $0 + size : $0 }
    guard own.allSatisfy((0..<size).contains) else {
      throw ImportFailure("an index beyond \(size) entries")
    }
    return own
  }

  /// Entries of a dimension added up where indices say, in one of so many entries.
  mutating func added(
    _ x: ImportedTensor, _ dimension: Int, _ indices: [Int], to size: Int
  ) throws -> ImportedTensor {
    let indices = try inside(indices, size)
    guard x.sizes.indices.contains(dimension), indices.count == x.sizes[dimension] else {
      throw ImportFailure("\(indices.count) indices for \(x.sizes)")
    }
    return try mapped(x, dimension, adding: indices, to: size)
  }

  /// Entries of a dimension replaced, the last of several at the same index.
  mutating func replaced(
    _ x: ImportedTensor, _ dimension: Int, _ indices: [Int], by source: ImportedTensor
  ) throws -> ImportedTensor {
    guard x.batch?.axis != dimension else {
      throw ImportFailure.mixing("it replaces samples, dimension \(dimension)")
    }
    let size = x.sizes[dimension]
    let indices = try inside(indices, size)
    var last: [Int?] = Array(repeating: nil, count: try Self.constantCount([size]))
    for (place, index) in indices.enumerated() { last[index] = place }
    let isNew = ImportedTensor(
      sizes: [size] + [Int](repeating: 1, count: x.rank - dimension - 1), batch: nil,
      kind: .boolean, storage: .constant(last.map { $0 == nil ? 0 : 1 }))
    var sizes = x.sizes
    if source.padded(to: x.rank).sizes[dimension] == 1 {
      var result = try chosen(isNew, source, x)
      result.kind = x.kind
      return result
    }
    sizes[dimension] = indices.count
    let rows = try expanded(source, sizes)
    let moved =
      rows.constants != nil && x.constants != nil
      ? try taken(rows, dimension, last.map { $0 ?? 0 })
      : try mapped(rows, dimension, taking: last)
    if x.constants?.allSatisfy({ $0 == 0 }) == true, moved.constants == nil,
      moved.batch == x.batch
    {
      return moved
    }
    var result = try chosen(isNew, moved, x)
    result.kind = x.kind
    return result
  }

  /// What `scatter_add` adds to zeros.
  fileprivate mutating func scattered(
    _ call: OperatorCall, _ source: ImportedTensor, like x: ImportedTensor
  ) throws -> ImportedTensor {
    let index = try call.tensor("index")
    let dimension = try call.dimension("dim", rank: x.rank)
    let own = try fitted(source, to: index, like: x, dimension)
    if let columns = try commonColumns(index, dimension) {
      return try added(own, dimension, columns, to: x.sizes[dimension])
    }
    guard own.batch == index.batch else {
      throw ImportFailure.mixing("a scatter whose indices are not each sample's own")
    }
    let (places, isValid) = try indices(index, below: x.sizes[dimension])
    var sizes = own.sizes
    sizes[dimension] = x.sizes[dimension]
    let axis = own.sampleAxis(dimension)
    let values = try guarded(own, isValid, behind: 0)
    return made(
      try apply(
        Scatter(axis: axis, size: x.sizes[dimension]), [canonical(real(values)), places]),
      sizes, own.batch)
  }

  /// Numbers in place of those that indices choose.
  fileprivate mutating func scattered(
    _ call: OperatorCall, by source: ImportedTensor
  ) throws -> ImportedTensor {
    guard !call.has("reduce") else { throw ImportFailure("a scatter with a reduction") }
    let (x, index) = (try call.tensor("self"), try call.tensor("index"))
    let dimension = try call.dimension("dim", rank: x.rank)
    var own = try fitted(source, to: index, like: x, dimension)
    if let columns = try commonColumns(index, dimension) {
      return try replaced(x, dimension, columns, by: own)
    }
    // One index for each row: where it is.
    guard index.sizes[dimension] == 1 else {
      throw ImportFailure("several indices of each row that the data choose")
    }
    let (places, isValid) = try indices(index, below: x.sizes[dimension])
    own = try guarded(own, isValid, behind: 0)
    let place =
      index.constants == nil ? made(places, index.sizes, index.batch, kind: .integer) : index
    var isNew = try oneHot(squeezed(place, [dimension]), x.sizes[dimension])
    isNew = permuted(
      isNew, (0..<dimension) + [isNew.rank - 1] + (dimension..<isNew.rank - 1))
    return with(try chosen(isNew, own, x), kind: x.kind)
  }

  /// The entries of a source that an index is about, `source[i]` for every i of the index: PyTorch
  /// repeats neither, and leaves the rest of both as it is.
  private mutating func fitted(
    _ source: ImportedTensor, to index: ImportedTensor, like x: ImportedTensor, _ dimension: Int
  ) throws -> ImportedTensor {
    guard ![x, index, source].contains(where: { $0.batch?.axis == dimension }) else {
      throw ImportFailure.mixing("a scatter over the samples")
    }
    guard index.rank == x.rank,
      x.sizes.indices.allSatisfy({ $0 == dimension || index.sizes[$0] == x.sizes[$0] })
    else { throw ImportFailure("a scatter of \(index.sizes) into a part of \(x.sizes)") }
    if source.rank == 0 { return try expanded(source, index.sizes) }
    guard source.rank == x.rank, zip(source.sizes, index.sizes).allSatisfy({ $0 >= $1 }) else {
      throw ImportFailure("a scatter of \(source.sizes) by indices \(index.sizes)")
    }
    var own = source
    for axis in own.sizes.indices where own.sizes[axis] != index.sizes[axis] {
      own = try sliced(own, axis, start: 0, count: index.sizes[axis])
    }
    return own
  }

  /// Constant indices that are the same in all other places.
  private func commonColumns(_ index: ImportedTensor, _ dimension: Int) throws -> [Int]? {
    guard index.constants != nil else { return nil }
    let axis = index.sampleAxis(dimension)
    let shape = index.sampleShape
    let rest = shape.indices.filter { $0 != axis }
    let numbers = ConstantViews.permuted(
      try wholeNumbers(index).map(Double.init), shape: shape, to: rest + [axis])
    let length = shape[axis]
    guard length > 0, numbers.indices.allSatisfy({ numbers[$0] == numbers[$0 % length] }) else {
      return nil
    }
    return numbers.prefix(length).map { Int($0) }
  }
}
