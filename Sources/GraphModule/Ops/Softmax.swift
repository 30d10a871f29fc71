import TensorModule

/// Softmax along the last dimension, or its logarithm. The forward pass keeps the probabilities p.
package struct Softmax: Operation {
  package let isLogarithm: Bool
  private var rows = 1
  private var columns = 1

  package init(isLogarithm: Bool = false) { self.isLogarithm = isLogarithm }

  private var count: Int { rows * columns }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    guard let last = x.shape.last else { throw operands.mismatch(0, "one dimension or more") }
    (rows, columns) = (x.count / last, last)
    return x
  }

  package var operationCount: Int { 4 * count }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false], saved: use.anyInputActive ? count : 0)
  }

  package func scratch(samples: Int, directions: Int) -> Int { samples * max(count, rows) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let total = pass.samples * count
    if isLogarithm {
      Kernels.logSoftmax(pass.value(0), pass.output, rows: pass.samples * rows, columns: columns)
      guard pass.keepsSaved else { return }
      Kernels.copy(pass.value(0), pass.saved, count: total)
      Kernels.softmax(
        pass.saved, bias: nil, mask: nil, rows: pass.samples * rows, columns: columns)
    } else {
      Kernels.copy(pass.value(0), pass.output, count: total)
      Kernels.softmax(
        pass.output, bias: nil, mask: nil, rows: pass.samples * rows, columns: columns)
      if pass.keepsSaved { Kernels.copy(pass.output, pass.saved, count: total) }
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let total = pass.samples * count
    for r in 0..<pass.directions {
      let (tangent, output) = (pass.tangent(0)! + r * total, pass.output + r * total)
      Kernels.copy(tangent, output, count: total)
      if isLogarithm {
        // dx - p . dx
        sum(pass.saved, tangent, samples: pass.samples, to: pass.scratch)
        subtract(pass.scratch, nil, samples: pass.samples, from: output)
      } else {
        Kernels.softmaxDerivative(
          pass.saved, output, rows: pass.samples * rows, columns: columns, scale: 1)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let total = pass.samples * count
    for r in 0..<pass.directions {
      let (cotangent, out) = (pass.cotangent(direction: r), target + r * total)
      if isLogarithm {
        // b - p sum(b)
        Kernels.copy(cotangent, out, count: total, accumulate: accumulate)
        sum(cotangent, nil, samples: pass.samples, to: pass.scratch)
        subtract(pass.scratch, UnsafePointer(pass.saved), samples: pass.samples, from: out)
      } else {
        let x = accumulate ? pass.scratch : out
        Kernels.copy(cotangent, x, count: total)
        Kernels.softmaxDerivative(
          pass.saved, x, rows: pass.samples * rows, columns: columns, scale: 1)
        if accumulate { Kernels.copy(x, out, count: total, accumulate: true) }
      }
    }
  }

  /// Sums of rows of a, or of a b.
  private func sum<S: EngineScalar>(
    _ a: UnsafePointer<S>, _ b: UnsafePointer<S>?, samples: Int, to sums: UnsafeMutablePointer<S>
  ) {
    var axes = StridedAxes()
    axes.append(samples * rows, a: columns, b: columns, out: 1)
    axes.append(columns, a: 1, b: 1, out: 0)
    Kernels.contract(axes, a, b, to: sums)
  }

  /// Rows of one number each, or times p.
  private func subtract<S: EngineScalar>(
    _ sums: UnsafePointer<S>, _ p: UnsafePointer<S>?, samples: Int,
    from x: UnsafeMutablePointer<S>
  ) {
    var axes = StridedAxes()
    axes.append(samples * rows, a: 1, b: columns, out: columns)
    axes.append(columns, a: 0, b: 1, out: 1)
    Kernels.contract(axes, alpha: -1, sums, p, to: x, accumulate: true)
  }
}
