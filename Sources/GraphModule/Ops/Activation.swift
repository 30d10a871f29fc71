import TensorModule

/// `y = f(x)`, element by element. The forward pass keeps `f'(x)`, so that both derivatives are
/// one multiplication.
package struct Activation: Operation {
  package let function: Kernels.Activation
  /// The slope of a leaky rectifier below zero, beta of softplus.
  package let parameter: Double
  /// Of beta x, above which softplus is the identity.
  package let threshold: Double
  package let size: Int

  package init(
    _ function: Kernels.Activation, parameter: Double = 1, threshold: Double = 20, size: Int
  ) {
    self.function = function
    self.parameter = parameter
    self.threshold = threshold
    self.size = size
  }

  package var inputSizes: [Int] { [size] }
  package var outputSize: Int { size }
  package var operationCount: Int { size }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false], saved: use.anyInputActive ? size : 0)
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let derivative = pass.keepsSaved ? pass.saved : nil
    pass.forEachRange(pass.samples * size) { range in
      let first = range.lowerBound
      Kernels.activate(
        function, parameter: parameter, threshold: threshold, pass.value(0) + first,
        pass.output + first, derivative: derivative.map { $0 + first }, count: range.count)
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
