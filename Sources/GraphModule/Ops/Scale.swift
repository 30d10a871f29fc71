import TensorModule

/// `y = factor x`
package struct Scale: Operation {
  package let factor: Double
  private var size = 0
  private var makesRows = false

  package init(factor: Double) { self.factor = factor }

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

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    Kernels.axpby(factor, pass.value(0), 0, pass.output, count: pass.samples * size)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    Kernels.axpby(
      factor, pass.tangent(0)!, 0, pass.output, count: pass.directions * pass.samples * size)
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    Kernels.axpby(
      factor, pass.cotangent, accumulate ? 1 : 0, target,
      count: pass.directions * pass.samples * size)
  }
}
