import TensorModule

/// `y = f(x)`, element by element. The forward pass keeps `f'(x)`, so that both derivatives are
/// one multiplication.
package struct Activation: Operation {
  package let function: ElementFunction
  private var size = 0
  private var makesRows = false

  package init(_ function: ElementFunction) { self.function = function }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    size = x.count
    makesRows = !x.shape.isEmpty
    return x
  }

  package var operationCount: Int { size }

  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? {
    makesRows ? (self, [true]) : nil
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false], saved: use.anyInputActive ? size : 0)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let derivative = pass.keepsSaved ? pass.saved : nil
    pass.forEachRange(pass.samples * size) { range in
      let first = range.lowerBound
      Kernels.apply(
        function, pass.value(0) + first, pass.output + first,
        derivative: derivative.map { $0 + first }, count: range.count)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let count = pass.samples * size
    let tangent = pass.tangent(0)!
    pass.forEachRange(count) { range in
      for r in 0..<pass.directions {
        let first = r * count + range.lowerBound
        Kernels.multiply(
          tangent + first, pass.saved + range.lowerBound, pass.output + first, count: range.count)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let count = pass.samples * size
    pass.forEachRange(count) { range in
      for r in 0..<pass.directions {
        Kernels.multiply(
          pass.cotangent(direction: r) + range.lowerBound, pass.saved + range.lowerBound,
          target + r * count + range.lowerBound, count: range.count, accumulate: accumulate)
      }
    }
  }
}
