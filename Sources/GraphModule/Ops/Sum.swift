import TensorModule

/// `y = a + factor b`, repeated to one shape: where a branch and its shortcut meet, and differences.
package struct Sum: Operation {
  package let factor: Double
  private var broadcast = Broadcasting()

  package init(factor: Double = 1) { self.factor = factor }

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

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false, false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let count = pass.samples * broadcast.count
    if isPlain(pass.stride(0), pass.stride(1)) {
      return Kernels.add(pass.value(0), pass.value(1), pass.output, count: count)
    }
    for input in 0..<2 {
      add(
        pass.value(input), input, samples: pass.samples, stride: pass.stride(input),
        accumulate: input == 1, to: pass.output)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let samples = pass.directions * pass.samples
    let count = samples * broadcast.count
    if isPlain(broadcast.count, broadcast.count) {
      switch (pass.tangent(0), pass.tangent(1)) {
      case (let a?, let b?): return Kernels.add(a, b, pass.output, count: count)
      case (let only?, nil), (nil, let only?):
        return Kernels.copy(only, pass.output, count: count)
      case (nil, nil): return Kernels.zero(pass.output, count: count)
      }
    }
    var written = false
    for input in 0..<2 {
      guard let tangent = pass.tangent(input) else { continue }
      add(
        tangent, input, samples: samples, stride: broadcast.count(input), accumulate: written,
        to: pass.output)
      written = true
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    let samples = pass.directions * pass.samples
    for input in 0..<2 {
      // Asked for again after the first write: both inputs may be the same value.
      guard let (target, accumulate) = pass.inputCotangent(input) else { continue }
      if isPlain(broadcast.count, broadcast.count) {
        Kernels.copy(
          pass.cotangent, target, count: samples * broadcast.count, accumulate: accumulate)
      } else {
        Kernels.contract(
          broadcast.inward(input, samples, other: 0), alpha: input == 0 ? 1 : factor,
          pass.cotangent, to: target, accumulate: accumulate)
      }
      pass.markWritten(input)
    }
  }

  /// Whether two dense arrays are added as they are.
  private func isPlain(_ a: Int, _ b: Int) -> Bool {
    broadcast.isPlain && factor == 1 && a == broadcast.count && b == broadcast.count
  }

  private func add<S: EngineScalar>(
    _ x: UnsafePointer<S>, _ input: Int, samples: Int, stride: Int, accumulate: Bool,
    to output: UnsafeMutablePointer<S>
  ) {
    Kernels.contract(
      broadcast.repeating(input, samples, stride: stride), alpha: input == 0 ? 1 : factor, x,
      to: output, accumulate: accumulate)
  }
}
