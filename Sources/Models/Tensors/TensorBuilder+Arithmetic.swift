import GraphModule
import TensorModule

// Element by element, repeated to one shape, and reductions.
extension TensorBuilder {
  // MARK: - One operand

  mutating func unary(_ function: ElementFunction, _ x: ImportedTensor) throws -> ImportedTensor {
    let x = try real(x)
    return made(
      try apply(Activation(function), [compact(x, x.order)]), x.sizes, x.batch, order: x.order)
  }

  /// A function of the table by its name there.
  mutating func unary(
    _ name: String, _ x: ImportedTensor, _ options: Double...
  ) throws -> ImportedTensor {
    guard var function = ElementFunction(name) else {
      throw ImportFailure("the function \(name) is not supported")
    }
    for (option, value) in options.enumerated() { function = function.with(option, value) }
    return try unary(function, x)
  }

  mutating func scaled(_ x: ImportedTensor, by factor: Double) throws -> ImportedTensor {
    if factor == 1 { return x }
    if let values = x.constants {
      return with(x, values.map { $0 * factor })
    }
    let x = try real(x)
    return made(
      try apply(Scale(factor: factor), [compact(x, x.order)]), x.sizes, x.batch, order: x.order)
  }

  func with(
    _ x: ImportedTensor, _ values: [Double], kind: ImportedTensor.Kind? = nil
  ) -> ImportedTensor {
    var result = x
    result.storage = .constant(values)
    if let kind { result.kind = kind }
    return result
  }

  func with(_ x: ImportedTensor, kind: ImportedTensor.Kind) -> ImportedTensor {
    var result = x
    result.kind = kind
    return result
  }

  func scalar(_ value: Double, kind: ImportedTensor.Kind = .real) -> ImportedTensor {
    ImportedTensor(sizes: [], batch: nil, kind: kind, storage: .constant([value]))
  }

  // MARK: - Two operands

  /// Operands with as many dimensions and axes of a sample each, and the sizes of the result.
  func matched(
    _ operands: [ImportedTensor]
  ) throws -> (operands: [ImportedTensor], sizes: [Int], batch: ImportedTensor.BatchPlace?) {
    let rank = operands.map(\.rank).max() ?? 0
    var operands = operands.map { $0.padded(to: rank) }
    // Dimensions of samples, but for those of one. Where a constant is the same along its own, it may be
    // anywhere.
    let own = operands.filter { $0.constants == nil }.compactMap(\.batch)
    if let first = own.first {
      operands = operands.map { operand in
        guard let batch = operand.batch, batch != first, operand.constants != nil else {
          return operand
        }
        return withoutSamples(operand) ?? operand
      }
    }
    let places = operands.compactMap(\.batch)
    let batch = own.first ?? places.first
    if places.contains(where: { $0 != batch }) {
      throw ImportFailure.mixing("its operands have their samples in different dimensions")
    }
    if let batch {
      operands = try operands.map { operand in
        if operand.batch != nil { return operand }
        if operand.sizes[batch.axis] == 1 { return operand.repeated(along: batch.axis) }
        if let row = equalRow(operand, batch.axis) { return row.repeated(along: batch.axis) }
        throw ImportFailure.mixing(
          "an operand \(operand.sizes) has a row of its own for each sample")
      }
    }
    var sizes = [Int](repeating: 1, count: rank)
    for operand in operands {
      for (axis, size) in operand.sizes.enumerated() where axis != batch?.axis {
        guard size == 1 || sizes[axis] == 1 || size == sizes[axis] else {
          throw ImportFailure("\(operands.map(\.sizes)) cannot be repeated to one shape")
        }
        sizes[axis] = max(sizes[axis], size)
      }
    }
    if let batch { sizes[batch.axis] = batch.outer * samples * batch.inner }
    return (operands, sizes, batch)
  }

  /// A constant that is the same along its dimension of samples, with 1 in its place.
  private func withoutSamples(_ tensor: ImportedTensor) -> ImportedTensor? {
    guard let values = tensor.constants, let batch = tensor.batch else { return nil }
    let shape = tensor.sampleShape
    var one = shape
    (one[batch.axis], one[batch.axis + 1]) = (1, 1)
    let strides = rowMajorStrides(shape)
    let first = ConstantViews.strided(values, shape: one, strides: strides)
    guard let repeated = broadcastStrides(one, to: shape),
      ConstantViews.strided(first, shape: shape, strides: repeated) == values
    else { return nil }
    var result = with(tensor, first)
    result.sizes[batch.axis] = 1
    result.batch = nil
    return result
  }

  /// One of the equal rows of a constant that a static program has for every sample.
  private func equalRow(_ tensor: ImportedTensor, _ axis: Int) -> ImportedTensor? {
    guard let values = tensor.constants, tensor.sizes[axis] == samples else { return nil }
    var shape = tensor.sizes
    shape[axis] = 1
    let strides = rowMajorStrides(tensor.sizes)
    let rows = (0..<tensor.sizes[axis]).map {
      ConstantViews.strided(values, offset: $0 * strides[axis], shape: shape, strides: strides)
    }
    guard rows.allSatisfy({ $0 == rows[0] }) else { return nil }
    var result = with(tensor, rows[0])
    result.sizes = shape
    return result
  }

  /// An operation on operands that are repeated to one shape, in the order of the largest.
  mutating func elementwise(
    _ operation: some GraphModule.Operation, _ operands: [ImportedTensor],
    kind: ImportedTensor.Kind = .real, areConditions: Int = 0
  ) throws -> ImportedTensor {
    let (matched, sizes, batch) = try matched(operands)
    let shape = ImportedTensor.sampleShape(sizes, batch)
    let largest = matched.max { $0.sampleShape.reduce(1, *) < $1.sampleShape.reduce(1, *) }!
    let order = largest.order
    // Axes along which nothing moves are nowhere.
    let long = order.filter { shape[$0] > 1 }
    var inputs: [ValueID] = []
    for (place, operand) in matched.enumerated() {
      let own = operand.sampleShape
      let value =
        place < areConditions
        ? try condition(operand, order) : try stored(real(operand), order)
      inputs.append(try reshaped(value, to: Array(long.map { own[$0] }.drop { $0 == 1 })))
    }
    let id = try reshaped(apply(operation, inputs), to: order.map { shape[$0] })
    return made(id, sizes, batch, order: order, kind: kind)
  }

  /// Booleans in this order.
  private mutating func condition(_ tensor: ImportedTensor, _ order: [Int]) throws -> ValueID {
    let shape = tensor.sampleShape
    if let values = tensor.constants {
      let target = order.map { shape[$0] }
      let numbers = ConstantViews.permuted(values, shape: shape, to: order)
      return try constant(numbers.map { $0 == 0 ? 0 : 1 }, target, .boolean)
    }
    let value = try stored(tensor, order)
    if graph.type(value).element == .boolean { return value }
    let zero = try apply(Constant([0], shape: []), [])
    let numbers =
      graph.type(value).element == .real ? value : try apply(Cast(), [value])
    return try apply(Comparison(.notEqual), [numbers, zero])
  }

  /// Constants stay constants.
  func folded(
    _ operands: [ImportedTensor], kind: ImportedTensor.Kind, _ function: ([Double]) -> Double
  ) throws -> ImportedTensor? {
    guard operands.allSatisfy({ $0.constants != nil }) else { return nil }
    let (matched, sizes, batch) = try matched(operands)
    let shape = ImportedTensor.sampleShape(sizes, batch)
    let columns = try matched.map { operand in
      guard let strides = broadcastStrides(operand.sampleShape, to: shape) else {
        throw ImportFailure("\(operand.sizes) cannot be repeated to \(sizes)")
      }
      return ConstantViews.strided(operand.constants!, shape: shape, strides: strides)
    }
    let values = (0..<shape.reduce(1, *)).map { i in function(columns.map { $0[i] }) }
    return ImportedTensor(sizes: sizes, batch: batch, kind: kind, storage: .constant(values))
  }

  private func kind(of operands: [ImportedTensor]) -> ImportedTensor.Kind {
    operands.contains { $0.kind == .real } ? .real : .integer
  }

  mutating func sum(
    _ a: ImportedTensor, _ b: ImportedTensor, factor: Double = 1
  ) throws -> ImportedTensor {
    let kind = kind(of: [a, b])
    if let constant = try folded([a, b], kind: kind, { $0[0] + factor * $0[1] }) {
      return constant
    }
    return try elementwise(Sum(factor: factor), [a, b], kind: kind)
  }

  mutating func product(_ a: ImportedTensor, _ b: ImportedTensor) throws -> ImportedTensor {
    let kind = kind(of: [a, b])
    if let constant = try folded([a, b], kind: kind, { $0[0] * $0[1] }) { return constant }
    for (number, other) in [(a, b), (b, a)] where number.constants?.count == 1 {
      let result = try scaled(other, by: number.constants![0])
      // A number adds no dimensions that matter.
      if number.rank <= other.rank { return result }
    }
    return try elementwise(Product(), [a, b], kind: kind)
  }

  mutating func quotient(_ a: ImportedTensor, _ b: ImportedTensor) throws -> ImportedTensor {
    if let constant = try folded([a, b], kind: .real, { $0[0] / $0[1] }) { return constant }
    if let values = b.constants {
      return try product(a, with(b, values.map { 1 / $0 }, kind: .real))
    }
    return try product(a, unary("reciprocal", b))
  }

  mutating func compared(
    _ comparison: Comparison.Kind, _ a: ImportedTensor, _ b: ImportedTensor
  ) throws -> ImportedTensor {
    let test: (Double, Double) -> Bool =
      switch comparison {
      case .equal: (==)
      case .notEqual: (!=)
      case .less: (<)
      case .lessOrEqual: (<=)
      case .greater: (>)
      case .greaterOrEqual: (>=)
      }
    if let constant = try folded([a, b], kind: .boolean, { test($0[0], $0[1]) ? 1 : 0 }) {
      return constant
    }
    return try elementwise(Comparison(comparison), [a, b], kind: .boolean)
  }

  mutating func chosen(
    _ condition: ImportedTensor, _ a: ImportedTensor, _ b: ImportedTensor
  ) throws -> ImportedTensor {
    let kind = kind(of: [a, b])
    if let constant = try folded([condition, a, b], kind: kind, { $0[0] != 0 ? $0[1] : $0[2] }) {
      return constant
    }
    // A mask that hides nothing, or all.
    if let conditions = condition.constants, let first = conditions.first,
      conditions.allSatisfy({ ($0 != 0) == (first != 0) })
    {
      let choice = first != 0 ? a : b
      let sizes = try matched([condition, a, b]).sizes
      if choice.sizes == sizes, choice.kind == kind { return choice }
    }
    return try elementwise(Where(), [condition, a, b], kind: kind, areConditions: 1)
  }

  // MARK: - Reductions

  mutating func reduced(
    _ x: ImportedTensor, _ kind: Reduction.Kind, _ dimensions: [Int], keeps: Bool
  ) throws -> ImportedTensor {
    if let batch = x.batch, dimensions.contains(batch.axis) {
      throw ImportFailure.mixing("it reduces dimension \(batch.axis), that of the samples")
    }
    let x = try real(x)
    let order = x.order
    let axes = dimensions.map { order.firstIndex(of: x.sampleAxis($0))! }
    let id = try apply(
      Reduction(kind, axes: axes.sorted(), keepsDimensions: true), [stored(x, order)])
    var sizes = x.sizes
    for dimension in dimensions { sizes[dimension] = 1 }
    let result = made(
      id, sizes, x.batch, order: order, kind: x.kind == .boolean ? .integer : x.kind)
    return keeps ? result : squeezed(result, dimensions)
  }
}
