import GraphModule

extension TensorBuilder {
  mutating func difference(_ a: ImportedTensor, _ b: ImportedTensor) throws -> ImportedTensor {
    try sum(a, b, factor: -1)
  }

  mutating func extreme(
    _ comparison: Comparison.Kind, _ a: ImportedTensor, _ b: ImportedTensor
  ) throws -> ImportedTensor {
    try chosen(compared(comparison, a, b), a, b)
  }

  mutating func softmax(
    _ x: ImportedTensor, _ dimension: Int, isLogarithm: Bool = false
  ) throws -> ImportedTensor {
    guard x.batch?.axis != dimension else {
      throw ImportFailure.mixing("a softmax over dimension \(dimension), that of the samples")
    }
    let x = try real(x)
    // The operation works along the last axis.
    let order = x.order
    let axis = x.sampleAxis(dimension)
    let last = order.filter { $0 != axis } + [axis]
    let shape = x.sampleShape
    let rows = last.dropLast().map { shape[$0] }.filter { $0 > 1 }
    let input = try reshaped(stored(x, last), to: rows + [shape[axis]])
    return made(
      try apply(Softmax(isLogarithm: isLogarithm), [input]), x.sizes, x.batch, order: last)
  }
}
