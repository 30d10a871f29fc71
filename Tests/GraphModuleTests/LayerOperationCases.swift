import TensorModule
import TestSupport

@testable import GraphModule

/// The operations behind the layers of descriptions. `LayerCases` has them with every option and in
/// every place against the oracle; here they are alone.
let layerOperationCases: [OperationCase] = [
  linear("with a bias", [3, 4], 2, hasBias: true),
  linear("of one position", [4], 3, hasBias: false),
  linear("wide, of two positions", [2, 9], 2, hasBias: true),
  OperationCase(
    "embedding", Embedding(), [.index([3], bound: 4)], parameters: [[5, 2]]
  ) { _, whole, p in whole[0].flatMap { [p[0][$0 * 2], p[0][$0 * 2 + 1]] } },
  convolution("plain", image: (3, 4, 2), kernel: (2, 2), outputs: 3, Convolution()),
  convolution(
    "padded, with strides", image: (3, 4, 2), kernel: (3, 2), outputs: 2,
    Convolution(stride: (2, 1), padding: (1, 1)), hasBias: true, stride: (2, 1), padding: (1, 1)),
  convolution("of one pixel", image: (2, 2, 3), kernel: (1, 1), outputs: 2, Convolution()),
  OperationCase(
    "linear, by a kernel of three dimensions", Linear(), [.real([2, 4])],
    parameters: [[3, 1, 2, 2], [3]]
  ) { x, _, p in
    (0..<6).map { i in
      (0..<4).reduce(p[1][i % 3]) { $0 + p[0][i % 3 * 4 + $1] * x[0][i / 3 * 4 + $1] }
    }
  },
  transposedConvolution("plain", TransposedConvolution(), groups: 1, hasBias: false),
  transposedConvolution(
    "with every option",
    TransposedConvolution(
      stride: (2, 3), padding: (1, 0), outputPadding: (1, 2), dilation: (2, 1), groups: 2),
    groups: 2, hasBias: true),
  pool("maximum", MaxPool(.init(kernel: (2, 2), stride: (1, 2)))) { values in
    values.max { $0.value < $1.value }!
  },
  pool("mean", AveragePool(.init(kernel: (2, 2), stride: (1, 2)))) { values in
    values.reduce(Dual(0), +) / Dual(4)
  },
  OperationCase("mean of an image", AveragePool(), [.real([2, 2, 2])]) { x, _, _ in
    (0..<2).map { c in (x[0][c] + x[0][2 + c] + x[0][4 + c] + x[0][6 + c]) / Dual(4) }
  },
  norm("layer norm", .rows(dimensions: 1), [3, 4], centered: true, affine: 2),
  norm("layer norm of planes", .rows(dimensions: 2), [2, 2, 3], centered: true, affine: 1),
  norm("RMS norm", .rows(dimensions: 1), [3, 4], centered: false, affine: 1),
  norm("layer norm without weights", .rows(dimensions: 1), [2, 5], centered: true, affine: 0),
  OperationCase(
    "batch norm", BatchNorm(epsilon: 2), [.real([3, 2])], parameters: [[2], [2], [2], [2]],
    frozen: 2
  ) { x, _, p in
    x[0].indices.map { i in
      let c = i % 2
      let deviation = (Dual(2) + p[1][c]).squareRoot
      return p[2][c] * ((x[0][i] - p[0][c]) / deviation) + p[3][c]
    }
  },
]

private func linear(
  _ name: String, _ shape: [Int], _ outputs: Int, hasBias: Bool
) -> OperationCase {
  let inputs = shape.last!
  return OperationCase(
    "linear, " + name, Linear(), [.real(shape)],
    parameters: [[outputs, inputs]] + (hasBias ? [[outputs]] : [])
  ) { x, _, p in
    (0..<x[0].count / inputs * outputs).map { i in
      var sum = hasBias ? p[1][i % outputs] : Dual(0)
      for k in 0..<inputs {
        sum = sum + p[0][i % outputs * inputs + k] * x[0][i / outputs * inputs + k]
      }
      return sum
    }
  }
}

private func convolution(
  _ name: String, image: (height: Int, width: Int, channels: Int), kernel: (Int, Int),
  outputs: Int, _ operation: Convolution, hasBias: Bool = false, stride: (Int, Int) = (1, 1),
  padding: (Int, Int) = (0, 0)
) -> OperationCase {
  let (height, width, channels) = image
  return OperationCase(
    "convolution, " + name, operation, [.real([height, width, channels])],
    parameters: [[outputs, channels, kernel.0, kernel.1]] + (hasBias ? [[outputs]] : [])
  ) { x, _, p in
    var result: [Dual] = []
    for top in Swift.stride(
      from: -padding.0, through: height + padding.0 - kernel.0, by: stride.0)
    {
      for left in Swift.stride(
        from: -padding.1, through: width + padding.1 - kernel.1, by: stride.1)
      {
        for o in 0..<outputs {
          var sum = hasBias ? p[1][o] : Dual(0)
          for (a, b) in (0..<kernel.0 * kernel.1).map({ ($0 / kernel.1, $0 % kernel.1) }) {
            let (row, column) = (top + a, left + b)
            guard (0..<height).contains(row), (0..<width).contains(column) else { continue }
            for c in 0..<channels {
              // As the engine stores it: the channels last.
              let weight = p[0][((o * kernel.0 + a) * kernel.1 + b) * channels + c]
              sum = sum + weight * x[0][(row * width + column) * channels + c]
            }
          }
          result.append(sum)
        }
      }
    }
    return result
  }
}

/// Of an image of 3 by 2 pixels and four channels, with a kernel of 2 by 3 and two outputs a group.
private func transposedConvolution(
  _ name: String, _ operation: TransposedConvolution, groups: Int, hasBias: Bool
) -> OperationCase {
  let (height, width, channels, kernel, own) = (3, 2, 4, (2, 3), 2)
  let (outputs, options) = (own * groups, operation.options)
  func length(_ size: Int, _ kernel: Int, _ at: KeyPath<WindowOptions.Pair, Int>) -> Int {
    let spread = (size - 1) * options.stride[keyPath: at] - 2 * options.padding[keyPath: at]
    let window = options.dilation[keyPath: at] * (kernel - 1) + 1
    return spread + window + operation.outputPadding[keyPath: at]
  }
  let result = (length(height, kernel.0, \.height), length(width, kernel.1, \.width))
  return OperationCase(
    "transposed convolution, " + name, operation, [.real([height, width, channels])],
    parameters: [[channels, own, kernel.0, kernel.1]] + (hasBias ? [[outputs]] : [])
  ) { x, _, p in
    var y = (0..<result.0 * result.1 * outputs).map { hasBias ? p[1][$0 % outputs] : Dual(0) }
    for (row, column) in (0..<height * width).map({ ($0 / width, $0 % width) }) {
      for (a, b) in (0..<kernel.0 * kernel.1).map({ ($0 / kernel.1, $0 % kernel.1) }) {
        let top =
          row * options.stride.height - options.padding.height + a * options.dilation.height
        let left =
          column * options.stride.width - options.padding.width + b * options.dilation.width
        guard (0..<result.0).contains(top), (0..<result.1).contains(left) else { continue }
        for (c, o) in (0..<channels * own).map({ ($0 / own, $0 % own) }) {
          let place = (top * result.1 + left) * outputs + c / (channels / groups) * own + o
          // As the engine stores it: the outputs last.
          let weight = p[0][((c * kernel.0 + a) * kernel.1 + b) * own + o]
          y[place] = y[place] + weight * x[0][(row * width + column) * channels + c]
        }
      }
    }
    return y
  }
}

/// Of an image of 3 by 4 pixels and two channels.
private func pool(
  _ name: String, _ operation: any GraphModule.Operation,
  _ value: @escaping @Sendable ([Dual]) -> Dual
) -> OperationCase {
  OperationCase("pooling, " + name, operation, [.real([3, 4, 2])]) { x, _, _ in
    var result: [Dual] = []
    for row in 0..<2 {
      for column in [0, 2] {
        for c in 0..<2 {
          result.append(
            value(
              [(0, 0), (0, 1), (1, 0), (1, 1)].map { a, b in
                x[0][((row + a) * 4 + column + b) * 2 + c]
              }))
        }
      }
    }
    return result
  }
}

/// - Parameter affine: 1 with a weight, 2 with a bias too.
private func norm(
  _ name: String, _ groups: Normalization.Groups, _ shape: [Int], centered: Bool, affine: Int
) -> OperationCase {
  var columns: [Int] = []
  if case .rows(let dimensions) = groups { columns = shape.suffix(dimensions) }
  let count = columns.reduce(1, *)
  return OperationCase(
    name, Normalization(groups, epsilon: 0.1, centered: centered), [.real(shape)],
    parameters: Array(repeating: columns, count: affine)
  ) { x, _, p in
    var result: [Dual] = []
    for first in stride(from: 0, to: x[0].count, by: count) {
      let row = Array(x[0][first..<first + count])
      let mean = centered ? row.reduce(Dual(0), +) / Dual(Double(count)) : Dual(0)
      let square = row.reduce(Dual(0)) { $0 + ($1 - mean) * ($1 - mean) }
      let deviation = (square / Dual(Double(count)) + Dual(0.1)).squareRoot
      for (c, value) in row.enumerated() {
        var y = (value - mean) / deviation
        if affine > 0 { y = y * p[0][c] }
        if affine > 1 { y = y + p[1][c] }
        result.append(y)
      }
    }
    return result
  }
}
