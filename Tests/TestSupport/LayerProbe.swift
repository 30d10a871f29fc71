/// Watches one linear layer or convolution while the oracle's model runs: notes the rows that its
/// weight multiplies, and shifts one entry of its output to see what the logits do.
final class LayerProbe {
  let name: String
  /// Entry of the output, `[T][out]`, that gets the derivative 1.
  var entry = 0
  /// `[T][in]`, in the order of the weight in the file.
  private(set) var inputs: [[Double]] = []
  private(set) var outputs = 0

  init(_ name: String) { self.name = name }

  func watch(
    _ layer: OracleModel.Options, _ x: OracleTensor, _ y: OracleTensor
  ) -> OracleTensor? {
    guard layer["name"] as? String == name else { return nil }
    var shifted = y
    if layer["type"] as? String == "linear" {
      let columns = x.shape[x.shape.count - 1]
      outputs = y.shape[y.shape.count - 1]
      inputs = (0..<x.count / columns).map { t in
        x.values[t * columns..<(t + 1) * columns].map(\.value)
      }
      shifted.values[entry].derivative += 1
    } else {
      outputs = y.shape[0]
      let positions = y.shape[1] * y.shape[2]
      inputs = (0..<positions).map {
        patch(layer, x, row: $0 / y.shape[2], column: $0 % y.shape[2])
      }
      shifted.values[(entry % outputs) * positions + entry / outputs].derivative += 1
    }
    return shifted
  }

  /// What the kernel sees at one output position, channels first; zero outside of the image.
  private func patch(
    _ layer: OracleModel.Options, _ x: OracleTensor, row: Int, column: Int
  ) -> [Double] {
    let (kh, kw) = OracleModel.pair(layer, "kernel_size")
    let (sh, sw) = OracleModel.pair(layer, "stride", (1, 1))
    let (ph, pw) = OracleModel.pair(layer, "padding", (0, 0))
    let (dh, dw) = OracleModel.pair(layer, "dilation", (1, 1))
    let (height, width) = (x.shape[1], x.shape[2])
    var values: [Double] = []
    for c in 0..<x.shape[0] {
      for a in 0..<kh {
        for b in 0..<kw {
          let (r, q) = (row * sh - ph + a * dh, column * sw - pw + b * dw)
          let isInside = r >= 0 && r < height && q >= 0 && q < width
          values.append(isInside ? x.values[(c * height + r) * width + q].value : 0)
        }
      }
    }
    return values
  }
}

extension OracleModel {
  /// Inputs of a layer, `[T][in]`, and the Jacobian of the logits w.r.t. its outputs,
  /// `[T][out][O C]`, for one sample.
  func probe(
    _ name: String, _ input: [Double], _ parameters: [String: [Double]]
  ) -> (inputs: [[Double]], jacobian: [[[Double]]]) {
    var watched = self
    let probe = LayerProbe(name)
    watched.probe = probe
    let values = parameters.mapValues { $0.map { Dual($0) } }
    _ = watched.logits(input, values)
    let (positions, outputs) = (probe.inputs.count, probe.outputs)
    let jacobian = (0..<positions).map { t in
      (0..<outputs).map { o in
        probe.entry = t * outputs + o
        return watched.logits(input, values).values.map(\.derivative)
      }
    }
    return (probe.inputs, jacobian)
  }

  /// Linear layers and convolutions in one group whose parameters no other layer uses.
  package var linearLayers: [String] {
    let all = namedLayers
    return all.filter { layer in
      let isLinear =
        layer.type == "linear"
        || layer.type == "conv2d" && OracleModel.int(layer.options, "groups", 1) == 1
      return isLinear && all.count { $0.name == layer.name } == 1
    }.map(\.name)
  }

  /// Linear layers and convolutions, also transposed ones.
  package var matrixLayers: [String] {
    namedLayers.filter { ["linear", "conv2d", "conv_transpose2d"].contains($0.type) }.map(\.name)
  }

  private var namedLayers: [(name: String, type: String, options: Options)] {
    var found: [(name: String, type: String, options: Options)] = []
    func visit(_ layers: [Options]) {
      for layer in layers {
        for branch in ["layers", "shortcut"] { visit(layer[branch] as? [Options] ?? []) }
        guard let name = layer["name"] as? String, let type = layer["type"] as? String else {
          continue
        }
        found.append((name, type, layer))
      }
    }
    visit(layers)
    return found
  }
}
