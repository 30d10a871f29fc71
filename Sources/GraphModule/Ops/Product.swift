import TensorModule

/// `y = a * b`, element by element: a gate and what it lets through.
package struct Product: Operation {
  package let size: Int

  package init(size: Int) { self.size = size }

  package var inputSizes: [Int] { [size, size] }
  package var outputSize: Int { size }
  package var operationCount: Int { size }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.activeInputs[1], use.activeInputs[0]])
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    Kernels.multiply(pass.value(0), pass.value(1), pass.output, count: pass.samples * size)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let count = pass.samples * size
    for r in 0..<pass.directions {
      var written = false
      for (input, other) in [(0, 1), (1, 0)] {
        guard let tangent = pass.tangent(input) else { continue }
        Kernels.multiply(
          tangent + r * count, pass.value(other), pass.output + r * count, count: count,
          accumulate: written)
        written = true
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    let count = pass.samples * size
    for (input, other) in [(0, 1), (1, 0)] {
      // Asked for again after the first write: both inputs may be the same value.
      guard let (target, accumulate) = pass.inputCotangent(input) else { continue }
      for r in 0..<pass.directions {
        Kernels.multiply(
          pass.cotangent(direction: r), pass.value(other), target + r * count, count: count,
          accumulate: accumulate)
      }
      pass.markWritten(input)
    }
  }
}

/// `y = factor x`
package struct Scale: Operation {
  package let factor: Double
  package let size: Int

  package init(factor: Double, size: Int) {
    self.factor = factor
    self.size = size
  }

  package var inputSizes: [Int] { [size] }
  package var outputSize: Int { size }
  package var operationCount: Int { size }

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
