import TensorModule

/// Row-major places in a value, one for each entry of an index: where the entry is, but for one dimension,
/// in which its number counts.
struct IndexedPlaces: Sendable {
  /// Of the entries of an index of zeros.
  private var first: [Int32] = []
  private var stride = 1

  init() {}

  /// - Parameters:
  ///   - shape: Of the index.
  ///   - target: Of the value, which has fewer than 2^31 numbers and is at least as large as the index in
  ///     all dimensions but the one.
  init(axis: Int, shape: [Int], in target: [Int]) {
    var strides = rowMajorStrides(target)
    stride = strides[axis]
    strides[axis] = 0
    first = [0]
    for (size, stride) in zip(shape, strides) {
      first = first.flatMap { start in (0..<size).map { start + Int32($0 * stride) } }
    }
  }

  func write(_ index: UnsafePointer<Int32>, to places: UnsafeMutablePointer<Int32>) {
    first.withUnsafeBufferPointer {
      Kernels.places(index, first: $0.baseAddress!, stride: stride, places, count: $0.count)
    }
  }
}
