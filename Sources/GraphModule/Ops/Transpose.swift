import TensorModule

/// `[rows, columns]` of one sample to `[columns, rows]`: between channels-first files and the
/// channels-last images of the engine.
package struct Transpose: Operation {
  package let rows: Int
  package let columns: Int

  package init(rows: Int, columns: Int) {
    self.rows = rows
    self.columns = columns
  }

  private var size: Int { rows * columns }

  package var inputSizes: [Int] { [size] }
  package var outputSize: Int { size }
  package var operationCount: Int { 0 }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func scratch(samples: Int, directions: Int) -> Int { size }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for n in 0..<pass.samples {
      BLAS.transpose(
        pass.value(0) + n * size, rows: rows, columns: columns, into: pass.output + n * size)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for i in 0..<pass.directions * pass.samples {
      BLAS.transpose(
        pass.tangent(0)! + i * size, rows: rows, columns: columns, into: pass.output + i * size)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    for i in 0..<pass.directions * pass.samples {
      let destination = accumulate ? pass.scratch : target + i * size
      BLAS.transpose(
        pass.cotangent + i * size, rows: columns, columns: rows, into: destination)
      if accumulate { Kernels.copy(destination, target + i * size, count: size, accumulate: true) }
    }
  }
}
