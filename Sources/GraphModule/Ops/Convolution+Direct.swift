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
      && (outputs >= 8 && window.kernel_width * window.channels >= 8 || outputs % 16 == 0)
  }

  /// The convolution that takes cotangents of the output to those of the image, where that is one and
  /// direct.
  func transposedWindow<S: EngineScalar>(_: S.Type) -> Kernels.Window? {
    DirectConvolution.isAvailable(S.self) && isPlain && window.channels >= 16
      ? transposedWindow : nil
  }

  private var isPlain: Bool {
    window.groups == 1 && (window.dilation_height == 1 || window.kernel_height == 1)
      && (window.dilation_width == 1 || window.kernel_width == 1)
  }

  /// Rows of the window are runs of numbers that fill vectors: tangents can be formed at some outputs
  /// alone.
  var hasWholeRows: Bool { isPlain && window.kernel_width * window.channels % 16 == 0 }

  private var transposedWindow: Kernels.Window? {
    let w = window
    guard w.stride_height == 1, w.stride_width == 1, w.padding_height < w.kernel_height,
      w.padding_width < w.kernel_width
    else { return nil }
    return Kernels.Window(
      height: w.out_height, width: w.out_width, channels: outputs, kernel_height: w.kernel_height,
      kernel_width: w.kernel_width, stride_height: 1, stride_width: 1,
      padding_height: w.kernel_height - 1 - w.padding_height,
      padding_width: w.kernel_width - 1 - w.padding_width, dilation_height: 1, dilation_width: 1,
      groups: 1, out_height: w.height, out_width: w.width)
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
