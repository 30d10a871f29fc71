import TensorModule

/// Where one value is less than, or equal to, another, both numbers or both whole, repeated to one
/// shape: masks. It has no derivative.
package struct Comparison: Operation {
  package enum Kind: Sendable, Equatable {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual
  }
  package let kind: Kind
  private var isReal = false
  private var shape: [Int] = []
  private var count = 1
  private var strides: [[Int]] = [[], []]

  package init(_ kind: Kind) { self.kind = kind }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 0...0)
    isReal = operands.inputs[0].element == .real
    guard isReal == (operands.inputs[1].element == .real) else {
      throw GraphError(.element(input: 1, expected: "what the other side is made of"))
    }
    let shapes = operands.inputs.map(\.shape)
    shape = try Broadcasting(shapes, operands).shape
    strides = shapes.map { broadcastStrides($0, to: shape) ?? [] }
    let type = try ValueType(shape, .boolean)
    count = type.count
    return type
  }

  package var operationCount: Int { count }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false, false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for n in 0..<pass.samples {
      let output = pass.outputIndices + n * count
      let starts = [n * pass.stride(0), n * pass.stride(1)]
      for i in 0..<count {
        var (rest, a, b) = (i, starts[0], starts[1])
        for axis in shape.indices.reversed() {
          let (quotient, at) = rest.quotientAndRemainder(dividingBy: shape[axis])
          a += at * strides[0][axis]
          b += at * strides[1][axis]
          rest = quotient
        }
        output[i] =
          isReal
          ? holds(pass.value(0)[a], pass.value(1)[b])
          : holds(pass.indices(0)[a], pass.indices(1)[b])
      }
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {}
  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}

  private func holds<T: Comparable>(_ a: T, _ b: T) -> Int32 {
    let result =
      switch kind {
      case .equal: a == b
      case .notEqual: a != b
      case .less: a < b
      case .lessOrEqual: a <= b
      case .greater: a > b
      case .greaterOrEqual: a >= b
      }
    return result ? 1 : 0
  }
}
