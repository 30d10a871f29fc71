import TensorModule

/// Two operands that are repeated to one shape, dimensions matched from the last one, as PyTorch
/// does it.
struct Broadcasting: Sendable {
  private(set) var shape: [Int] = []
  private(set) var count = 1
  /// Per operand along the dimensions of the output.
  private var strides: [[Int]] = [[], []]
  private var counts = [1, 1]

  init() {}

  init(_ operands: Operands) throws(GraphError) {
    let shapes = [try operands.real(0).shape, try operands.real(1).shape]
    try self.init(shapes, operands)
  }

  /// - Parameter shapes: Of the last two inputs.
  init(_ shapes: [[Int]], _ operands: Operands) throws(GraphError) {
    let rank = max(shapes[0].count, shapes[1].count)
    func size(_ shape: [Int], _ axis: Int) -> Int {
      let own = axis - rank + shape.count
      return own < 0 ? 1 : shape[own]
    }
    shape = (0..<rank).map { axis in
      let (a, b) = (size(shapes[0], axis), size(shapes[1], axis))
      return a == 1 ? b : a
    }
    guard rank < StridedAxes.maximum,
      let a = broadcastStrides(shapes[0], to: shape), let b = broadcastStrides(shapes[1], to: shape)
    else {
      throw operands.mismatch(
        operands.inputs.count - 1, "a shape that can be repeated to that of \(shapes[0])")
    }
    strides = [a, b]
    counts = shapes.map { $0.reduce(1, *) }
    count = shape.reduce(1, *)
  }

  /// Whether neither is repeated.
  var isPlain: Bool { counts == [count, count] }

  /// Axes of `samples` outputs, dense, from operands whose samples are so far apart.
  func outward(_ samples: Int, a: Int, b: Int) -> StridedAxes {
    axes(samples, a: (a, strides[0]), b: (b, strides[1]), out: (count, rowMajorStrides(shape)))
  }

  /// Axes from the dense output back to an operand, times the other one.
  ///
  /// - Parameter stride: From one sample of the other operand to the next.
  func inward(_ operand: Int, _ samples: Int, other stride: Int) -> StridedAxes {
    axes(
      samples, a: (count, rowMajorStrides(shape)), b: (stride, strides[1 - operand]),
      out: (counts[operand], strides[operand]))
  }

  /// The same for one operand alone, repeated.
  func repeating(_ operand: Int, _ samples: Int, stride: Int) -> StridedAxes {
    axes(
      samples, a: (stride, strides[operand]), b: (0, strides[operand].map { _ in 0 }),
      out: (count, rowMajorStrides(shape)))
  }

  func count(_ operand: Int) -> Int { counts[operand] }

  private func axes(
    _ samples: Int, a: (Int, [Int]), b: (Int, [Int]), out: (Int, [Int])
  ) -> StridedAxes {
    var axes = StridedAxes()
    axes.append(samples, a: a.0, b: b.0, out: out.0)
    for axis in shape.indices {
      axes.append(shape[axis], a: a.1[axis], b: b.1[axis], out: out.1[axis])
    }
    return axes
  }
}
