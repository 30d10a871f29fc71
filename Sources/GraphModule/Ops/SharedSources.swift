import TensorModule

/// A parameter as a value, for what is computed from parameters: weight normalisation, merged
/// weights, position tables.
package struct ParameterValue: Operation {
  private var size = 0

  package init() {}

  static let parameter = 0

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 0...0, parameters: 1...1)
    let type = try ValueType(operands.parameters[Self.parameter])
    size = type.count
    return type
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds() }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for n in 0..<pass.samples {
      Kernels.copy(pass.parameter(Self.parameter), pass.output + n * size, count: size)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for r in 0..<pass.directions {
      let tangent = pass.parameterTangent(Self.parameter, direction: r)
      for n in 0..<pass.samples {
        let output = pass.output + (r * pass.samples + n) * size
        if let tangent {
          Kernels.copy(tangent, output, count: size)
        } else {
          Kernels.zero(output, count: size)
        }
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}

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

/// Numbers, indices or booleans that the description itself brings: masks, positions, buffers.
package struct Constant: Operation {
  package let values: [Double]
  package let shape: [Int]
  package let element: ValueType.Element

  /// - Parameter values: Row-major; of indices and booleans whole numbers.
  package init(_ values: [Double], shape: [Int], element: ValueType.Element = .real) {
    self.values = values
    self.shape = shape
    self.element = element
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 0...0, parameters: 0...0)
    let type = try ValueType(shape, element)
    let fits = values.allSatisfy { value in
      element.bound.map { value >= 0 && value < Double($0) && value == value.rounded() } ?? true
    }
    guard values.count == type.count, fits else {
      throw GraphError(
        .other(
          "the constant", found: "\(values.count) numbers",
          expected: "\(type.count) of its element and range"))
    }
    return type
  }

  package var ownNumbers: Int { values.count }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds() }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    if element == .real {
      let numbers = values.map { S($0) }
      for n in 0..<pass.samples {
        Kernels.copy(numbers, pass.output + n * values.count, count: values.count)
      }
    } else {
      let indices = values.map { Int32($0) }
      for n in 0..<pass.samples {
        (pass.outputIndices + n * indices.count).update(from: indices, count: indices.count)
      }
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {}
  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}
}
