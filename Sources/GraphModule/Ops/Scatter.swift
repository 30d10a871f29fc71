import TensorModule

/// `y[i, index[i, j]] += x[i, j]` along one dimension, from zeros, for indices that the sample brings:
/// PyTorch's `scatter_add`, the transpose of `Gather`.
package struct Scatter: Operation {
  package let axis: Int
  /// Entries of the dimension after it.
  package let size: Int
  private var places = IndexedPlaces()
  private var count = 1
  private var outputCount = 1

  package init(axis: Int, size: Int) {
    self.axis = axis
    self.size = size
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 2...2, parameters: 0...0)
    let (x, index) = (try operands.real(0), try operands.whole(1))
    guard x.shape == index.shape, x.shape.indices.contains(axis) else {
      throw operands.mismatch(1, "the shape \(x.shape), with a dimension \(axis)")
    }
    guard let bound = index.element.bound, bound <= size else {
      throw operands.mismatch(1, "indices below \(size)")
    }
    var result = x.shape
    result[axis] = size
    let type = try ValueType(result)
    places = IndexedPlaces(axis: axis, shape: x.shape, in: result)
    (count, outputCount) = (x.count, type.count)
    return type
  }

  package var operationCount: Int { count }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false, false], saved: use.anyInputActive ? count : 0, savesIndices: true)
  }

  package func scratch(samples: Int, directions: Int) -> Int { samples * count }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    // One Int32 each; a scalar is at least as wide.
    let spare = UnsafeMutableRawPointer(pass.scratch).assumingMemoryBound(to: Int32.self)
    let places = pass.keepsSaved ? pass.savedIndices : spare
    for n in 0..<pass.samples {
      self.places.write(pass.indices(1) + n * count, to: places + n * count)
    }
    add(pass.value(0), places, rows: pass.samples, samples: pass.samples, to: pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    add(
      pass.tangent(0)!, pass.savedIndices, rows: pass.directions * pass.samples,
      samples: pass.samples, to: pass.output)
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    for i in 0..<pass.directions * pass.samples {
      let places = pass.savedIndices + i % pass.samples * count
      Kernels.gather(
        pass.cotangent + i * outputCount, places, target + i * count, count: count,
        accumulate: accumulate)
    }
  }

  private func add<S: EngineScalar>(
    _ x: UnsafePointer<S>, _ places: UnsafePointer<Int32>, rows: Int, samples: Int,
    to output: UnsafeMutablePointer<S>
  ) {
    Kernels.zero(output, count: rows * outputCount)
    for i in 0..<rows {
      Kernels.scatterAdd(
        x + i * count, places + i % samples * count, addingTo: output + i * outputCount,
        count: count)
    }
  }
}
