import TensorModule

/// `y[i, j] = x[i, index[i, j]]` along one dimension, for indices that the sample brings: PyTorch's
/// `gather`, whose other dimensions may be shorter than those of x.
package struct Gather: Operation {
  package let axis: Int
  private var places = IndexedPlaces()
  private var count = 1
  private var inputCount = 1

  package init(axis: Int) { self.axis = axis }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 0...0)
    let (x, index) = (try operands.real(0), try operands.whole(1))
    let fits =
      x.shape.count == index.shape.count && x.shape.indices.contains(axis)
      && x.shape.indices.allSatisfy { $0 == axis || index.shape[$0] <= x.shape[$0] }
    guard fits else {
      throw operands.mismatch(1, "the shape \(x.shape) but for dimension \(axis)")
    }
    if let bound = index.element.bound, bound > x.shape[axis] {
      throw operands.mismatch(0, "an entry for each of \(bound) indices in dimension \(axis)")
    }
    let type = try ValueType(index.shape)
    places = IndexedPlaces(axis: axis, shape: index.shape, in: x.shape)
    (count, inputCount) = (index.count, x.count)
    return type
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false, false], saved: use.anyInputActive ? count : 0, savesIndices: true)
  }

  package func scratch(samples: Int, directions: Int) -> Int { samples * count }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    // One Int32 each; a scalar is at least as wide.
    let spare = UnsafeMutableRawPointer(pass.scratch).assumingMemoryBound(to: Int32.self)
    let places = pass.keepsSaved ? pass.savedIndices : spare
    for n in 0..<pass.samples {
      let own = places + n * count
      self.places.write(pass.indices(1) + n * count, to: own)
      Kernels.gather(
        pass.value(0) + n * inputCount, own, pass.output + n * count, count: count)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    pass.gatherFromSavedPlaces(of: inputCount, count: count)
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    pass.scatterToSavedPlaces(of: inputCount, count: count)
  }
}

/// Rows of a table that is itself a value: `y_t = W[index_t]`, W [rows, columns].
package struct Lookup: Operation {
  private var positions = 1
  private var rows = 1
  private var columns = 1

  package init() {}

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 0...0)
    let (table, index) = (try operands.real(0), try operands.whole(1))
    guard table.shape.count == 2 else { throw operands.mismatch(0, "[rows, columns]") }
    (rows, columns, positions) = (table.shape[0], table.shape[1], index.count)
    if let bound = index.element.bound, bound > rows {
      throw operands.mismatch(0, "a row for each of \(bound) indices")
    }
    return try ValueType(index.shape + [columns])
  }

  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false, use.anyInputActive])
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    lookUp(pass, pass.value(0), stride: pass.stride(0), to: pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let size = pass.samples * positions * columns
    for r in 0..<pass.directions {
      lookUp(
        pass, pass.tangent(0)! + r * pass.samples * rows * columns, stride: rows * columns,
        to: pass.output + r * size)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let samples = pass.directions * pass.samples
    if !accumulate { Kernels.zero(target, count: samples * rows * columns) }
    for i in 0..<samples {
      let index = pass.indices(1) + i % pass.samples * pass.stride(1)
      for t in 0..<positions {
        Kernels.copy(
          pass.cotangent + (i * positions + t) * columns,
          target + (i * rows + Int(index[t])) * columns, count: columns, accumulate: true)
      }
    }
  }

  private func lookUp<P: Pass>(
    _ pass: P, _ table: UnsafePointer<P.S>, stride: Int, to out: UnsafeMutablePointer<P.S>
  ) {
    for n in 0..<pass.samples {
      let index = pass.indices(1) + n * pass.stride(1)
      for t in 0..<positions {
        Kernels.copy(
          table + n * stride + Int(index[t]) * columns, out + (n * positions + t) * columns,
          count: columns)
      }
    }
  }
}
