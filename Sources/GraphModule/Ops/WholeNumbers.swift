import TensorModule

/// Whole numbers that were computed as numbers, as indices below a bound. What is beyond the bounds is
/// taken for the nearest index: who looks something up has to say what that is worth.
package struct WholeNumbers: Operation {
  package let bound: Int
  private var count = 1

  package init(below bound: Int) { self.bound = bound }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    count = x.count
    // Single precision has all whole numbers up to here.
    guard (1...1 << 24).contains(bound) else {
      throw GraphError(.option("bound", expected: "a positive number, at most 2^24"))
    }
    return try ValueType(x.shape, .index(bound: bound))
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let x = pass.value(0)
    let largest = S(bound - 1)
    for i in 0..<pass.samples * count {
      // NaN is no number of anything, and the first index.
      let value = x[i] > 0 ? min(x[i], largest) : 0
      pass.outputIndices[i] = min(Int32(value.rounded()), Int32(bound - 1))
    }
  }

  /// Whole numbers have no derivative.
  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {}
  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}
}

/// Where the largest or smallest entry of the last dimension is, the first of equal ones.
package struct ExtremePlace: Operation {
  package let isMaximum: Bool
  private var rows = 1
  private var columns = 1

  package init(isMaximum: Bool) { self.isMaximum = isMaximum }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    guard let last = x.shape.last else { throw operands.mismatch(0, "a dimension at least") }
    (rows, columns) = (x.count / last, last)
    return try ValueType(x.shape.dropLast(), .index(bound: last))
  }

  package var operationCount: Int { rows * columns }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for row in 0..<pass.samples * rows {
      let x = pass.value(0) + row * columns
      var best = 0
      for i in 1..<max(columns, 1) where isMaximum ? x[i] > x[best] : x[i] < x[best] { best = i }
      pass.outputIndices[row] = Int32(best)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {}
  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}
}
