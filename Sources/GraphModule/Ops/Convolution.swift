import TensorModule

/// Two-dimensional convolution of a channels-last image: a linear layer on unfolded rows, one row
/// per output position, `[OH OW, groups, kh kw C/groups]`. The weight is stored `[out, kh, kw,
/// C/groups]`, so that row and weight run through the window in the same order.
package struct Convolution: Operation {
  package let window: Kernels.Window
  package let outputs: Int
  package let hasBias: Bool

  package init(window: Kernels.Window, outputs: Int, hasBias: Bool) {
    self.window = window
    self.outputs = outputs
    self.hasBias = hasBias
  }

  static let weight = 0
  static let bias = 1

  private var groups: Int { window.groups }
  private var positions: Int { window.out_height * window.out_width }
  private var imageSize: Int { window.height * window.width * window.channels }
  /// Columns of an unfolded row, and of one group of it.
  private var columns: Int { window.kernel_height * window.kernel_width * window.channels }
  private var groupColumns: Int { columns / groups }
  private var groupOutputs: Int { outputs / groups }

  /// A 1 x 1 window that visits every pixel once: the image is its own unfolding.
  private var isPointwise: Bool {
    columns == window.channels && groups == 1 && positions == window.height * window.width
      && window.stride_height == 1 && window.stride_width == 1
      && window.padding_height == 0 && window.padding_width == 0
  }

  package var inputSizes: [Int] { [imageSize] }
  package var outputSize: Int { positions * outputs }
  package var operationCount: Int { 2 * positions * outputs * groupColumns }

  package func needs(_ use: DerivativeUse) -> ForwardNeeds {
    let trains = use.trains(Self.weight)
    return isPointwise
      ? ForwardNeeds(inputs: [trains])
      : ForwardNeeds(inputs: [false], saved: trains ? positions * columns : 0)
  }

  package var factorization: Factorization? {
    guard groups == 1 else { return nil }
    return Factorization(
      positions: positions, inputs: columns, outputs: outputs,
      rows: isPointwise ? .input : .saved, weightSlot: Self.weight,
      biasSlot: hasBias ? Self.bias : nil)
  }

  /// Images whose unfolded rows are multiplied at once: enough rows for a tall product, few
  /// enough to stay in cache.
  private var imagesPerBlock: Int { max(1, 256 / positions) }

  package func scratch(samples: Int, directions: Int) -> Int {
    isPointwise ? 0 : min(imagesPerBlock, samples * directions) * positions * columns
  }

  package func forward<S: EngineScalar>(_ pass: ForwardPass<S>) {
    let keep = pass.keepsSaved && !isPointwise
    forEachBlock(images: pass.samples) { first, count in
      let rows = unfolded(
        pass.value(0), first: first, count: count,
        into: isPointwise ? nil : keep ? pass.saved + first * positions * columns : pass.scratch)
      multiply(
        rows, by: pass.parameter(Self.weight), images: count, accumulate: false,
        into: pass.output + first * outputSize)
    }
    if hasBias {
      Kernels.addToRows(
        pass.parameter(Self.bias), pass.output, rows: pass.samples * positions, columns: outputs)
    }
  }

  package func jvp<S: EngineScalar>(_ pass: TangentPass<S>) {
    let tangent = pass.tangent(0)
    if let tangent {
      forEachBlock(images: pass.directions * pass.samples) { first, count in
        let rows = unfolded(
          tangent, first: first, count: count, into: isPointwise ? nil : pass.scratch)
        multiply(
          rows, by: pass.parameter(Self.weight), images: count, accumulate: false,
          into: pass.output + first * outputSize)
      }
    }
    for r in 0..<pass.directions {
      let output = pass.output + r * pass.samples * outputSize
      var written = tangent != nil
      if let weight = pass.parameterTangent(Self.weight, direction: r) {
        multiply(
          keptRows(pass), by: weight, images: pass.samples, accumulate: written, into: output)
        written = true
      }
      if !written { Kernels.zero(output, count: pass.samples * outputSize) }
      if hasBias, let bias = pass.parameterTangent(Self.bias, direction: r) {
        Kernels.addToRows(bias, output, rows: pass.samples * positions, columns: outputs)
      }
    }
  }

  package func vjp<S: EngineScalar>(_ pass: CotangentPass<S>) {
    guard let (target, accumulate) = pass.inputCotangent(0) else { return }
    let images = pass.directions * pass.samples
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
    let b = pass.cotangent(direction: direction)
    let rows = pass.samples * positions
    if slot == Self.weight {
      addOuterProducts(b, keptRows(pass), rows: rows, to: out)
    } else {
      Kernels.sumRows(b, rows: rows, columns: outputs, out, accumulate: true)
    }
  }

  package func addPerSampleGradients<S: EngineScalar>(
    _ pass: CotangentPass<S>, slot: Int, direction: Int, to out: UnsafeMutablePointer<S>,
    stride: Int
  ) {
    let b = pass.cotangent(direction: direction)
    for n in 0..<pass.samples {
      if slot == Self.weight {
        addOuterProducts(
          b + n * outputSize, keptRows(pass) + n * positions * columns, rows: positions,
          to: out + n * stride)
      } else {
        Kernels.sumRows(
          b + n * outputSize, rows: positions, columns: outputs, out + n * stride,
          accumulate: true)
      }
    }
  }

  // MARK: - Pieces

  private func keptRows<S>(_ pass: some Pass) -> UnsafePointer<S>
  where S: EngineScalar {
    isPointwise
      ? UnsafeRawPointer(pass.value(0)).assumingMemoryBound(to: S.self)
      : UnsafeRawPointer(pass.saved).assumingMemoryBound(to: S.self)
  }

  private func forEachBlock(images: Int, _ body: (_ first: Int, _ count: Int) -> Void) {
    var first = 0
    while first < images {
      let count = min(imagesPerBlock, images - first)
      body(first, count)
      first += count
    }
  }

  private func unfolded<S: EngineScalar>(
    _ images: UnsafePointer<S>, first: Int, count: Int, into rows: UnsafeMutablePointer<S>?
  ) -> UnsafePointer<S> {
    let start = images + first * imageSize
    guard let rows else { return start }
    for i in 0..<count {
      Kernels.unfold(window, start + i * imageSize, rows + i * positions * columns)
    }
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
