import GraphModule
import TensorModule

/// Entries that whole numbers choose.
extension Operators {
  static let indexing = single([
    "aten.embedding.default": { importer, call in
      try importer.embedding(
        call.tensor("weight"), call.tensor("indices"),
        padding: call.integer("padding_idx", default: -1))
    },
    "aten.index_select.default": { importer, call in
      let x = try call.tensor("self")
      return try importer.taken(
        x, call.dimension("dim", rank: x.rank), importer.wholeNumbers(call.tensor("index")))
    },
    "aten.index.Tensor": { importer, call in
      try importer.indexed(call.tensor("self"), call.optionalTensors("indices"))
    },
    "aten.gather.default": { importer, call in
      try importer.gathered(call)
    },
  ])
}

extension ProgramImporter {
  /// Indices that the program itself brings.
  func wholeNumbers(_ tensor: ImportedTensor) throws -> [Int] {
    guard let values = tensor.constants, values.allSatisfy({ abs($0) < 1e15 }) else {
      throw ImportFailure("indices that are computed from the data are not supported")
    }
    return values.map { Int($0) }
  }

  mutating func embedding(
    _ table: ImportedTensor, _ index: ImportedTensor, padding: Int
  ) throws -> ImportedTensor {
    guard table.rank == 2, table.batch == nil else {
      throw ImportFailure("a table \(table.sizes)")
    }
    let (rows, columns) = (table.sizes[0], table.sizes[1])
    let shape = index.sampleShape
    let indices: ValueID
    switch index.storage {
    case .constant:
      let values = try wholeNumbers(index)
      indices = try apply(
        Constant(values.map(Double.init), shape: shape, element: .index(bound: rows)), [])
    case .node(let id, let order) where order == Array(shape.indices):
      guard case .index = graph.type(id).element else {
        throw ImportFailure("indices that are computed from the data are not supported")
      }
      graph.limitIndex(id, below: rows)
      indices = id
    default: throw ImportFailure("indices that are computed from the data are not supported")
    }
    // As positions: dimensions of 1 are none.
    let flat = try reshaped(indices, to: shape.filter { $0 > 1 })
    var id =
      if let own = table.wholeParameter {
        try apply(Embedding(), [flat], [own])
      } else { try apply(Lookup(), [canonical(real(table)), flat]) }
    if padding >= 0, table.constants == nil {
      id = try apply(Detach(index: padding), [id, flat])
    }
    return made(
      try reshaped(id, to: shape + [columns]), index.sizes + [columns], index.batch)
  }

  /// Entries of one dimension.
  mutating func taken(
    _ x: ImportedTensor, _ dimension: Int, _ indices: [Int]
  ) throws -> ImportedTensor {
    guard x.batch?.axis != dimension else {
      throw ImportFailure.mixing("it picks samples, dimension \(dimension)")
    }
    let size = x.sizes[dimension]
    let own = indices.map { $0 < 0 ? $0 + size : $0 }
    guard own.allSatisfy({ (0..<size).contains($0) }), !own.isEmpty else {
      throw ImportFailure("an index beyond \(size) entries")
    }
    if let values = x.constants {
      let axis = x.sampleAxis(dimension)
      var shape = x.sampleShape
      let strides = rowMajorStrides(shape)
      shape[axis] = 1
      var parts: [Double] = []
      // Rows in front, then in their places.
      for index in own {
        parts += ConstantViews.strided(
          values, offset: index * strides[axis], shape: shape, strides: strides)
      }
      var order = Array(shape.indices)
      order.insert(order.remove(at: axis), at: 0)
      var first = order.map { shape[$0] }
      first[0] = own.count
      var result = x
      result.sizes[dimension] = own.count
      let back = shape.indices.map { order.firstIndex(of: $0)! }
      result.storage = .constant(ConstantViews.permuted(parts, shape: first, to: back))
      return result
    }
    return try mapped(x, dimension, own.map { [.init($0)] })
  }

  /// `x[:, i]`, `x[:, i, j]` with constant indices of one shape in dimensions beside each other.
  mutating func indexed(
    _ x: ImportedTensor, _ indices: [ImportedTensor?]
  ) throws -> ImportedTensor {
    if let own = try ownRows(x, indices) { return own }
    let places = indices.indices.filter { indices[$0] != nil }
    guard let first = places.first, let last = places.last,
      places == Array(first...last)
    else { throw ImportFailure("indices that are not beside each other") }
    if let batch = x.batch, places.contains(batch.axis) {
      throw ImportFailure.mixing("an index over the samples")
    }
    // Rows of a table that the data choose.
    if places == [0], x.rank == 2, x.batch == nil, let index = indices[0], index.constants == nil {
      return try embedding(x, index, padding: -1)
    }
    let given = places.map { indices[$0]! }
    guard given.allSatisfy({ $0.kind == .integer }) else {
      throw ImportFailure("an index by a mask: the result's size depends on numbers")
    }
    let sizes = Array(x.sizes[first...last])
    // The row-major index into the joined dimensions.
    let joined = try folded(given, kind: .integer) { values in
      zip(values, sizes).reduce(0) { sum, next in
        sum * Double(next.1) + (next.0 < 0 ? next.0 + Double(next.1) : next.0)
      }
    }
    guard let joined else {
      throw ImportFailure("indices that are computed from the data are not supported")
    }
    let front = Array(x.sizes[..<first])
    let behind = Array(x.sizes[(last + 1)...])
    let flat = try viewed(x, front + [sizes.reduce(1, *)] + behind)
    let result = try taken(flat, first, wholeNumbers(joined))
    return try viewed(result, front + joined.sizes + behind)
  }

  /// `x[sample, i]` for every sample, with constant indices: entries of the sample's own rows.
  private mutating func ownRows(
    _ x: ImportedTensor, _ indices: [ImportedTensor?]
  ) throws -> ImportedTensor? {
    guard indices.count == 2, x.rank == 2, x.batch == .init(axis: 0), let samples = indices[0],
      case .sampleNumbers = samples.storage, let index = indices[1], index.batch == nil,
      let place = samples.batch?.axis, place == 0 || index.rank < samples.rank
    else { return nil }
    let sizes = index.padded(to: max(index.rank, samples.rank)).sizes
    guard sizes[place] == 1 else { return nil }
    let rows = try taken(x, 1, wholeNumbers(index))
    var result = sizes
    result[place] = self.sizes.samples
    return try viewed(rows, result)
  }

  private func gatheredConstants(
    _ x: ImportedTensor, _ index: ImportedTensor, _ dimension: Int
  ) throws -> ImportedTensor? {
    guard let values = x.constants, x.batch == nil, index.batch == nil, index.rank == x.rank,
      index.constants != nil,
      zip(index.sizes, x.sizes).enumerated().allSatisfy({
        $0.offset == dimension || $0.element.0 <= $0.element.1
      })
    else { return nil }
    let (own, strides) = (rowMajorStrides(index.sizes), rowMajorStrides(x.sizes))
    let found = try wholeNumbers(index).enumerated().map { place, entry in
      guard (0..<x.sizes[dimension]).contains(entry) else {
        throw ImportFailure("an index \(entry) beyond \(x.sizes[dimension]) entries")
      }
      let at = index.sizes.indices.reduce(0) { sum, axis in
        sum + strides[axis]
          * (axis == dimension ? entry : place / own[axis] % index.sizes[axis])
      }
      return values[at]
    }
    var result = with(x, found)
    result.sizes = index.sizes
    return result
  }

  /// Indices of one sample that are the same for all.
  mutating func gathered(_ call: OperatorCall) throws -> ImportedTensor {
    let x = try call.tensor("self")
    let index = try call.tensor("index")
    let dimension = try call.dimension("dim", rank: x.rank)
    guard x.batch?.axis != dimension else {
      throw ImportFailure.mixing("a gather over the samples")
    }
    if let result = try gatheredConstants(x, index, dimension) { return result }
    // Whole tables by the data's indices.
    guard case .node(let id, let order) = index.storage, index.batch == x.batch,
      order == Array(index.sampleShape.indices), case .index = graph.type(id).element
    else {
      throw ImportFailure("a gather is supported with indices that are an input of the network")
    }
    graph.limitIndex(id, below: x.sizes[dimension])
    let shape = index.sampleShape
    let result = try apply(
      Gather(axis: x.sampleAxis(dimension)),
      [canonical(real(x)), reshaped(id, to: shape)])
    return made(result, index.sizes, x.batch)
  }
}
