import TensorModule

/// `y[i, index[i, j]] += x[i, j]` along one dimension, from zeros, for indices that the sample brings:
/// PyTorch's `scatter_add`, the transpose of `Gather`.
package struct Scatter: Operation {
  package let axis: Int
  /// Entries of the dimension after it.
  package let size: Int
  private var shape: [Int] = []
  private var strides: [Int] = []
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
    (shape, strides) = (x.shape, rowMajorStrides(result))
    (count, outputCount) = (x.count, type.count)
    return type
  }

  package var operationCount: Int { count }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [false, false], saved: use.anyInputActive ? count : 0)
  }

  package func scratch(samples: Int, directions: Int) -> Int { samples * count }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    // One Int32 each; a scalar is at least as wide.
    let spare = UnsafeMutableRawPointer(pass.scratch).assumingMemoryBound(to: Int32.self)
    let places = pass.keepsSaved ? pass.savedIndices : spare
    for n in 0..<pass.samples {
      pass.writePlaces(
        of: pass.indices(1) + n * count, axis: axis, shape: shape, strides: strides,
        to: places + n * count)
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
      let (source, own) = (pass.cotangent + i * outputCount, target + i * count)
      if accumulate {
        for j in 0..<count { own[j] += source[Int(places[j])] }
      } else {
        Kernels.gather(source, places, own, count: count)
      }
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

extension ForwardPass {
  /// Row-major places in a value with these strides of entries of a shape, whose place along one
  /// dimension is their index.
  func writePlaces(
    of index: UnsafePointer<Int32>, axis: Int, shape: [Int], strides: [Int],
    to places: UnsafeMutablePointer<Int32>
  ) {
    for i in 0..<shape.reduce(1, *) {
      var (rest, place) = (i, Int(index[i]) * strides[axis])
      for dimension in shape.indices.reversed() {
        let (quotient, at) = rest.quotientAndRemainder(dividingBy: shape[dimension])
        if dimension != axis { place += at * strides[dimension] }
        rest = quotient
      }
      places[i] = Int32(place)
    }
  }
}
