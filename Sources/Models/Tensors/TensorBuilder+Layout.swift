import GraphModule
import TensorModule

// Tensors as values of the graph, in the order that is asked for, and their views.
extension TensorBuilder {
  /// The result of an operation on values in the order `order` of the sample's axes.
  func made(
    _ id: ValueID, _ sizes: [Int], _ batch: ImportedTensor.BatchPlace?, order: [Int]? = nil,
    kind: ImportedTensor.Kind = .real
  ) -> ImportedTensor {
    let axes = Array(ImportedTensor.sampleShape(sizes, batch).indices)
    return ImportedTensor(
      sizes: sizes, batch: batch, kind: kind, storage: .node(id, order: order ?? axes))
  }

  /// The numbers of one sample with axis k of what comes back `order[k]` of the sample.
  mutating func stored(_ tensor: ImportedTensor, _ order: [Int]) throws -> ValueID {
    let shape = tensor.sampleShape
    let target = order.map { shape[$0] }
    switch tensor.storage {
    case .constant(let values):
      return try constant(ConstantViews.permuted(values, shape: shape, to: order), target)
    case .parameter(let parameter, let own):
      return try reordered(parameterValue(parameter), shape, from: own, to: order)
    case .sampleNumbers: throw ImportFailure.mixing("it computes with the numbers of samples")
    case .node(let id, let own):
      return try reordered(id, shape, from: own, to: order)
    }
  }

  /// The same without axes of length 1: passes over graphs look for values in the shape in which they
  /// are made.
  mutating func compact(_ tensor: ImportedTensor, _ order: [Int]) throws -> ValueID {
    let shape = tensor.sampleShape
    return try reshaped(stored(tensor, order), to: order.map { shape[$0] }.filter { $0 > 1 })
  }

  /// Dimensions of 1 in front are none of the constant itself.
  mutating func constant(
    _ values: [Double], _ shape: [Int], _ element: ValueType.Element = .real
  ) throws -> ValueID {
    let own = Array(shape.drop { $0 == 1 })
    return try reshaped(apply(Constant(values, shape: own, element: element), []), to: shape)
  }

  private mutating func reordered(
    _ id: ValueID, _ shape: [Int], from own: [Int], to order: [Int]
  ) throws -> ValueID {
    let target = order.map { shape[$0] }
    // Axes of length 1 are nowhere.
    let (long, wanted) = (own.filter { shape[$0] > 1 }, order.filter { shape[$0] > 1 })
    if long == wanted { return try reshaped(id, to: target) }
    var source = try reshaped(id, to: long.map { shape[$0] })
    if graph.type(source).element != .real { source = try apply(Cast(), [source]) }
    // Axes that stay beside each other are one.
    var runs: [[Int]] = []
    for axis in wanted {
      if let last = runs.last?.last, let place = long.firstIndex(of: last),
        place + 1 < long.count, long[place + 1] == axis
      {
        runs[runs.count - 1].append(axis)
      } else {
        runs.append([axis])
      }
    }
    let places = runs.map { long.firstIndex(of: $0[0])! }
    let sorted = places.sorted()
    // Heads of attention are found by the axes that they have.
    if runs.count < long.count, runs.count != 3 || long.count != 3 {
      source = try reshaped(
        source,
        to: sorted.map { place in runs[places.firstIndex(of: place)!].reduce(1) { $0 * shape[$1] } }
      )
    }
    let axes = places.map { sorted.firstIndex(of: $0)! }
    return try reshaped(apply(View(.permute(axes)), [source]), to: target)
  }

  mutating func canonical(_ tensor: ImportedTensor) throws -> ValueID {
    try stored(tensor, Array(tensor.sampleShape.indices))
  }

  /// The tensor with values that have derivatives: whole numbers and booleans become numbers.
  mutating func real(_ tensor: ImportedTensor) throws -> ImportedTensor {
    guard case .node(let id, let order) = tensor.storage, graph.type(id).element != .real else {
      return tensor
    }
    var result = tensor
    result.storage = .node(try apply(Cast(), [id]), order: order)
    return result
  }

  // MARK: - Views

  func permuted(_ tensor: ImportedTensor, _ dimensions: [Int]) -> ImportedTensor {
    let sizes = dimensions.map { tensor.sizes[$0] }
    var batch = tensor.batch
    // Axes of a sample in their new order.
    var axes: [Int] = []
    for (place, dimension) in dimensions.enumerated() {
      if let own = tensor.batch, own.axis == dimension {
        batch?.axis = place
        axes += [own.axis, own.axis + 1]
      } else {
        axes.append(tensor.sampleAxis(dimension))
      }
    }
    var result = tensor
    (result.sizes, result.batch) = (sizes, batch)
    let place = { (axis: Int) in axes.firstIndex(of: axis)! }
    switch tensor.storage {
    case .constant(let values):
      result.storage = .constant(
        ConstantViews.permuted(values, shape: tensor.sampleShape, to: axes))
    case .sampleNumbers: break
    case .parameter(let id, let order): result.storage = .parameter(id, order: order.map(place))
    case .node(let id, let order): result.storage = .node(id, order: order.map(place))
    }
    return result
  }

  func transposed(_ tensor: ImportedTensor, _ a: Int, _ b: Int) -> ImportedTensor {
    if tensor.rank == 0 { return tensor }
    var order = Array(0..<tensor.rank)
    order.swapAt(a, b)
    return permuted(tensor, order)
  }

  /// Row-major numbers in another shape.
  mutating func viewed(_ tensor: ImportedTensor, _ sizes: [Int]) throws -> ImportedTensor {
    if sizes == tensor.sizes { return tensor }
    let batch = try batchPlace(tensor, sizes)
    let shape = ImportedTensor.sampleShape(sizes, batch)
    guard shape.reduce(1, *) == tensor.sampleShape.reduce(1, *) else {
      throw ImportFailure("the shape \(tensor.sizes) does not fit into \(sizes)")
    }
    var result = tensor
    (result.sizes, result.batch) = (sizes, batch)
    if case .constant = tensor.storage { return result }
    // Of whole numbers too: nothing moves where they lie in order.
    return made(try reshaped(canonical(tensor), to: shape), sizes, batch, kind: tensor.kind)
  }

  /// Where the batch is in another shape of the same numbers.
  private func batchPlace(
    _ tensor: ImportedTensor, _ sizes: [Int]
  ) throws -> ImportedTensor.BatchPlace? {
    guard let batch = tensor.batch else { return nil }
    let before = tensor.sizes[..<batch.axis].reduce(1, *) * batch.outer
    let after = batch.inner * tensor.sizes[(batch.axis + 1)...].reduce(1, *)
    for (axis, size) in sizes.enumerated() {
      let front = sizes[..<axis].reduce(1, *)
      guard front > 0, before % front == 0 else { continue }
      let outer = before / front
      guard size > 0, size % (outer * samples) == 0 else { continue }
      let inner = size / (outer * samples)
      if inner * sizes[(axis + 1)...].reduce(1, *) == after {
        return .init(axis: axis, outer: outer, inner: inner)
      }
    }
    throw ImportFailure.mixing(
      "no dimension of \(sizes) runs over the samples of \(tensor.sizes) in their order")
  }

  func unsqueezed(_ tensor: ImportedTensor, _ dimension: Int) -> ImportedTensor {
    var sizes = tensor.sizes
    sizes.insert(1, at: dimension)
    var batch = tensor.batch
    if let own = tensor.batch, own.axis >= dimension { batch?.axis += 1 }
    let new = batch.map { $0.axis < dimension ? dimension + 1 : dimension } ?? dimension
    return tensor.with(sizes: sizes, batch: batch, new: [new]) { $0 >= new ? $0 + 1 : $0 }
  }

  /// Without dimensions of length 1; others stay.
  func squeezed(_ tensor: ImportedTensor, _ dimensions: [Int]) -> ImportedTensor {
    var result = tensor
    for dimension in Set(dimensions).sorted(by: >)
    where result.sizes[dimension] == 1 && result.batch?.axis != dimension {
      let axis = result.sampleAxis(dimension)
      var sizes = result.sizes
      sizes.remove(at: dimension)
      var batch = result.batch
      if let own = batch, own.axis > dimension { batch?.axis -= 1 }
      let order = result.order.filter { $0 != axis }.map { $0 > axis ? $0 - 1 : $0 }
      switch result.storage {
      case .constant, .sampleNumbers: break
      case .parameter(let id, _): result.storage = .parameter(id, order: order)
      case .node(let id, _): result.storage = .node(id, order: order)
      }
      (result.sizes, result.batch) = (sizes, batch)
    }
    return result
  }

  /// Entries of one dimension of every sample.
  mutating func sliced(
    _ tensor: ImportedTensor, _ dimension: Int, start: Int, step: Int = 1, count: Int
  ) throws -> ImportedTensor {
    guard tensor.batch?.axis != dimension else {
      throw ImportFailure.mixing("it picks samples, dimension \(dimension) of \(tensor.sizes)")
    }
    if start == 0, step == 1, count == tensor.sizes[dimension] { return tensor }
    guard count > 0 else { throw ImportFailure("nothing is left of dimension \(dimension)") }
    let size = tensor.sizes[dimension]
    let (reach, overflows) = step.multipliedReportingOverflow(by: count - 1)
    guard step != 0, !overflows, (0..<size).contains(start), (-size..<size).contains(reach),
      (0..<size).contains(start + reach)
    else {
      throw ImportFailure("\(count) entries from \(start) on are not in a dimension of \(size)")
    }
    var sizes = tensor.sizes
    sizes[dimension] = count
    let axis = tensor.sampleAxis(dimension)
    if let values = tensor.constants {
      let shape = tensor.sampleShape
      var (target, strides) = (shape, rowMajorStrides(shape))
      let offset = start * strides[axis]
      target[axis] = count
      strides[axis] *= step
      var result = tensor
      result.sizes = sizes
      result.storage = .constant(
        ConstantViews.strided(values, offset: offset, shape: target, strides: strides))
      return result
    }
    let order = tensor.order
    let place = order.firstIndex(of: axis)!
    let shape = tensor.sampleShape
    let long = order.filter { shape[$0] > 1 }
    if long.count == 2, long[0] == axis {
      // Rows: passes over graphs find those that nothing reads.
      let numbers = try real(tensor)
      let rows = try apply(
        Take((0..<count).map { start + $0 * step }), [compact(numbers, order)])
      return made(rows, sizes, tensor.batch, order: order, kind: tensor.kind)
    }
    let id = try alongAxis(real(tensor), place) { axis in
      View(.slice(axis: axis, start: start, step: step, count: count))
    }
    return made(id, sizes, tensor.batch, order: order, kind: tensor.kind)
  }

  /// An operation along one stored axis, on `[before, axis, behind]`.
  mutating func alongAxis(
    _ tensor: ImportedTensor, _ place: Int, _ operation: (_ axis: Int) -> some GraphModule.Operation
  ) throws -> ValueID {
    let id = try stored(tensor, tensor.order)
    let shape = graph.type(id).shape
    let flat = [
      shape[..<place].reduce(1, *), shape[place], shape[(place + 1)...].reduce(1, *),
    ]
    let result = try apply(operation(1), [reshaped(id, to: flat)])
    var target = shape
    target[place] = graph.type(result).shape[1]
    return try reshaped(result, to: target)
  }

  /// Numbers of one of a sample's `inner` rows, which all have the same.
  private mutating func repeatedInside(
    _ tensor: ImportedTensor, _ inner: Int
  ) throws -> ImportedTensor {
    guard let batch = tensor.batch, inner > 1 else { return tensor }
    let shape = tensor.sampleShape
    var one = shape
    one[batch.axis + 1] = 1
    var result = tensor
    if let values = tensor.constants {
      let strides = broadcastStrides(one, to: shape) ?? []
      result.storage = .constant(ConstantViews.strided(values, shape: shape, strides: strides))
      return result
    }
    var single = tensor
    single.batch?.inner = 1
    let order = single.order
    let source = try stored(real(single), order)
    return made(
      try apply(View(.expand(order.map { shape[$0] })), [source]), tensor.sizes, batch,
      order: order, kind: tensor.kind)
  }

  /// Repeated along dimensions of length 1 and new ones in front.
  mutating func expanded(_ tensor: ImportedTensor, _ sizes: [Int]) throws -> ImportedTensor {
    var result = tensor.padded(to: max(sizes.count, tensor.rank))
    var target = sizes
    for axis in target.indices where target[axis] == -1 { target[axis] = result.sizes[axis] }
    if target == result.sizes { return result }
    // Every sample has the same.
    if result.batch == nil,
      let axis = target.indices.first(where: {
        target[$0] == samples && result.sizes[$0] == 1
          && ($0 == 0 || isSymbolic)
      })
    {
      result = result.repeated(along: axis)
      result.sizes[axis] = target[axis]
    } else if result.batch == nil,
      let axis = target.indices.first(where: {
        isSymbolic && target[$0] % samples == 0 && result.sizes[$0] == 1
      })
    {
      // Several of each sample, all the same: their order says nothing.
      let inner = target[axis] / samples
      result = result.repeated(along: axis)
      result.batch?.inner = inner
      result.sizes[axis] = target[axis]
      result = try repeatedInside(result, inner)
    }
    if target == result.sizes { return result }
    var shape = target
    if let batch = result.batch {
      guard target[batch.axis] == result.sizes[batch.axis] else {
        throw ImportFailure.mixing("the dimension of samples is repeated")
      }
      shape = ImportedTensor.sampleShape(target, batch)
    }
    if let values = result.constants {
      guard let strides = broadcastStrides(result.sampleShape, to: shape) else {
        throw ImportFailure("\(result.sizes) cannot be repeated to \(target)")
      }
      _ = try Self.constantCount(shape)
      result.storage = .constant(
        ConstantViews.strided(values, shape: shape, strides: strides))
      result.sizes = target
      return result
    }
    let order = result.order
    let source = try stored(real(result), order)
    let wanted = order.map { shape[$0] }
    return made(
      try apply(View(.expand(wanted)), [source]), target, result.batch, order: order,
      kind: result.kind)
  }
}
