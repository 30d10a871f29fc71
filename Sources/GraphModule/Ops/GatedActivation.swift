import TensorModule

/// `y = f(x) * u`, element by element: a gate and what it lets through, as in the feed-forward layers of
/// Llama (Shazeer 2020). The forward pass keeps `f'(x) u` and `f(x)`, the derivatives by x and by u.
package struct GatedActivation: Operation {
  package let function: ElementFunction
  private var size = 0
  private var makesRows = false

  package init(_ function: ElementFunction) { self.function = function }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 0...0)
    let x = try operands.real(0)
    guard try operands.real(1).shape == x.shape else {
      throw operands.mismatch(1, "\(x.shape), as the gate has")
    }
    size = x.count
    makesRows = !x.shape.isEmpty
    return x
  }

  package var operationCount: Int { 2 * size }

  package func restricted(to rows: [Int]) -> (operation: any Operation, reads: [Bool])? {
    makesRows ? (self, [true, true]) : nil
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false, false], saved: use.anyInputActive ? 2 * size : 0)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let (x, u) = (pass.value(0), pass.value(1))
    forEachRange(pass) { sample, range in
      let at = sample * size + range.lowerBound
      let output = pass.output + at
      if pass.keepsSaved {
        let (byGate, byValue) = derivatives(pass, sample, range)
        Kernels.apply(function, x + at, byValue, derivative: byGate, count: range.count)
        Kernels.multiply(byValue, u + at, output, count: range.count)
        Kernels.multiply(byGate, u + at, byGate, count: range.count)
      } else {
        Kernels.apply(function, x + at, output, derivative: nil, count: range.count)
        Kernels.multiply(output, u + at, output, count: range.count)
      }
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let (x, u) = (pass.tangent(0), pass.tangent(1))
    forEachRange(pass) { sample, range in
      let (byGate, byValue) = derivatives(pass, sample, range)
      for r in 0..<pass.directions {
        let at = (r * pass.samples + sample) * size + range.lowerBound
        let output = pass.output + at
        if let x { Kernels.multiply(x + at, byGate, output, count: range.count) }
        if let u {
          Kernels.multiply(u + at, byValue, output, count: range.count, accumulate: x != nil)
        }
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    let x = pass.inputCotangent(0)
    // Both may be one value.
    if x != nil { pass.markWritten(0) }
    let u = pass.inputCotangent(1)
    forEachRange(pass) { sample, range in
      let (byGate, byValue) = derivatives(pass, sample, range)
      for r in 0..<pass.directions {
        let at = (r * pass.samples + sample) * size + range.lowerBound
        if let (target, accumulate) = x {
          Kernels.multiply(
            pass.cotangent + at, byGate, target + at, count: range.count, accumulate: accumulate)
        }
        if let (target, accumulate) = u {
          Kernels.multiply(
            pass.cotangent + at, byValue, target + at, count: range.count, accumulate: accumulate)
        }
      }
    }
  }

  private func forEachRange<P: Pass>(
    _ pass: P, _ body: (_ sample: Int, _ range: Range<Int>) -> Void
  ) {
    for sample in 0..<pass.samples { pass.forEachRange(size) { body(sample, $0) } }
  }

  private func derivatives<P: Pass>(
    _ pass: P, _ sample: Int, _ range: Range<Int>
  ) -> (byGate: UnsafeMutablePointer<P.S>, byValue: UnsafeMutablePointer<P.S>) {
    let byGate = pass.saved + 2 * sample * size + range.lowerBound
    return (byGate, byGate + size)
  }
}
