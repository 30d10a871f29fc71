import TensorModule

/// The numbers of a value in another order, some of them, or repeated: what strides can say.
package struct View: Operation {
  package enum Kind: Sendable, Equatable {
    /// Dimension i of the output is dimension `axes[i]` of the input.
    case permute([Int])
    /// Repeated along dimensions of 1 and along new ones in front.
    case expand([Int])
    /// Entries `start`, `start + step`, ... of one dimension; a negative step goes backwards.
    case slice(axis: Int, start: Int, step: Int, count: Int)
  }
  package let kind: Kind
  private var shape: [Int] = []
  private var inputCount = 1
  private var outputCount = 1
  private var offset = 0
  /// Of a permutation that moves the first dimensions behind the others: rows and columns that trade
  /// places.
  private var transposed: (rows: Int, columns: Int)?
  /// In the input, along the dimensions of the output.
  private var strides: [Int] = []

  package init(_ kind: Kind) { self.kind = kind }

  /// The first dimension behind all others: from channels-first files to the channels-last images of
  /// the engine.
  package static func firstToLast(_ rank: Int) -> View { View(.permute(Array(1..<rank) + [0])) }

  /// The last dimension in front of all others.
  package static func lastToFirst(_ rank: Int) -> View {
    View(.permute([rank - 1] + (0..<rank - 1)))
  }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    let own = rowMajorStrides(x.shape)
    (offset, transposed) = (0, nil)
    switch kind {
    case .permute(let axes):
      guard axes.sorted() == Array(x.shape.indices) else {
        throw operands.mismatch(0, "\(axes.count) dimensions, in the order \(axes)")
      }
      (shape, strides) = (axes.map { x.shape[$0] }, axes.map { own[$0] })
      if let first = axes.first, axes == Array(first..<axes.count) + (0..<first) {
        let rows = x.shape[..<first].reduce(1, *)
        transposed = (rows, x.count / rows)
      }
    case .expand(let target):
      guard let repeated = broadcastStrides(x.shape, to: target) else {
        throw operands.mismatch(0, "a shape that can be repeated to \(target)")
      }
      (shape, strides) = (target, repeated)
    case .slice(let axis, let start, let step, let count):
      guard x.shape.indices.contains(axis), step != 0, step.magnitude < 1 << 31, count > 0,
        let extent = checkedProduct(count - 1, abs(step), atMost: x.shape[axis]),
        (0..<x.shape[axis]).contains(start),
        (0..<x.shape[axis]).contains(step > 0 ? start + extent : start - extent)
      else {
        throw operands.mismatch(0, "\(count) entries from \(start) by \(step) in dimension \(axis)")
      }
      (shape, strides, offset) = (x.shape, own, start * own[axis])
      shape[axis] = count
      strides[axis] *= step
    }
    guard shape.count < StridedAxes.maximum else {
      throw operands.mismatch(0, "fewer than \(StridedAxes.maximum) dimensions")
    }
    let type = try ValueType(shape)
    (inputCount, outputCount) = (x.count, type.count)
    return type
  }

  package var carriedInput: Int? { 0 }
  package func readsOneRow(_ input: Int) -> Bool { true }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    copy(pass.value(0), stride: pass.stride(0), samples: pass.samples, to: pass.output)
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    copy(
      pass.tangent(0)!, stride: inputCount, samples: pass.directions * pass.samples,
      to: pass.output)
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let samples = pass.directions * pass.samples
    if let (rows, columns) = transposed, !accumulate {
      for n in 0..<samples {
        BLAS.transpose(
          pass.cotangent + n * outputCount, rows: columns, columns: rows,
          into: target + n * inputCount)
      }
      return
    }
    var adds = accumulate
    if case .slice = kind, !accumulate {
      Kernels.zero(target, count: samples * inputCount)
      adds = true
    }
    var axes = StridedAxes()
    axes.append(samples, a: outputCount, out: inputCount)
    for (axis, stride) in rowMajorStrides(shape).enumerated() {
      axes.append(shape[axis], a: stride, out: strides[axis])
    }
    Kernels.contract(axes, pass.cotangent, to: target + offset, accumulate: adds)
  }

  private func copy<S: EngineScalar>(
    _ x: UnsafePointer<S>, stride: Int, samples: Int, to output: UnsafeMutablePointer<S>
  ) {
    if let (rows, columns) = transposed {
      for n in 0..<samples {
        BLAS.transpose(
          x + n * stride, rows: rows, columns: columns, into: output + n * outputCount)
      }
      return
    }
    var axes = StridedAxes()
    axes.append(samples, a: stride, out: outputCount)
    for (axis, own) in rowMajorStrides(shape).enumerated() {
      axes.append(shape[axis], a: strides[axis], out: own)
    }
    Kernels.contract(axes, x + offset, to: output)
  }
}
