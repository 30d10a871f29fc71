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

  /// Which pixel each tap of each window sees, `[places, taps]`, `nil` in the padding.
  func sources() throws -> [Int?] {
    guard checkedProduct([places, taps], atMost: 1 << 26) != nil else {
      throw ImportFailure("windows of \(kernel) on \(image) are too many")
    }
    var result: [Int?] = []
    result.reserveCapacity(places * taps)
    for place in Self.indices(outputs) {
      for tap in Self.indices(kernel) {
        var pixel: Int? = 0
        for axis in image.indices {
          let at = place[axis] * stride[axis] + tap[axis] * dilation[axis] - padding[axis].0
          pixel =
            (0..<image[axis]).contains(at) ? pixel.map { $0 * image[axis] + at } : nil
        }
        result.append(pixel)
      }
    }
    return result
  }

  /// All indices of a shape in order.
  private static func indices(_ shape: [Int]) -> [[Int]] {
    shape.reduce([[]]) { heads, size in
      heads.flatMap { head in (0..<size).map { head + [$0] } }
    }
  }
}
