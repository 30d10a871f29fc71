import TensorModule

/// The value itself without derivatives: of all of it, or of the rows whose index is one that PyTorch
/// leaves out of the gradient of an embedding (`padding_idx`).
package struct Detach: Operation {
  /// Of the rows of x that are left out, where input 1 holds an index for each of them.
  package let index: Int?
  private var rows = 1
  private var columns = 1

  package init(index: Int? = nil) { self.index = index }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: index == nil ? 1...1 : 2...2, parameters: 0...0)
    let x = try operands.real(0)
    (rows, columns) = (1, x.count)
    if index != nil {
      let indices = try operands.whole(1)
      guard x.shape.dropLast().elementsEqual(indices.shape), let last = x.shape.last else {
        throw operands.mismatch(1, "an index for each row of \(x.shape)")
      }
      (rows, columns) = (indices.count, last)
    }
    return x
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: index == nil ? [false] : [false, true])
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let count = rows * columns
    for sample in 0..<pass.samples {
      Kernels.copy(
        pass.value(0) + sample * pass.stride(0), pass.output + sample * count, count: count)
    }
  }

  package func readsOneRow(_ input: Int) -> Bool { input == 0 }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let count = pass.directions * pass.samples * rows * columns
    guard index != nil, let tangent = pass.tangent(0) else {
      return Kernels.zero(pass.output, count: count)
    }
    Kernels.copy(tangent, pass.output, count: count)
    forEachLeftOut(pass, directions: pass.directions) { row in
      Kernels.zero(pass.output + row * columns, count: columns)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let count = pass.directions * pass.samples * rows * columns
    guard index != nil else {
      if !accumulate { Kernels.zero(target, count: count) }
      return
    }
    if !accumulate {
      Kernels.copy(pass.cotangent, target, count: count)
      forEachLeftOut(pass, directions: pass.directions) { row in
        Kernels.zero(target + row * columns, count: columns)
      }
      return
    }
    let indices = pass.indices(1)
    for row in 0..<pass.directions * pass.samples * rows
    where Int(indices[row % (pass.samples * rows)]) != index {
      Kernels.copy(
        pass.cotangent + row * columns, target + row * columns, count: columns, accumulate: true)
    }
  }

  private func forEachLeftOut(_ pass: some Pass, directions: Int, _ body: (Int) -> Void) {
    let indices = pass.indices(1)
    let all = pass.samples * rows
    for row in 0..<directions * all where Int(indices[row % all]) == index { body(row) }
  }
}
