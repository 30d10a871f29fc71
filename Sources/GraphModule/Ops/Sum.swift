import TensorModule

/// `y = a + b`: where a branch and its shortcut meet.
package struct Sum: Operation {
  package let size: Int

  package init(size: Int) { self.size = size }

  package var inputSizes: [Int] { [size, size] }
  package var outputSize: Int { size }
  package var operationCount: Int { size }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false, false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    Kernels.add(pass.value(0), pass.value(1), pass.output, count: pass.samples * size)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let count = pass.directions * pass.samples * size
    switch (pass.tangent(0), pass.tangent(1)) {
    case (let a?, let b?): Kernels.add(a, b, pass.output, count: count)
    case (let only?, nil), (nil, let only?): Kernels.copy(only, pass.output, count: count)
    case (nil, nil): Kernels.zero(pass.output, count: count)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    let count = pass.directions * pass.samples * size
    for input in 0..<2 {
      // Asked for again after the first write: both inputs may be the same value.
      guard let (target, accumulate) = pass.inputCotangent(input) else { continue }
      Kernels.copy(pass.cotangent, target, count: count, accumulate: accumulate)
      pass.markWritten(input)
    }
  }
}
