import TensorModule

/// Two-dimensional convolution of a channels-last image: a linear layer on unfolded rows, one row
/// per output position, `[OH OW, groups, kh kw C/groups]`. The weight is stored `[out, kh, kw,
/// C/groups]`, so that row and weight run through the window in the same order. Rows that need not
/// be formed are not (`Convolution+Direct.swift`).
package struct Convolution: Operation {
  /// The kernel is that of the weight.
  package let options: WindowOptions
  package private(set) var window = Window.onePixel
  package private(set) var outputs = 0
  package private(set) var hasBias = false
  package private(set) var operationCount = 0

  package init(
    stride: (Int, Int) = (1, 1), padding: (Int, Int) = (0, 0), dilation: (Int, Int) = (1, 1),
    groups: Int = 1
  ) {
    options = WindowOptions(
      stride: stride, padding: padding, dilation: dilation, groups: groups)
  }

  static let weight = 0
  static let bias = 1

  private var groups: Int { options.groups }
  private var positions: Int { window.outHeight * window.outWidth }
  private var imageSize: Int { window.height * window.width * window.channels }
  /// Columns of an unfolded row, and of one group of it.
  private var columns: Int { window.kernelHeight * window.kernelWidth * window.channels }
  private var groupColumns: Int { columns / groups }
  private var groupOutputs: Int { outputs / groups }

  /// A 1 x 1 window that visits every pixel once: the image is its own unfolding.
  private var isPointwise: Bool {
    columns == window.channels && groups == 1 && positions == window.height * window.width
      && window.strideHeight == 1 && window.strideWidth == 1
      && window.paddingHeight == 0 && window.paddingWidth == 0
  }

  var outputSize: Int { positions * outputs }

  package mutating func bind(_ operands: Operands) throws(GraphError) -> ValueType {
    try operands.require(inputs: 1...1, parameters: 1...2)
    let x = try operands.real(0)
    // As in the file: [out, in / groups, height, width].
    let (channels, kernel) = try operands.kernel(Self.weight)
    outputs = channels.0
    guard groups > 0, outputs % groups == 0 else {
      throw GraphError(.option("groups", expected: "a divisor of in_channels and out_channels"))
    }
    let (inputs, overflows) = channels.1.multipliedReportingOverflow(by: groups)
    guard x.shape.count == 3, !overflows, x.shape[2] == inputs else {
      throw operands.mismatch(0, "[height, width, \(channels.1) x \(groups) channels]")
    }
    hasBias = try operands.hasBias(Self.bias, outputs: outputs)
    window = try options.with(kernel: kernel).window(image: x.shape, operands)
    operationCount = try checkedCost(2, positions, outputs, groupColumns)
    return try ValueType([window.outHeight, window.outWidth, outputs])
  }

  package func initialization(slot: Int, shape: [Int]) -> Initialization {
    .layer(inputs: groupColumns)
  }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    // Unfolded rows are many times the image: every pass unfolds it again, a block in cache.
    ForwardNeeds(inputs: [use.trains(Self.weight)])
  }

  package var factorization: Factorization? {
    guard groups == 1 else { return nil }
    return Factorization(
      positions: positions, inputs: columns, outputs: outputs,
      rows: isPointwise ? .input : .unfolded, weightSlot: Self.weight,
      biasSlot: hasBias ? Self.bias : nil)
  }

  /// Also of groups, which are no linear layer.
  package func role(ofParameter slot: Int) -> ParameterRole? { slot == Self.weight ? .weight : nil }

  /// Images whose unfolded rows are multiplied at once: enough rows for a tall product, few
  /// enough to stay in cache, of tangents and of values.
  private var imagesPerBlock: Int {
    max(1, min(256 / positions, (1 << 17) / (positions * columns)))
  }

  package func scratch(samples: Int, directions: Int) -> Int {
    max(isPointwise ? 0 : 2 * blockScalars, directScratch)
  }

  private var blockScalars: Int { imagesPerBlock * positions * columns }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    if isDirect(S.self) { return forwardDirectly(pass) }
    forEachBlock(images: pass.samples) { first, count in
      let rows = unfolded(pass.value(0), first: first, count: count, into: pass.scratch)
      let output = pass.output + first * outputSize
      multiply(
        rows, by: pass.parameter(Self.weight), images: count, accumulate: false, into: output)
      if hasBias {
        Kernels.addToRows(
          pass.parameter(Self.bias), output, rows: count * positions, columns: outputs)
      }
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    if isDirect(S.self) { return jvpDirectly(pass) }
    let (n, tangent) = (pass.samples, pass.tangent(0))
    let hasWeight = (0..<pass.directions).contains {
      pass.parameterTangent(Self.weight, direction: $0) != nil
    }
    forEachBlock(images: n) { first, count in
      let values =
        hasWeight ? unfolded(pass.value(0), first: first, count: count, into: pass.scratch) : nil
      for r in 0..<pass.directions {
        let output = pass.output + (r * n + first) * outputSize
        if let tangent {
          let rows = unfolded(
            tangent + r * n * imageSize, first: first, count: count,
            into: isPointwise ? pass.scratch : pass.scratch + blockScalars)
          multiply(
            rows, by: pass.parameter(Self.weight), images: count, accumulate: false, into: output)
        }
        var written = tangent != nil
        if let values, let weight = pass.parameterTangent(Self.weight, direction: r) {
          multiply(values, by: weight, images: count, accumulate: written, into: output)
          written = true
        }
        if !written { Kernels.zero(output, count: count * outputSize) }
        if hasBias, let bias = pass.parameterTangent(Self.bias, direction: r) {
          Kernels.addToRows(bias, output, rows: count * positions, columns: outputs)
        }
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let images = pass.directions * pass.samples
    if let transposed = transposedWindow(S.self) {
      return DirectConvolution.multiply(
        transposed, outputs: window.channels, images: images, pass.cotangent,
        by: pass.parameter(Self.weight), isTransposed: true, accumulate: accumulate, into: target,
        scratch: pass.scratch)
    }
    if !isPointwise && !accumulate { Kernels.zero(target, count: images * imageSize) }
    forEachBlock(images: images) { first, count in
      let b = pass.cotangent + first * outputSize
      let image = target + first * imageSize
      let rows = isPointwise ? image : pass.scratch
      for g in 0..<groups {
        BLAS.gemm(
          m: count * positions, n: groupColumns, k: groupOutputs, b + g * groupOutputs,
          lda: outputs, pass.parameter(Self.weight) + g * groupOutputs * groupColumns,
          ldb: groupColumns, beta: isPointwise && accumulate ? 1 : 0, rows + g * groupColumns,
          ldc: columns)
      }
      if isPointwise { return }
      for i in 0..<count {
        Kernels.fold(
          window, rows + i * positions * columns, addingTo: image + i * imageSize)
      }
    }
  }

  package func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>
  ) {
    addGradient(pass, slot: slot, direction: direction, images: 0..<pass.samples, to: out)
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    for n in 0..<pass.samples {
      addGradient(
        pass, slot: slot, direction: direction, images: n..<n + 1, to: out + n * stride)
    }
  }

  private func addGradient<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, images: Range<Int>,
    to out: UnsafeMutablePointer<S>
  ) {
    let b = pass.cotangent(direction: direction) + images.lowerBound * outputSize
    if slot == Self.bias {
      Kernels.sumRows(
        b, rows: images.count * positions, columns: outputs, out, accumulate: true)
      return
    }
    let value = pass.value(0) + images.lowerBound * imageSize
    if hasDirectGradient(S.self) {
      DirectConvolution.addGradient(
        window, outputs: outputs, images: images.count, value, b, to: out, scratch: pass.scratch)
      return
    }
    forEachBlock(images: images.count) { first, count in
      let a = unfolded(value, first: first, count: count, into: pass.scratch)
      addOuterProducts(b + first * outputSize, a, rows: count * positions, to: out)
    }
  }

  package func writeRows<S: EngineScalar>(
    _ value: UnsafePointer<S>, samples: Int, to rows: UnsafeMutablePointer<S>
  ) {
    for n in 0..<samples {
      Kernels.unfold(window, value + n * imageSize, rows + n * positions * columns)
    }
  }

  // MARK: - Pieces

  private func forEachBlock(images: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
    var first = 0
    while first < images {
      let count = min(imagesPerBlock, images - first)
      body(first, count)
      first += count
    }
  }

  /// The rows of some images: in `rows`, or where they are if each image is its own unfolding.
  private func unfolded<S: EngineScalar>(
    _ images: UnsafePointer<S>, first: Int, count: Int, into rows: UnsafeMutablePointer<S>
  ) -> UnsafePointer<S> {
    let start = images + first * imageSize
    if isPointwise { return start }
    writeRows(start, samples: count, to: rows)
    return UnsafePointer(rows)
  }

  private func multiply<S: EngineScalar>(
    _ rows: UnsafePointer<S>, by weight: UnsafePointer<S>, images: Int, accumulate: Bool,
    into output: UnsafeMutablePointer<S>
  ) {
    for g in 0..<groups {
      BLAS.gemm(
        transposeB: true, m: images * positions, n: groupOutputs, k: groupColumns,
        rows + g * groupColumns, lda: columns, weight + g * groupOutputs * groupColumns,
        ldb: groupColumns, beta: accumulate ? 1 : 0, output + g * groupOutputs, ldc: outputs)
    }
  }

  private func addOuterProducts<S: EngineScalar>(
    _ b: UnsafePointer<S>, _ a: UnsafePointer<S>, rows: Int, to out: UnsafeMutablePointer<S>
  ) {
    for g in 0..<groups {
      BLAS.gemm(
        transposeA: true, m: groupOutputs, n: groupColumns, k: rows, b + g * groupOutputs,
        lda: outputs, a + g * groupColumns, ldb: columns, beta: 1,
        out + g * groupOutputs * groupColumns, ldc: groupColumns)
    }
  }
}
