import TensorModule

/// Where a window goes on an image `[height, width, channels]`, as PyTorch's layers say it.
package struct WindowOptions: Sendable, Equatable {
  package struct Pair: Sendable, Equatable {
    package let height: Int
    package let width: Int

    package init(_ pair: (Int, Int)) { (height, width) = pair }
  }
  package private(set) var kernel: Pair
  package let stride: Pair
  package let padding: Pair
  package let dilation: Pair
  package let groups: Int

  package init(
    kernel: (Int, Int) = (1, 1), stride: (Int, Int) = (1, 1), padding: (Int, Int) = (0, 0),
    dilation: (Int, Int) = (1, 1), groups: Int = 1
  ) {
    self.kernel = Pair(kernel)
    self.stride = Pair(stride)
    self.padding = Pair(padding)
    self.dilation = Pair(dilation)
    self.groups = groups
  }

  /// The same with another kernel.
  func with(kernel: (Int, Int)) -> WindowOptions {
    var result = self
    result.kernel = Pair(kernel)
    return result
  }

  /// A window of which every place sees something of the image.
  func poolingWindow(image: [Int], _ operands: Operands) throws(GraphError) -> Window {
    guard padding.height <= kernel.height / 2, padding.width <= kernel.width / 2 else {
      throw GraphError(.option("padding", expected: "at most half of kernel_size"))
    }
    return try window(image: image, operands)
  }

  /// - Parameter image: The shape of input 0.
  func window(image: [Int], _ operands: Operands) throws(GraphError) -> Window {
    guard let height = Window.extent(kernel: kernel.height, dilation: dilation.height),
      let width = Window.extent(kernel: kernel.width, dilation: dilation.width)
    else {
      throw GraphError(
        .option("kernel_size", expected: "less than 2^31 pixels with its dilation"))
    }
    // More would add nothing but windows that see nothing of the image.
    guard padding.height <= height, padding.width <= width else {
      throw GraphError(
        .option(
          "padding",
          expected: "at most the kernel with its dilation, which is \(height) x \(width)"))
    }
    let channels = image[2]
    guard
      let rows = Window.outputs(
        image[0], kernel.height, stride.height, padding.height, dilation.height),
      let columns = Window.outputs(
        image[1], kernel.width, stride.width, padding.width, dilation.width)
    else {
      throw operands.mismatch(
        0,
        "an image into which, padded, kernel_size \((kernel.height, kernel.width)) fits with its "
          + "dilation")
    }
    for sizes in [
      [channels, rows, columns], [rows, columns, kernel.height, kernel.width, channels],
      [channels, image[0] + 2 * padding.height, image[1] + 2 * padding.width],
    ] { _ = try ValueType(sizes) }
    guard
      let window = Window(
        image: (image[0], image[1], channels), kernel: (kernel.height, kernel.width),
        stride: (stride.height, stride.width), padding: (padding.height, padding.width),
        dilation: (dilation.height, dilation.width), groups: groups)
    else { throw operands.mismatch(0, "an image that the layer's options fit") }
    return window
  }
}

extension Operands {
  /// Sizes of a kernel as it is in a file: two of channels, height and width; that of a sequence, which is
  /// an image of one row, has no height there.
  func kernel(_ slot: Int) throws(GraphError) -> (channels: (Int, Int), size: (Int, Int)) {
    var sizes = parameters[slot]
    if sizes.count == 3 {
      sizes.insert(1, at: 2)
    } else {
      sizes = try parameter(slot, rank: 4)
    }
    return ((sizes[0], sizes[1]), (sizes[2], sizes[3]))
  }
}
