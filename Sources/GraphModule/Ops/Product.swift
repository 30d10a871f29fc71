import TensorModule

/// `y = a * b`, element by element, repeated to one shape: a gate and what it lets through.
package struct Product: Operation {
  private var broadcast = Broadcasting()

  package init() {}

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 0...0)
    broadcast = try Broadcasting(operands)
    return try ValueType(broadcast.shape)
  }

  package var operationCount: Int { broadcast.count }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? {
    broadcast.isPlain && !broadcast.shape.isEmpty ? (self, [true, true]) : nil
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.activeInputs[1], use.activeInputs[0]])
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    multiply(
      pass.value(0), pass.stride(0), pass.value(1), pass.stride(1), samples: pass.samples,
      accumulate: false, into: pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for r in 0..<pass.directions {
      let output = pass.output + r * pass.samples * broadcast.count
      var written = false
      if let tangent = pass.tangent(0) {
        let stride = broadcast.count(0)
        multiply(
          tangent + r * pass.samples * stride, stride, pass.value(1), pass.stride(1),
          samples: pass.samples, accumulate: false, into: output)
        written = true
      }
      if let tangent = pass.tangent(1) {
        let stride = broadcast.count(1)
        multiply(
          pass.value(0), pass.stride(0), tangent + r * pass.samples * stride, stride,
          samples: pass.samples, accumulate: written, into: output)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    for (input, other) in [(0, 1), (1, 0)] {
      // Asked for again after the first write: both inputs may be the same value.
      guard let (target, accumulate) = pass.inputCotangent(input) else { continue }
      let size = pass.samples * broadcast.count(input)
      for r in 0..<pass.directions {
        let cotangent = pass.cotangent(direction: r)
        if isPlain(pass.stride(other)) {
          Kernels.multiply(
            cotangent, pass.value(other), target + r * size, count: size, accumulate: accumulate)
        } else {
          Kernels.contract(
            broadcast.inward(input, pass.samples, other: pass.stride(other)), cotangent,
            pass.value(other), to: target + r * size, accumulate: accumulate)
        }
      }
      pass.markWritten(input)
    }
  }

  private func isPlain(_ strides: Int...) -> Bool {
    broadcast.isPlain && strides.allSatisfy { $0 == broadcast.count }
  }

  private func multiply<S: EngineScalar>(
    _ a: UnsafePointer<S>, _ strideA: Int, _ b: UnsafePointer<S>, _ strideB: Int, samples: Int,
    accumulate: Bool, into output: UnsafeMutablePointer<S>
  ) {
    if isPlain(strideA, strideB) {
      return Kernels.multiply(
        a, b, output, count: samples * broadcast.count, accumulate: accumulate)
    }
    Kernels.contract(
      broadcast.outward(samples, a: strideA, b: strideB), a, b, to: output, accumulate: accumulate)
  }
}
