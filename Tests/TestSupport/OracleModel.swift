import Foundation

/// A value of one sample, channels-first as in PyTorch.
package struct OracleTensor {
  package var shape: [Int]
  package var values: [Dual]

  var count: Int { shape.reduce(1, *) }
}

/// A sequential model of formats.md in plain loops over dual numbers, read by Foundation's JSON
/// parser: shares no code with the engine and none of its layouts.
package struct OracleModel {
  package struct Parameter {
    package let name: String
    package let shape: [Int]
    package let isBuffer: Bool
    package var count: Int { shape.reduce(1, *) }
  }
  package typealias Options = [String: Any]

  package let inputShape: [Int]
  package let layers: [Options]
  /// What watches a layer while the model runs.
  var probe: LayerProbe?
  /// In the order of their first use.
  package let parameters: [Parameter]
  /// Rows of the embedding that reads the input, `nil` if the input is real.
  package let tokenBound: Int?

  package init(_ json: String) {
    let root = try! JSONSerialization.jsonObject(with: Data(json.utf8)) as! Options
    inputShape = root["input_shape"] as! [Int]
    layers = root["layers"] as! [Options]
    var found: [Parameter] = []
    var bound: Int?
    OracleModel.collect(layers, &found, &bound)
    var names: Set<String> = []
    parameters = found.filter { names.insert($0.name).inserted }
    tokenBound = bound
  }

  private static func collect(
    _ layers: [Options], _ found: inout [Parameter], _ bound: inout Int?
  ) {
    for layer in layers {
      func add(_ suffix: String, _ shape: [Int], isBuffer: Bool = false) {
        let name = (layer["name"] as! String) + "." + suffix
        found.append(Parameter(name: name, shape: shape, isBuffer: isBuffer))
      }
      switch layer["type"] as! String {
      case "linear":
        add("weight", [int(layer, "out_features"), int(layer, "in_features")])
        if flag(layer, "bias") { add("bias", [int(layer, "out_features")]) }
      case "conv2d":
        let (kh, kw) = pair(layer, "kernel_size")
        let groups = int(layer, "groups", 1)
        add("weight", [int(layer, "out_channels"), int(layer, "in_channels") / groups, kh, kw])
        if flag(layer, "bias") { add("bias", [int(layer, "out_channels")]) }
      case "conv_transpose2d":
        let (kh, kw) = pair(layer, "kernel_size")
        let groups = int(layer, "groups", 1)
        add("weight", [int(layer, "in_channels"), int(layer, "out_channels") / groups, kh, kw])
        if flag(layer, "bias") { add("bias", [int(layer, "out_channels")]) }
      case "batch_norm2d":
        add("running_mean", [int(layer, "num_features")], isBuffer: true)
        add("running_var", [int(layer, "num_features")], isBuffer: true)
        if flag(layer, "affine") {
          add("weight", [int(layer, "num_features")])
          add("bias", [int(layer, "num_features")])
        }
      case "layer_norm":
        guard flag(layer, "elementwise_affine") else { continue }
        add("weight", normalizedShape(layer))
        if flag(layer, "bias") { add("bias", normalizedShape(layer)) }
      case "group_norm":
        guard flag(layer, "affine") else { continue }
        add("weight", [int(layer, "num_channels")])
        add("bias", [int(layer, "num_channels")])
      case "embedding":
        add("weight", [int(layer, "num_embeddings"), int(layer, "embedding_dim")])
        bound = min(bound ?? .max, int(layer, "num_embeddings"))
      case "residual":
        collect(layer["layers"] as! [Options], &found, &bound)
        if let shortcut = layer["shortcut"] as? [Options] { collect(shortcut, &found, &bound) }
      default: continue
      }
    }
  }

  /// The logits of one sample; `parameters` in the layout of the file.
  package func logits(_ input: [Double], _ parameters: [String: [Dual]]) -> OracleTensor {
    run(layers, OracleTensor(shape: inputShape, values: input.map { Dual($0) }), parameters)
  }

  private func run(
    _ layers: [Options], _ input: OracleTensor, _ parameters: [String: [Dual]]
  ) -> OracleTensor {
    var x = input
    for layer in layers { x = apply(layer, x, parameters) }
    return x
  }

  private func apply(
    _ layer: Options, _ x: OracleTensor, _ parameters: [String: [Dual]]
  ) -> OracleTensor {
    func parameter(_ suffix: String) -> [Dual]? {
      (layer["name"] as? String).flatMap { parameters[$0 + "." + suffix] }
    }
    func map(_ f: (Dual) -> Dual) -> OracleTensor {
      OracleTensor(shape: x.shape, values: x.values.map(f))
    }
    switch layer["type"] as! String {
    case "linear":
      let y = linear(x, parameter("weight")!, parameter("bias"))
      return probe?.watch(layer, x, y) ?? y
    case "conv2d":
      let y = convolution(layer, x, parameter("weight")!, parameter("bias"))
      return probe?.watch(layer, x, y) ?? y
    case "conv_transpose2d":
      return transposedConvolution(layer, x, parameter("weight")!, parameter("bias"))
    case "batch_norm2d":
      let (mean, variance) = (parameter("running_mean")!, parameter("running_var")!)
      let (weight, bias) = (parameter("weight"), parameter("bias"))
      let epsilon = Dual(real(layer, "eps", 1e-5))
      var y = x
      let inner = x.count / x.shape[0]
      for i in y.values.indices {
        let c = i / inner
        let normalized = (x.values[i] - mean[c]) / (variance[c] + epsilon).squareRoot
        y.values[i] = normalized * (weight?[c] ?? Dual(1)) + (bias?[c] ?? Dual(0))
      }
      return y
    case "layer_norm":
      let columns = OracleModel.normalizedShape(layer).reduce(1, *)
      return normalize(
        x, run: columns, epsilon: real(layer, "eps", 1e-5), parameter("weight"),
        parameter("bias")
      ) { $0 % columns }
    case "group_norm":
      let inner = x.count / x.shape[0]
      let run = x.count / OracleModel.int(layer, "num_groups")
      return normalize(
        x, run: run, epsilon: real(layer, "eps", 1e-5), parameter("weight"), parameter("bias")
      ) { $0 / inner }
    case "embedding":
      let columns = OracleModel.int(layer, "embedding_dim")
      let table = parameter("weight")!
      let rows = x.values.map { Int($0.value) }
      return OracleTensor(
        shape: x.shape + [columns],
        values: rows.flatMap { Array(table[$0 * columns..<($0 + 1) * columns]) })
    case "relu": return map { $0.value > 0 ? $0 : Dual(0) }
    case "leaky_relu":
      let slope = Dual(real(layer, "negative_slope", 0.01))
      return map { $0.value > 0 ? $0 : slope * $0 }
    case "gelu":
      if layer["approximate"] as? String == "tanh" {
        let scale = Dual((2 / Double.pi).squareRoot())
        return map {
          Dual(0.5) * $0 * (Dual(1) + (scale * ($0 + Dual(0.044715) * $0 * $0 * $0)).tanh)
        }
      }
      return map { $0 * $0.normalDistribution }
    case "silu": return map { $0 * $0.sigmoid }
    case "tanh": return map(\.tanh)
    case "sigmoid": return map(\.sigmoid)
    case "softplus":
      let (beta, threshold) = (real(layer, "beta", 1), real(layer, "threshold", 20))
      return map { $0.softplus(beta: beta, threshold: threshold) }
    case "max_pool2d": return pool(layer, x, isMaximum: true)
    case "avg_pool2d": return pool(layer, x, isMaximum: false)
    case "adaptive_avg_pool2d":
      let inner = x.count / x.shape[0]
      let means = (0..<x.shape[0]).map { c in
        x.values[c * inner..<(c + 1) * inner].reduce(Dual(0), +) / Dual(Double(inner))
      }
      return OracleTensor(shape: [x.shape[0], 1, 1], values: means)
    case "flatten": return OracleTensor(shape: [x.count], values: x.values)
    case "dropout": return x
    case "residual":
      let branch = run(layer["layers"] as! [Options], x, parameters)
      let shortcut = (layer["shortcut"] as? [Options]).map { run($0, x, parameters) } ?? x
      return OracleTensor(
        shape: branch.shape, values: zip(branch.values, shortcut.values).map { $0 + $1 })
    default: fatalError("the oracle does not know \(layer["type"]!)")
    }
  }

  private func linear(_ x: OracleTensor, _ weight: [Dual], _ bias: [Dual]?) -> OracleTensor {
    let inputs = x.shape[x.shape.count - 1]
    let outputs = weight.count / inputs
    var values: [Dual] = []
    for t in 0..<x.count / inputs {
      for o in 0..<outputs {
        var sum = bias?[o] ?? Dual(0)
        for i in 0..<inputs { sum = sum + weight[o * inputs + i] * x.values[t * inputs + i] }
        values.append(sum)
      }
    }
    return OracleTensor(shape: x.shape.dropLast() + [outputs], values: values)
  }

  private func convolution(
    _ layer: Options, _ x: OracleTensor, _ weight: [Dual], _ bias: [Dual]?
  ) -> OracleTensor {
    let (kh, kw) = OracleModel.pair(layer, "kernel_size")
    let (sh, sw) = OracleModel.pair(layer, "stride", (1, 1))
    let (ph, pw) = OracleModel.pair(layer, "padding", (0, 0))
    let (dh, dw) = OracleModel.pair(layer, "dilation", (1, 1))
    let groups = OracleModel.int(layer, "groups", 1)
    let outputs = OracleModel.int(layer, "out_channels")
    let (channels, height, width) = (x.shape[0], x.shape[1], x.shape[2])
    let outHeight = (height + 2 * ph - dh * (kh - 1) - 1) / sh + 1
    let outWidth = (width + 2 * pw - dw * (kw - 1) - 1) / sw + 1
    let groupInputs = channels / groups
    var values: [Dual] = []
    for o in 0..<outputs {
      let group = o / (outputs / groups)
      for r in 0..<outHeight {
        for c in 0..<outWidth {
          var sum = bias?[o] ?? Dual(0)
          for i in 0..<groupInputs {
            for a in 0..<kh {
              for b in 0..<kw {
                let (row, column) = (r * sh - ph + a * dh, c * sw - pw + b * dw)
                guard row >= 0, row < height, column >= 0, column < width else { continue }
                let pixel = ((group * groupInputs + i) * height + row) * width + column
                let entry = ((o * groupInputs + i) * kh + a) * kw + b
                sum = sum + weight[entry] * x.values[pixel]
              }
            }
          }
          values.append(sum)
        }
      }
    }
    return OracleTensor(shape: [outputs, outHeight, outWidth], values: values)
  }

  /// Every pixel times the kernel, added up where it lies in the result, by PyTorch's formula for the
  /// place of a tap.
  private func transposedConvolution(
    _ layer: Options, _ x: OracleTensor, _ weight: [Dual], _ bias: [Dual]?
  ) -> OracleTensor {
    let (kh, kw) = OracleModel.pair(layer, "kernel_size")
    let (sh, sw) = OracleModel.pair(layer, "stride", (1, 1))
    let (ph, pw) = OracleModel.pair(layer, "padding", (0, 0))
    let groups = OracleModel.int(layer, "groups", 1)
    let outputs = OracleModel.int(layer, "out_channels")
    let (channels, height, width) = (x.shape[0], x.shape[1], x.shape[2])
    let outHeight = (height - 1) * sh - 2 * ph + kh
    let outWidth = (width - 1) * sw - 2 * pw + kw
    let groupOutputs = outputs / groups
    var values = (0..<outputs * outHeight * outWidth).map {
      bias?[$0 / (outHeight * outWidth)] ?? Dual(0)
    }
    for i in 0..<channels {
      let group = i / (channels / groups)
      for (r, c) in (0..<height * width).map({ ($0 / width, $0 % width) }) {
        for (a, b) in (0..<kh * kw).map({ ($0 / kw, $0 % kw) }) {
          let (row, column) = (r * sh - ph + a, c * sw - pw + b)
          guard (0..<outHeight).contains(row), (0..<outWidth).contains(column) else { continue }
          for o in 0..<groupOutputs {
            let pixel = ((group * groupOutputs + o) * outHeight + row) * outWidth + column
            let entry = ((i * groupOutputs + o) * kh + a) * kw + b
            values[pixel] =
              values[pixel] + weight[entry] * x.values[(i * height + r) * width + c]
          }
        }
      }
    }
    return OracleTensor(shape: [outputs, outHeight, outWidth], values: values)
  }

  private func pool(_ layer: Options, _ x: OracleTensor, isMaximum: Bool) -> OracleTensor {
    let (kh, kw) = OracleModel.pair(layer, "kernel_size")
    let (sh, sw) = OracleModel.pair(layer, "stride", (kh, kw))
    let (ph, pw) = OracleModel.pair(layer, "padding", (0, 0))
    let (channels, height, width) = (x.shape[0], x.shape[1], x.shape[2])
    let outHeight = (height + 2 * ph - kh) / sh + 1
    let outWidth = (width + 2 * pw - kw) / sw + 1
    var values: [Dual] = []
    for i in 0..<channels {
      for r in 0..<outHeight {
        for c in 0..<outWidth {
          var best = Dual(-.infinity)
          var sum = Dual(0)
          for a in 0..<kh {
            for b in 0..<kw {
              let (row, column) = (r * sh - ph + a, c * sw - pw + b)
              guard row >= 0, row < height, column >= 0, column < width else { continue }
              let pixel = x.values[(i * height + row) * width + column]
              if pixel.value > best.value { best = pixel }
              sum = sum + pixel
            }
          }
          values.append(isMaximum ? best : sum / Dual(Double(kh * kw)))
        }
      }
    }
    return OracleTensor(shape: [channels, outHeight, outWidth], values: values)
  }

  /// `(x - mean) / sqrt(variance + epsilon)` over runs of neighbouring values, then the affine map
  /// whose entry `index` tells.
  private func normalize(
    _ x: OracleTensor, run: Int, epsilon: Double, _ weight: [Dual]?, _ bias: [Dual]?,
    index: (Int) -> Int
  ) -> OracleTensor {
    var y = x
    for begin in stride(from: 0, to: x.count, by: run) {
      let values = x.values[begin..<begin + run]
      let mean = values.reduce(Dual(0), +) / Dual(Double(run))
      let squares = values.map { ($0 - mean) * ($0 - mean) }
      let variance = squares.reduce(Dual(0), +) / Dual(Double(run))
      for i in begin..<begin + run {
        let normalized = (x.values[i] - mean) / (variance + Dual(epsilon)).squareRoot
        y.values[i] =
          normalized * (weight?[index(i)] ?? Dual(1)) + (bias?[index(i)] ?? Dual(0))
      }
    }
    return y
  }

  // MARK: - Options

  static func int(_ layer: Options, _ key: String, _ standard: Int? = nil) -> Int {
    layer[key] as? Int ?? standard!
  }

  private func real(_ layer: Options, _ key: String, _ standard: Double) -> Double {
    (layer[key] as? NSNumber)?.doubleValue ?? standard
  }

  private static func flag(_ layer: Options, _ key: String) -> Bool { layer[key] as? Bool ?? true }

  static func pair(
    _ layer: Options, _ key: String, _ standard: (Int, Int)? = nil
  ) -> (Int, Int) {
    if let values = layer[key] as? [Int] { return (values[0], values[1]) }
    return (layer[key] as? Int).map { ($0, $0) } ?? standard!
  }

  private static func normalizedShape(_ layer: Options) -> [Int] {
    layer["normalized_shape"] as? [Int] ?? [int(layer, "normalized_shape")]
  }
}
