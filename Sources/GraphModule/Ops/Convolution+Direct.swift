import TensorModule

// Products on the images themselves, where they are at least as fast as those on unfolded rows. The
// choice is one of shapes, never of the number of samples.
extension Convolution {
  /// Whether outputs, and tangents of them, are formed directly: they lie along the vectors, of 16.
  func isDirect<S: EngineScalar>(_: S.Type) -> Bool {
    DirectConvolution.isAvailable(S.self) && isPlain && outputs >= 16
  }

  /// Whether gradients are: rows of the window lie along the vectors, or outputs.
  func hasDirectGradient<S: EngineScalar>(_: S.Type) -> Bool {
    DirectConvolution.isAvailable(S.self) && isPlain
      && (outputs >= 8 && window.kernelWidth * window.channels >= 8 || outputs % 16 == 0)
  }

  /// The convolution that takes cotangents of the output to those of the image, where that is one and
  /// direct.
  func transposedWindow<S: EngineScalar>(_: S.Type) -> Window? {
    DirectConvolution.isAvailable(S.self) && isPlain && window.channels >= 16
      ? transposedWindow : nil
  }

  private var isPlain: Bool {
    window.groups == 1 && (window.dilationHeight == 1 || window.kernelHeight == 1)
      && (window.dilationWidth == 1 || window.kernelWidth == 1)
  }

  /// Rows of the window are runs of numbers that fill vectors: tangents can be formed at some outputs
  /// alone.
  var hasWholeRows: Bool { isPlain && window.kernelWidth * window.channels % 16 == 0 }

  private var transposedWindow: Window? {
    let w = window
    guard w.strideHeight == 1, w.strideWidth == 1 else { return nil }
    return Window(
      image: (w.outHeight, w.outWidth, outputs), kernel: (w.kernelHeight, w.kernelWidth),
      padding: (w.kernelHeight - 1 - w.paddingHeight, w.kernelWidth - 1 - w.paddingWidth))
  }

  var directScratch: Int {
    guard isPlain else { return 0 }
    return max(
      DirectConvolution.scratch(window), transposedWindow.map(DirectConvolution.scratch) ?? 0,
      hasWholeRows ? DirectConvolution.selectedScratch(window) : 0)
  }

  func forwardDirectly<S: EngineScalar>(_ pass: ForwardPass<S>) {
    DirectConvolution.multiply(
      window, outputs: outputs, images: pass.samples, pass.value(0),
      by: pass.parameter(Self.weight), bias: hasBias ? pass.parameter(Self.bias) : nil,
      into: pass.output, scratch: pass.scratch)
  }

  func jvpDirectly<S: EngineScalar>(_ pass: TangentPass<S>) {
    let n = pass.samples
    let tangent = pass.tangent(0)
    if let tangent {
      DirectConvolution.multiply(
        window, outputs: outputs, images: pass.directions * n, tangent,
        by: pass.parameter(Self.weight), into: pass.output, scratch: pass.scratch)
    }
    for r in 0..<pass.directions {
      let output = pass.output + r * n * outputSize
      let bias = hasBias ? pass.parameterTangent(Self.bias, direction: r) : nil
      if let weight = pass.parameterTangent(Self.weight, direction: r) {
        DirectConvolution.multiply(
          window, outputs: outputs, images: n, pass.value(0), by: weight, bias: bias,
          accumulate: tangent != nil, into: output, scratch: pass.scratch)
        continue
      }
      if tangent == nil { Kernels.zero(output, count: n * outputSize) }
      if let bias {
        Kernels.addToRows(bias, output, rows: n * outputSize / outputs, columns: outputs)
      }
    }
  }
}
