import TensorModule

/// `[rows, columns]` of one sample to `[columns, rows]`: between channels-first files and the
/// channels-last images of the engine. Rows are the first axis, or columns the last one.
package struct Transpose: Operation {
  /// Whether the last axis becomes the first; else the first becomes the last.
  package let lastToFirst: Bool
  private var rows = 0
  private var columns = 0

  package init(lastToFirst: Bool) { self.lastToFirst = lastToFirst }

  private var size: Int { rows * columns }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    guard let first = x.shape.first, let last = x.shape.last else {
      throw operands.mismatch(0, "one dimension or more")
    }
    rows = lastToFirst ? x.count / last : first
    columns = x.count / rows
    return try ValueType(
      lastToFirst ? [last] + x.shape.dropLast() : x.shape.dropFirst() + [first])
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func scratch(samples: Int, directions: Int) -> Int { size }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for n in 0..<pass.samples {
      BLAS.transpose(
        pass.value(0) + n * size, rows: rows, columns: columns, into: pass.output + n * size)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for i in 0..<pass.directions * pass.samples {
      BLAS.transpose(
        pass.tangent(0)! + i * size, rows: rows, columns: columns, into: pass.output + i * size)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    for i in 0..<pass.directions * pass.samples {
      let destination = accumulate ? pass.scratch : target + i * size
      BLAS.transpose(
        pass.cotangent + i * size, rows: columns, columns: rows, into: destination)
      if accumulate { Kernels.copy(destination, target + i * size, count: size, accumulate: true) }
    }
  }
}
