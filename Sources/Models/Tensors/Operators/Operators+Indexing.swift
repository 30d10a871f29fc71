import GraphModule
import TensorModule

/// Entries that whole numbers choose.
extension Operators {
  static let indexing = single([
    "aten.embedding.default": { builder, call in
      try builder.embedding(
        call.tensor("weight"), call.tensor("indices"),
        padding: call.integer("padding_idx", default: -1))
    },
    "aten.index_select.default": { builder, call in
      let x = try call.tensor("self")
      return try builder.taken(
        x, call.dimension("dim", rank: x.rank), builder.wholeNumbers(call.tensor("index")))
    },
    "aten.index.Tensor": { builder, call in
      try builder.indexed(call.tensor("self"), call.optionalTensors("indices"))
    },
    "aten.gather.default": { try $0.gathered($1) },
    "aten.argmax.default": { try extremePlace(&$0, $1, isMaximum: true) },
    "aten.argmin.default": { try extremePlace(&$0, $1, isMaximum: false) },
    "aten.one_hot.default": { builder, call in
      let index = try call.tensor("self")
      let count = try call.integer("num_classes", default: -1)
      guard count > 0 else { throw ImportFailure("one_hot without a number of classes") }
      return try builder.oneHot(index, count)
    },
  ])

  @Sendable private static func extremePlace(
    _ builder: inout TensorBuilder, _ call: OperatorCall, isMaximum: Bool
  ) throws -> ImportedTensor {
    let x = try call.tensor("self")
    return try builder.extremePlace(
      x, call.has("dim") ? call.dimension("dim", rank: x.rank) : nil, isMaximum: isMaximum,
      keeps: call.bool("keepdim", default: false))
  }
}

extension TensorBuilder {
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
    return try mapped(x, dimension, taking: own.lazy.map { $0 })
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
    if places == [0], x.batch == nil, let index = indices[0], index.constants == nil {
      let rows = try viewed(x, [x.sizes[0], x.sizes[1...].reduce(1, *)])
      let chosen = try embedding(rows, index, padding: -1)
      return try viewed(chosen, index.sizes + x.sizes[1...])
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
      throw ImportFailure("indices that the data choose are supported for rows of a table")
    }
    let front = Array(x.sizes[..<first])
    let behind = Array(x.sizes[(last + 1)...])
    let flat = try viewed(x, front + [sizes.reduce(1, *)] + behind)
    let result = try taken(flat, first, wholeNumbers(joined))
    return try viewed(result, front + joined.sizes + behind)
  }

  /// `x[sample, i]` for every sample: entries of the sample's own rows, by indices that are constant, or
  /// one for each sample.
  private mutating func ownRows(
    _ x: ImportedTensor, _ indices: [ImportedTensor?]
  ) throws -> ImportedTensor? {
    guard indices.count == 2, x.batch == .init(axis: 0), let samples = indices[0],
      case .sampleNumbers = samples.storage, let index = indices[1],
      let place = samples.batch?.axis
    else { return nil }
    if index.constants == nil, index.batch == .init(axis: 0), index.rank == 1, samples.rank == 1 {
      return try pickedRows(x, index)
    }
    guard x.rank == 2, index.batch == nil, place == 0 || index.rank < samples.rank else {
      return nil
    }
    let sizes = index.padded(to: max(index.rank, samples.rank)).sizes
    guard sizes[place] == 1 else { return nil }
    let rows = try taken(x, 1, wholeNumbers(index))
    var result = sizes
    result[place] = self.samples
    return try viewed(rows, result)
  }

  /// `x[n, index[n]]`, where a negative index counts from the end.
  private mutating func pickedRows(
    _ x: ImportedTensor, _ index: ImportedTensor
  ) throws -> ImportedTensor {
    let (count, rest) = (x.sizes[1], Array(x.sizes.dropFirst(2)))
    let numbers = try real(index)
    let isNegative = try compared(.less, numbers, scalar(0))
    let place = with(
      try sum(numbers, product(isNegative, scalar(Double(count)))), kind: .integer)
    let (places, isValid) = try indices(place, below: count)
    let columns = rest.reduce(1, *)
    let rows = try viewed(real(x), [x.sizes[0], count, columns])
    let table = try reshaped(canonical(rows), to: [count, columns])
    let sizes = [x.sizes[0]] + rest
    let own = try reshaped(
      apply(Lookup(), [table, places]), to: ImportedTensor.sampleShape(sizes, x.batch))
    return with(
      try guarded(made(own, sizes, x.batch), isValid, behind: rest.count), kind: x.kind)
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
    guard index.batch == x.batch, index.rank == x.rank else {
      throw ImportFailure.mixing("a gather whose indices are not each sample's own")
    }
    let (places, isValid) = try indices(index, below: x.sizes[dimension])
    let result = made(
      try apply(Gather(axis: x.sampleAxis(dimension)), [canonical(real(x)), places]),
      index.sizes, x.batch)
    return try guarded(result, isValid, behind: 0)
  }
}
