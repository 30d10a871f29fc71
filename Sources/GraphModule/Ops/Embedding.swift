import TensorModule

/// Rows of a table: `y_t = W[index_t]`, W [rows, columns].
package struct Embedding: Operation {
  private var positions = 0
  private var rows = 0
  private var columns = 0

  package init() {}

  static let weight = 0

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 1...1)
    let x = try operands.whole(0)
    let weight = try operands.parameter(Self.weight, rank: 2)
    (rows, columns) = (weight[0], weight[1])
    if let bound = x.element.bound, bound > rows {
      throw GraphError(
        .other("the table", found: "\(rows) rows", expected: "one for each of \(bound) indices"))
    }
    positions = x.count
    return try ValueType(x.shape + [columns])
  }

  package func readsInPlace(_ slot: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.trains(Self.weight)])
  }

  package var factorization: Factorization? {
    Factorization(
      positions: positions, inputs: rows, outputs: columns, rows: .oneHot,
      weightSlot: Self.weight, biasSlot: nil)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    lookUp(
      pass.weight(Self.weight, rows: rows, columns: columns), pass.indices(0),
      count: pass.samples * positions, pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let count = pass.samples * positions
    for r in 0..<pass.directions {
      let output = pass.output + r * count * columns
      if let weight = pass.parameterTangent(Self.weight, direction: r) {
        lookUp(
          WeightMatrix(weight, stride: columns), pass.indices(0), count: count, output)
      } else {
        Kernels.zero(output, count: count * columns)
      }
    }
  }

  /// The input is a list of indices: nothing flows into it.
  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    let b = pass.cotangent(direction: direction)
    for t in 0..<pass.samples * positions {
      addRow(b + t * columns, to: out + Int(pass.indices(0)[t]) * columns)
    }
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    let b = pass.cotangent(direction: direction)
    for t in 0..<pass.samples * positions {
      addRow(
        b + t * columns,
        to: out + (t / positions) * stride + Int(pass.indices(0)[t]) * columns)
    }
  }

  private func lookUp<S: EngineScalar>(
    _ table: WeightMatrix<S>, _ indices: UnsafePointer<Int32>, count: Int,
    _ out: UnsafeMutablePointer<S>
  ) {
    for t in 0..<count {
      table.copyRow(Int(indices[t]), count: columns, to: out + t * columns)
    }
  }

  private func addRow<S: EngineScalar>(_ row: UnsafePointer<S>, to out: UnsafeMutablePointer<S>) {
    Kernels.add(row, out, out, count: columns)
  }
}
