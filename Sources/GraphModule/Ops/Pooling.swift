import TensorModule

/// Maximum over windows of a channels-last image; the forward pass keeps who won.
package struct MaxPool: Operation {
  package let options: WindowOptions
  private var window = Window.onePixel
  package private(set) var operationCount = 0

  package init(_ options: WindowOptions) { self.options = options }

  private var imageSize: Int { window.height * window.width * window.channels }
  private var outputSize: Int { window.outHeight * window.outWidth * window.channels }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    guard x.shape.count == 3 else { throw operands.mismatch(0, "[height, width, channels]") }
    window = try options.poolingWindow(image: x.shape, operands)
    operationCount = try checkedCost(outputSize, window.kernelHeight, window.kernelWidth)
    return try ValueType([window.outHeight, window.outWidth, window.channels])
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    // One Int32 each; a scalar is at least as wide.
    ForwardNeeds(inputs: [false], saved: use.anyInputActive ? outputSize : 0, savesIndices: true)
  }

  package func scratch(samples: Int, directions: Int) -> Int { outputSize }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let spare = UnsafeMutableRawPointer(pass.scratch).assumingMemoryBound(to: Int32.self)
    for n in 0..<pass.samples {
      Kernels.maxPool(
        window, pass.value(0) + n * imageSize, pass.output + n * outputSize,
        pass.keepsSaved ? pass.savedIndices + n * outputSize : spare)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    pass.gatherFromSavedPlaces(of: imageSize, count: outputSize)
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    pass.scatterToSavedPlaces(of: imageSize, count: outputSize)
  }
}

/// Mean over windows of a channels-last image; padding counts as zeros.
package struct AveragePool: Operation {
  /// `nil`: the whole image.
  package let options: WindowOptions?
  private var window = Window.onePixel
  package private(set) var operationCount = 0

  package init(_ options: WindowOptions? = nil) { self.options = options }

  private var imageSize: Int { window.height * window.width * window.channels }
  private var outputSize: Int { window.outHeight * window.outWidth * window.channels }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 0...0)
    let x = try operands.real(0)
    guard x.shape.count == 3 else { throw operands.mismatch(0, "[height, width, channels]") }
    let options = options ?? WindowOptions(kernel: (x.shape[0], x.shape[1]))
    window = try options.poolingWindow(image: x.shape, operands)
    operationCount = try checkedCost(outputSize, window.kernelHeight, window.kernelWidth)
    return try ValueType([window.outHeight, window.outWidth, window.channels])
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds { ForwardNeeds(inputs: [false]) }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    for n in 0..<pass.samples {
      Kernels.averagePool(
        window, pass.value(0) + n * imageSize, pass.output + n * outputSize)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    for i in 0..<pass.directions * pass.samples {
      Kernels.averagePool(
        window, pass.tangent(0)! + i * imageSize, pass.output + i * outputSize)
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let images = pass.directions * pass.samples
    if !accumulate { Kernels.zero(target, count: images * imageSize) }
    for i in 0..<images {
      Kernels.averagePoolTranspose(
        window, pass.cotangent + i * outputSize, addingTo: target + i * imageSize)
    }
  }
}
