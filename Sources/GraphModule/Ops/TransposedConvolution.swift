import TensorModule

/// The transpose of a convolution, on a channels-last image: every pixel times the kernel, added up where
/// its window lies in the result, `[H, W, out]`. The weight is stored `[in, kh, kw, out/groups]`; rows
/// `[pixels, groups, kh kw out/groups]` of a product with it are folded.
package struct TransposedConvolution: Operation {
  /// Of the convolution; the kernel is that of the weight.
  package let options: WindowOptions
  package let outputPadding: WindowOptions.Pair
  /// On the result.
  private var window = Window.onePixel
  private var inputs = 0
  private var hasBias = false
  package private(set) var operationCount = 0

  package init(
    stride: (Int, Int) = (1, 1), padding: (Int, Int) = (0, 0), outputPadding: (Int, Int) = (0, 0),
    dilation: (Int, Int) = (1, 1), groups: Int = 1
  ) {
    options = WindowOptions(
      stride: stride, padding: padding, dilation: dilation, groups: groups)
    self.outputPadding = .init(outputPadding)
  }

  static let weight = 0
  static let bias = 1

  private var groups: Int { options.groups }
  /// Pixels of the input, and numbers in a row.
  private var positions: Int { window.outHeight * window.outWidth }
  private var columns: Int { window.kernelHeight * window.kernelWidth * window.channels }
  private var outputSize: Int { window.height * window.width * window.channels }
  private var inputSize: Int { positions * inputs }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 1...2)
    let x = try operands.real(0)
    // As in the file: [in, out / groups, height, width].
    let (channels, kernel) = try operands.kernel(Self.weight)
    inputs = channels.0
    guard groups > 0, inputs % groups == 0 else {
      throw GraphError(.option("groups", expected: "a divisor of in_channels"))
    }
    guard x.shape.count == 3, x.shape[2] == inputs else {
      throw operands.mismatch(0, "[height, width, \(inputs) channels]")
    }
    let (outputs, overflows) = channels.1.multipliedReportingOverflow(by: groups)
    guard !overflows else { throw GraphError(.size([channels.1, groups])) }
    hasBias = try operands.hasBias(Self.bias, outputs: outputs)
    let height = try extent(x.shape[0], kernel.0, \.height)
    let width = try extent(x.shape[1], kernel.1, \.width)
    let type = try ValueType([height, width, outputs])
    window = try options.with(kernel: kernel).window(image: type.shape, operands)
    guard window.outHeight == x.shape[0], window.outWidth == x.shape[1] else {
      throw GraphError(.option("output_padding", expected: "less than stride"))
    }
    operationCount = try checkedCost(2, positions, inputs, columns / groups)
    return type
  }

  /// Length of the result along one axis.
  private func extent(
    _ size: Int, _ kernel: Int, _ axis: KeyPath<WindowOptions.Pair, Int>
  ) throws(GraphError) -> Int {
    let (stride, padding) = (options.stride[keyPath: axis], options.padding[keyPath: axis])
    let outputPadding = outputPadding[keyPath: axis]
    guard let kernel = Window.extent(kernel: kernel, dilation: options.dilation[keyPath: axis]),
      let steps = checkedProduct(size - 1, stride, atMost: Int(Int32.max)), padding >= 0,
      padding <= Int(Int32.max), outputPadding >= 0, outputPadding < stride
    else {
      throw GraphError(
        .option("output_padding", expected: "less than stride, of sizes below 2^31"))
    }
    let length = steps + kernel + outputPadding - 2 * padding
    guard length > 0 else { throw GraphError(.option("padding", expected: "a smaller number")) }
    return length
  }

  package func initialization(slot: Int, shape: [Int]) -> Initialization {
    .layer(inputs: columns / groups)
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    ForwardNeeds(inputs: [use.trains(Self.weight)])
  }

  package func role(ofParameter slot: Int) -> ParameterRole? { slot == Self.weight ? .weight : nil }

  /// Images whose rows are formed at once: enough for a tall product, few enough for a cache.
  private var imagesPerBlock: Int {
    max(1, min(256 / positions, (1 << 17) / (positions * columns)))
  }

  package func scratch(samples: Int, directions: Int) -> Int {
    imagesPerBlock * positions * columns
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    forEachBlock(images: pass.samples) { first, count in
      multiply(
        pass.value(0) + first * inputSize, by: pass.parameter(Self.weight), images: count,
        accumulate: false, into: pass.scratch)
      fold(
        pass.scratch, images: count, bias: hasBias ? pass.parameter(Self.bias) : nil,
        into: pass.output + first * outputSize)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let n = pass.samples
    for r in 0..<pass.directions {
      let bias = hasBias ? pass.parameterTangent(Self.bias, direction: r) : nil
      let weight = pass.parameterTangent(Self.weight, direction: r)
      forEachBlock(images: n) { first, count in
        var written = false
        if let tangent = pass.tangent(0) {
          multiply(
            tangent + (r * n + first) * inputSize, by: pass.parameter(Self.weight), images: count,
            accumulate: false, into: pass.scratch)
          written = true
        }
        if let weight {
          multiply(
            pass.value(0) + first * inputSize, by: weight, images: count, accumulate: written,
            into: pass.scratch)
          written = true
        }
        fold(
          written ? pass.scratch : nil, images: count, bias: bias,
          into: pass.output + (r * n + first) * outputSize)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let (rowsPerGroup, inputsPerGroup) = (columns / groups, inputs / groups)
    forEachBlock(images: pass.directions * pass.samples) { first, count in
      unfold(pass.cotangent + first * outputSize, images: count, into: pass.scratch)
      for g in 0..<groups {
        BLAS.gemm(
          transposeB: true, m: count * positions, n: inputsPerGroup, k: rowsPerGroup,
          pass.scratch + g * rowsPerGroup, lda: columns,
          pass.parameter(Self.weight) + g * inputsPerGroup * rowsPerGroup, ldb: rowsPerGroup,
          beta: accumulate ? 1 : 0, target + first * inputSize + g * inputsPerGroup, ldc: inputs)
      }
    }
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    addGradient(pass, slot, direction, images: 0..<pass.samples, to: out)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    for n in 0..<pass.samples {
      addGradient(pass, slot, direction, images: n..<n + 1, to: out + n * stride)
    }
  }

  private func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, _ slot: Int, _ direction: Int, images: Range<Int>,
    to out: UnsafeMutablePointer<S>
  ) {
    let b = pass.cotangent(direction: direction) + images.lowerBound * outputSize
    if slot == Self.bias {
      return Kernels.sumRows(
        b, rows: images.count * outputSize / window.channels, columns: window.channels, out,
        accumulate: true)
    }
    let (rowsPerGroup, inputsPerGroup) = (columns / groups, inputs / groups)
    forEachBlock(images: images.count) { first, count in
      unfold(b + first * outputSize, images: count, into: pass.scratch)
      let a = pass.value(0) + (images.lowerBound + first) * inputSize
      for g in 0..<groups {
        BLAS.gemm(
          transposeA: true, m: inputsPerGroup, n: rowsPerGroup, k: count * positions,
          a + g * inputsPerGroup, lda: inputs, pass.scratch + g * rowsPerGroup, ldb: columns,
          beta: 1, out + g * inputsPerGroup * rowsPerGroup, ldc: rowsPerGroup)
      }
    }
  }

  // MARK: - Pieces

  private func forEachBlock(images: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
    for first in Swift.stride(from: 0, to: images, by: imagesPerBlock) {
      body(first, min(imagesPerBlock, images - first))
    }
  }

  /// Rows of images: `[pixels, in]` by the weight.
  private func multiply<S: EngineScalar>(
    _ x: UnsafePointer<S>, by weight: UnsafePointer<S>, images: Int, accumulate: Bool,
    into rows: UnsafeMutablePointer<S>
  ) {
    let (rowsPerGroup, inputsPerGroup) = (columns / groups, inputs / groups)
    for g in 0..<groups {
      BLAS.gemm(
        m: images * positions, n: rowsPerGroup, k: inputsPerGroup, x + g * inputsPerGroup,
        lda: inputs, weight + g * inputsPerGroup * rowsPerGroup, ldb: rowsPerGroup,
        beta: accumulate ? 1 : 0, rows + g * rowsPerGroup, ldc: columns)
    }
  }

  private func fold<S: EngineScalar>(
    _ rows: UnsafePointer<S>?, images: Int, bias: UnsafePointer<S>?,
    into output: UnsafeMutablePointer<S>
  ) {
    Kernels.zero(output, count: images * outputSize)
    if let rows {
      for i in 0..<images {
        Kernels.fold(window, rows + i * positions * columns, addingTo: output + i * outputSize)
      }
    }
    if let bias {
      Kernels.addToRows(
        bias, output, rows: images * outputSize / window.channels, columns: window.channels)
    }
  }

  private func unfold<S: EngineScalar>(
    _ images: UnsafePointer<S>, images count: Int, into rows: UnsafeMutablePointer<S>
  ) {
    for i in 0..<count {
      Kernels.unfold(window, images + i * outputSize, rows + i * positions * columns)
    }
  }
}
