import TensorModule

/// `[P; x]`: the first `prefix` rows of a table of parameters in front of a sample's tokens (class
/// token, virtual tokens of prompt tuning).
package struct Prepend: Operation {
  package let prefix: Int
  private var tokens = 0
  private var columns = 0

  package init(prefix: Int) { self.prefix = prefix }

  static let table = 0

  private var before: Int { prefix * columns }
  private var after: Int { tokens * columns }

  private var outputSize: Int { before + after }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 1...1)
    let x = try operands.real(0)
    guard x.shape.count == 2 else { throw operands.mismatch(0, "[tokens, columns]") }
    (tokens, columns) = (x.shape[0], x.shape[1])
    let table = operands.parameters[Self.table]
    guard prefix > 0, table.last == columns,
      table.reduce(1, *) / columns >= prefix
    else {
      throw GraphError(
        .other("the table", found: "\(table)", expected: "\(prefix) rows of \(columns)"))
    }
    return try ValueType([prefix + tokens, columns])
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for n in 0..<pass.samples {
      let output = pass.output + n * outputSize
      Kernels.copy(pass.parameter(Self.table), output, count: before)
      Kernels.copy(pass.value(0) + n * after, output + before, count: after)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for r in 0..<pass.directions {
      let table = pass.parameterTangent(Self.table, direction: r)
      for n in 0..<pass.samples {
        let at = r * pass.samples + n
        let output = pass.output + at * outputSize
        copyOrZero(table, output, count: before)
        copyOrZero(pass.tangent(0).map { $0 + at * after }, output + before, count: after)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    for i in 0..<pass.directions * pass.samples {
      Kernels.copy(
        pass.cotangent + i * outputSize + before, target + i * after, count: after,
        accumulate: accumulate)
    }
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    addPerSampleGradients(pass, slot: slot, direction: direction, to: out, stride: 0)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    pass.addCotangents(direction: direction, first: before, to: out, stride: stride)
  }
}

/// `y = x + b` with b a parameter of the size of a sample (position embeddings).
package struct AddParameter: Operation {
  private var size = 0

  package init() {}

  static let table = 0

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 1...1)
    let x = try operands.real(0)
    let table = operands.parameters[Self.table]
    // Dimensions of 1 in front say nothing of a sample.
    guard table.drop(while: { $0 == 1 }).elementsEqual(x.shape.drop(while: { $0 == 1 })) else {
      throw GraphError(.other("the table", found: "\(table)", expected: "\(x.shape)"))
    }
    size = x.count
    return x
  }

  package var operationCount: Int { size }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    Kernels.copy(pass.value(0), pass.output, count: pass.samples * size)
    Kernels.addToRows(
      pass.parameter(Self.table), pass.output, rows: pass.samples, columns: size)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let count = pass.samples * size
    copyOrZero(pass.tangent(0), pass.output, count: pass.directions * count)
    for r in 0..<pass.directions {
      guard let table = pass.parameterTangent(Self.table, direction: r) else { continue }
      Kernels.addToRows(table, pass.output + r * count, rows: pass.samples, columns: size)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    Kernels.copy(
      pass.cotangent, target, count: pass.directions * pass.samples * size,
      accumulate: accumulate)
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    pass.addCotangent(direction: direction, to: out)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    pass.addCotangents(direction: direction, first: size, to: out, stride: stride)
  }
}

private func copyOrZero<S: EngineScalar>(
  _ source: UnsafePointer<S>?, _ target: UnsafeMutablePointer<S>, count: Int
) {
  if let source {
    Kernels.copy(source, target, count: count)
  } else {
    Kernels.zero(target, count: count)
  }
}
