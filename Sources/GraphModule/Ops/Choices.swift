import TensorModule

/// `condition ? a : b`, the three repeated to one shape: masked fills and guards.
package struct Where: Operation {
  private var shape: [Int] = []
  private var count = 1
  /// Of condition, a and b along the dimensions of the output.
  private var strides: [[Int]] = []
  private var counts: [Int] = []

  package init() {}

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 3...3, parameters: 0...0)
    let types = [try operands.whole(0), try operands.real(1), try operands.real(2)]
    var target: [Int] = []
    for type in types {
      let rank = max(target.count, type.shape.count)
      func padded(_ shape: [Int]) -> [Int] {
        [Int](repeating: 1, count: rank - shape.count) + shape
      }
      target = zip(padded(target), padded(type.shape)).map { $0 == 1 ? $1 : $0 }
    }
    strides = []
    for (input, type) in types.enumerated() {
      guard let own = broadcastStrides(type.shape, to: target),
        target.count < StridedAxes.maximum
      else { throw operands.mismatch(input, "a shape that can be repeated to \(target)") }
      strides.append(own)
    }
    let type = try ValueType(target)
    (shape, count, counts) = (target, type.count, types.map(\.count))
    return type
  }

  package var operationCount: Int { count }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.anyInputActive, false, false])
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for input in 1...2 {
      choose(
        pass, input, pass.value(input), stride: pass.stride(input), to: pass.output,
        accumulate: input == 2)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for r in 0..<pass.directions {
      var written = false
      for input in 1...2 {
        guard let tangent = pass.tangent(input) else { continue }
        choose(
          pass, input, tangent + r * pass.samples * counts[input], stride: counts[input],
          to: pass.output + r * pass.samples * count, accumulate: written)
        written = true
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    for input in 1...2 {
      // Asked for again after the first write: both may be the same value.
      guard let (target, accumulate) = pass.inputCotangent(input) else { continue }
      var axes = StridedAxes()
      axes.append(pass.samples, a: count, gate: pass.stride(0), out: counts[input])
      for (axis, own) in rowMajorStrides(shape).enumerated() {
        axes.append(shape[axis], a: own, gate: strides[0][axis], out: strides[input][axis])
      }
      for r in 0..<pass.directions {
        Kernels.contract(
          axes, pass.cotangent(direction: r), gate: pass.indices(0), open: input == 1,
          to: target + r * pass.samples * counts[input], accumulate: accumulate)
      }
      pass.markWritten(input)
    }
  }

  private func choose<P: Pass>(
    _ pass: P, _ input: Int, _ x: UnsafePointer<P.S>, stride: Int,
    to output: UnsafeMutablePointer<P.S>, accumulate: Bool
  ) {
    var axes = StridedAxes()
    axes.append(pass.samples, a: stride, gate: pass.stride(0), out: count)
    for (axis, own) in rowMajorStrides(shape).enumerated() {
      axes.append(shape[axis], a: strides[input][axis], gate: strides[0][axis], out: own)
    }
    Kernels.contract(
      axes, x, gate: pass.indices(0), open: input == 1, to: output, accumulate: accumulate)
  }
}

/// Whole numbers and booleans as numbers of the engine's precision.
package struct Cast: Operation {
  private var count = 1

  package init() {}

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.whole(0)
    count = x.count
    return try ValueType(x.shape)
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let x = pass.indices(0)
    for i in 0..<pass.samples * count { pass.output[i] = S(x[i]) }
  }

  /// Whole numbers have no derivative.
  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {}
  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {}
}
