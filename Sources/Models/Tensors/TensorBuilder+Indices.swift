import GraphModule
import TensorModule

// Whole numbers that choose: constants, inputs of the network, or computed from either.
extension TensorBuilder {
  /// Indices that the program itself brings.
  func wholeNumbers(_ tensor: ImportedTensor) throws -> [Int] {
    guard let values = tensor.constants, values.allSatisfy({ abs($0) < 1e15 }) else {
      throw ImportFailure("indices that are computed from the data are not supported here")
    }
    return values.map { Int($0) }
  }

  /// The tensor as indices in the order of the sample's axes, and where it is out of bounds, if anything
  /// may be: PyTorch raises an error then, which a graph cannot.
  mutating func indices(
    _ tensor: ImportedTensor, below bound: Int
  ) throws -> (id: ValueID, isValid: ImportedTensor?) {
    guard tensor.kind == .integer else { throw ImportFailure("an index that is no whole number") }
    let shape = tensor.sampleShape
    if tensor.constants != nil {
      let values = try wholeNumbers(tensor).map { $0 < 0 ? $0 + bound : $0 }
      guard values.allSatisfy((0..<bound).contains) else {
        throw ImportFailure("an index beyond \(bound) entries")
      }
      return (
        try apply(
          Constant(values.map(Double.init), shape: shape, element: .index(bound: bound)), []), nil
      )
    }
    if case .node(let id, let order) = tensor.storage, graph.isInput(id),
      order.filter({ shape[$0] > 1 }).sorted() == order.filter({ shape[$0] > 1 }),
      case .index = graph.type(id).element
    {
      graph.limitIndex(id, below: bound)
      return (try reshaped(id, to: shape), nil)
    }
    let numbers = try real(tensor)
    let inside = try product(
      compared(.greaterOrEqual, numbers, scalar(0)), compared(.less, numbers, scalar(Double(bound)))
    )
    return (try apply(WholeNumbers(below: bound), [canonical(numbers)]), inside)
  }

  /// `values` where the indices were good for something, NaN elsewhere.
  mutating func guarded(
    _ values: ImportedTensor, _ isValid: ImportedTensor?, behind dimensions: Int
  ) throws -> ImportedTensor {
    guard var isValid else { return values }
    for _ in 0..<dimensions { isValid = unsqueezed(isValid, isValid.rank) }
    return try chosen(isValid, values, scalar(.nan))
  }

  mutating func embedding(
    _ table: ImportedTensor, _ index: ImportedTensor, padding: Int
  ) throws -> ImportedTensor {
    guard table.rank == 2, table.batch == nil else {
      throw ImportFailure("a table \(table.sizes)")
    }
    let (rows, columns) = (table.sizes[0], table.sizes[1])
    let shape = index.sampleShape
    let (indices, isValid) = try indices(index, below: rows)
    // As positions: dimensions of 1 are none.
    let flat = try reshaped(indices, to: shape.filter { $0 > 1 })
    var id =
      if let own = table.wholeParameter {
        try apply(Embedding(), [flat], [own])
      } else { try apply(Lookup(), [canonical(real(table)), flat]) }
    if padding >= 0, table.constants == nil {
      id = try apply(Detach(index: padding), [id, flat])
    }
    let values = made(
      try reshaped(id, to: shape + [columns]), index.sizes + [columns], index.batch)
    return try guarded(values, isValid, behind: 1)
  }

  /// Where along a dimension the largest or smallest entry is.
  mutating func extremePlace(
    _ x: ImportedTensor, _ dimension: Int?, isMaximum: Bool, keeps: Bool
  ) throws -> ImportedTensor {
    guard let dimension else {
      guard x.batch == nil else {
        throw ImportFailure.mixing("the place of an extreme over all dimensions")
      }
      return try extremePlace(
        viewed(x, [x.sizes.reduce(1, *)]), 0, isMaximum: isMaximum, keeps: false)
    }
    guard x.batch?.axis != dimension else {
      throw ImportFailure.mixing("the place of an extreme over the samples")
    }
    let x = try real(x)
    let axis = x.sampleAxis(dimension)
    let last = x.order.filter { $0 != axis } + [axis]
    let id = try apply(ExtremePlace(isMaximum: isMaximum), [stored(x, last)])
    var sizes = x.sizes
    sizes[dimension] = 1
    let shape = ImportedTensor.sampleShape(sizes, x.batch)
    let result = made(
      try reshaped(id, to: last.map { shape[$0] }), sizes, x.batch, order: last, kind: .integer)
    return keeps ? result : squeezed(result, [dimension])
  }

  /// `index == 0 ..< count` along a new last dimension.
  mutating func oneHot(_ index: ImportedTensor, _ count: Int) throws -> ImportedTensor {
    let numbers = (0..<(try Self.constantCount([count]))).map(Double.init)
    let classes = ImportedTensor(
      sizes: [count], batch: nil, kind: .integer, storage: .constant(numbers))
    var result = try compared(.equal, unsqueezed(real(index), index.rank), classes)
    result.kind = .integer
    return result
  }
}
