import TensorModule

/// `y_t = sum over s <= t of x_s` along one dimension.
package struct CumulativeSum: Operation {
  package let axis: Int
  private var slabs = Slabs()

  package init(axis: Int) { self.axis = axis }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    guard x.shape.indices.contains(axis) else { throw operands.mismatch(0, "a dimension \(axis)") }
    slabs = Slabs(x.shape, axis: axis)
    return x
  }

  package var operationCount: Int { slabs.count }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func scratch(samples: Int, directions: Int) -> Int {
    directions * samples * slabs.outer * slabs.inner
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    sum(pass.value(0), stride: pass.stride(0), samples: pass.samples, to: pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    sum(
      pass.tangent(0)!, stride: slabs.count, samples: pass.directions * pass.samples,
      to: pass.output)
  }

  /// The same sum from the end.
  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let samples = pass.directions * pass.samples
    let one = Slabs([slabs.outer, 1, slabs.inner], axis: 1)
    Kernels.zero(pass.scratch, count: samples * one.count)
    for t in (0..<slabs.length).reversed() {
      slabs.copy(
        t, of: pass.cotangent, stride: slabs.count, samples: samples, to: 0, of: pass.scratch, one,
        accumulate: true)
      one.copy(
        0, of: pass.scratch, stride: one.count, samples: samples, to: t, of: target, slabs,
        accumulate: accumulate)
    }
  }

  private func sum<S: EngineScalar>(
    _ x: UnsafePointer<S>, stride: Int, samples: Int, to output: UnsafeMutablePointer<S>
  ) {
    for t in 0..<slabs.length {
      slabs.copy(t, of: x, stride: stride, samples: samples, to: t, of: output, slabs)
      if t == 0 { continue }
      slabs.copy(
        t - 1, of: output, stride: slabs.count, samples: samples, to: t, of: output, slabs,
        accumulate: true)
    }
  }
}
