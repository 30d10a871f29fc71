import GraphModule
import TensorModule

/// How windows lie along each dimension of an image, as PyTorch's arguments say it.
struct WindowGeometry {
  var kernel: [Int]
  var stride: [Int]
  /// Before and behind each dimension.
  var padding: [(Int, Int)]
  var dilation: [Int]
  private(set) var outputs: [Int] = []
  let image: [Int]

  /// - Parameter roundsUp: PyTorch's `ceil_mode`.
  init(
    image: [Int], kernel: [Int], stride: [Int], padding: [(Int, Int)], dilation: [Int],
    roundsUp: Bool = false
  ) throws {
    let rank = image.count
    guard (1...KroneckerMatrix.mostAxes).contains(rank) else {
      throw ImportFailure("windows in \(rank) dimensions")
    }
    (self.image, self.kernel) = (image, kernel)
    (self.stride, self.padding, self.dilation) = (stride, padding, dilation)
    guard kernel.count == rank, stride.count == rank, padding.count == rank, dilation.count == rank,
      (kernel + stride + dilation).allSatisfy({ (1...1 << 24).contains($0) }),
      padding.allSatisfy({ (0...1 << 24).contains($0.0) && (0...1 << 24).contains($0.1) })
    else { throw ImportFailure("windows of \(kernel) by \(stride) on an image \(image)") }
    for axis in 0..<rank {
      let span =
        image[axis] + padding[axis].0 + padding[axis].1 - dilation[axis] * (kernel[axis] - 1) - 1
      guard span >= 0 else { throw ImportFailure("the image \(image) is smaller than a window") }
      var count = span / stride[axis] + 1
      if roundsUp, span % stride[axis] != 0,
        count * stride[axis] < image[axis] + padding[axis].0
      {
        count += 1
      }
      outputs.append(count)
    }
  }

  /// One number for each dimension, where one is given for all.
  static func spread(_ values: [Int], _ rank: Int) -> [Int] {
    values.count == 1 ? [Int](repeating: values[0], count: rank) : values
  }

  /// Whether every window sees something of the image.
  var isWithinKernel: Bool {
    zip(padding, zip(kernel, dilation)).allSatisfy { $0.0 <= $1.1 * ($1.0 - 1) + 1 }
  }

  /// Of an image the two values, of a sequence one of its own for the row that it is.
  func pair(_ values: [Int], _ row: Int) -> (Int, Int) {
    values.count == 1 ? (row, values[0]) : (values[0], values[1])
  }

  var isSymmetric: Bool { padding.allSatisfy { $0.0 == $0.1 } }
  var pixels: Int { image.reduce(1, *) }
  var places: Int { outputs.reduce(1, *) }
  var taps: Int { kernel.reduce(1, *) }

  /// How the windows of an image lie, and what they see of it.
  enum Layout {
    /// `[places, taps]`
    case placesFirst
    /// `[taps, places]`
    case tapsFirst
  }

  /// What each tap of each window sees of the pixels; nothing in the padding, or what another tap of
  /// its window sees (`repeatsEdges`).
  func grid(
    _ layout: Layout = .placesFirst, repeatsEdges: Bool = false
  ) throws -> [KroneckerMatrix.Axis] {
    try image.indices.map { axis in
      let matrix = SparseMatrix(
        columns: image[axis], taking: sources(axis, repeatsEdges: repeatsEdges),
        atMost: TensorBuilder.mostTerms)
      guard let matrix, checkedProduct([places, taps], atMost: Int(Int32.max)) != nil else {
        throw ImportFailure("windows of \(kernel) on \(image) are too many")
      }
      if repeatsEdges, matrix.count < matrix.rows {
        throw ImportFailure("a window that sees nothing of the image")
      }
      let (place, tap) = (rowMajorStrides(outputs)[axis], rowMajorStrides(kernel)[axis])
      let pixel = rowMajorStrides(image)[axis]
      return KroneckerMatrix.Axis(
        matrix,
        rowOffsets: (0..<outputs[axis] * kernel[axis]).map {
          let (own, inside) = $0.quotientAndRemainder(dividingBy: kernel[axis])
          return layout == .placesFirst
            ? own * place * taps + inside * tap : inside * tap * places + own * place
        },
        columnOffsets: (0..<image[axis]).map { $0 * pixel })
    }
  }

  /// Along one dimension, by place and by tap.
  private func sources(_ axis: Int, repeatsEdges: Bool) -> some Sequence<Int?> {
    let (size, taps) = (image[axis], kernel[axis])
    let (stride, dilation, before) = (stride[axis], dilation[axis], padding[axis].0)
    return (0..<outputs[axis]).lazy.flatMap { place in
      let start = place * stride - before
      // The first tap in the image; in its place those of the padding see the same.
      let first = start < 0 ? start + (dilation - 1 - start) / dilation * dilation : start
      let edge = (0..<size).contains(first) && first < start + taps * dilation ? first : nil
      return (0..<taps).lazy.map { tap -> Int? in
        let at = start + tap * dilation
        return (0..<size).contains(at) ? at : repeatsEdges ? edge : nil
      }
    }
  }
}
