import GraphModule
import TensorModule

extension Operators {
  static let convolutions: [String: Builder] = {
    var table: [String: Builder] = [:]
    for rank in 1...3 {
      table["aten.conv\(rank)d.default"] = { try [$0.convolution($1, rank: rank)] }
      table["aten.conv\(rank)d.padding"] = { try [$0.convolution($1, rank: rank)] }
      let name = rank == 1 ? "conv_transpose1d.default" : "conv_transpose\(rank)d.input"
      table["aten.\(name)"] = { try [$0.transposedConvolution($1, rank: rank)] }
    }
    table["aten.convolution.default"] = { builder, call in
      let rank = try call.tensor("input").rank - 2
      return try call.bool("transposed", default: false)
        ? [builder.transposedConvolution(call, rank: rank)]
        : [builder.convolution(call, rank: rank)]
    }
    return table
  }()
}

extension TensorBuilder {
  /// An image of a sample `[dimensions..., channels]`; several in one sample are not taken.
  private mutating func image(_ x: ImportedTensor, rank: Int) throws -> ValueID {
    guard x.rank == rank + 2, let batch = x.batch, batch.axis == 0 else {
      throw ImportFailure("an image \(x.sizes) that is not [samples, channels, ...]")
    }
    guard batch.outer == 1, batch.inner == 1 else {
      throw ImportFailure("several images of each sample in the dimension of the samples")
    }
    let x = try real(x)
    let shape = x.sampleShape
    let order = [0, 1] + Array(3..<shape.count) + [2]
    return try reshaped(stored(x, order), to: order.dropFirst(2).map { shape[$0] })
  }

  /// An image as a tensor.
  private func imported(_ id: ValueID, _ sizes: [Int], samples: Int) -> ImportedTensor {
    let axes = [0, 1] + Array(3..<sizes.count + 2) + [2]
    return made(id, [samples] + sizes, .init(axis: 0), order: axes)
  }

  private func geometry(
    _ call: OperatorCall, image: [Int], kernel: [Int], rank: Int
  ) throws -> (window: WindowGeometry, groups: Int) {
    let dilation = WindowGeometry.spread(try call.integers("dilation", default: [1]), rank)
    let stride = WindowGeometry.spread(try call.integers("stride", default: [1]), rank)
    var padding: [(Int, Int)]
    switch try? call.string("padding", default: "") {
    case "same"?:
      padding = zip(kernel, dilation).map { kernel, dilation in
        let all = dilation * (kernel - 1)
        return (all / 2, all - all / 2)
      }
    case "valid"?: padding = kernel.map { _ in (0, 0) }
    default:
      padding = WindowGeometry.spread(try call.integers("padding", default: [0]), rank)
        .map { ($0, $0) }
    }
    return (
      try WindowGeometry(
        image: image, kernel: kernel, stride: stride, padding: padding, dilation: dilation),
      try call.integer("groups", default: 1)
    )
  }

  mutating func convolution(_ call: OperatorCall, rank: Int) throws -> ImportedTensor {
    var x = try call.tensor("input")
    let weight = try call.tensor("weight")
    guard weight.rank == rank + 2, weight.batch == nil else {
      throw ImportFailure("a kernel \(weight.sizes)")
    }
    var (window, groups) = try geometry(
      call, image: Array(x.sizes.dropFirst(2)), kernel: Array(weight.sizes.dropFirst(2)), rank: rank
    )
    if !window.isSymmetric {
      for axis in 0..<rank where window.padding[axis] != (0, 0) {
        let (before, behind) = window.padding[axis]
        let size = x.sizes[axis + 2]
        x = try mapped(
          x, axis + 2,
          taking: (-before..<size + behind).lazy.map { (0..<size).contains($0) ? $0 : nil })
      }
      window = try WindowGeometry(
        image: Array(x.sizes.dropFirst(2)), kernel: window.kernel, stride: window.stride,
        padding: window.padding.map { _ in (0, 0) }, dilation: window.dilation)
    }
    let bias = call.optionalTensor("bias")
    let own = ownKernel(weight, bias)
    let pixels = try image(x, rank: rank)
    guard let own, rank <= 2, window.isWithinKernel else {
      return try unfoldedConvolution(pixels, x, weight, bias, window, groups)
    }
    let operation = Convolution(
      stride: window.pair(window.stride, 1), padding: window.pair(window.padding.map(\.0), 0),
      dilation: window.pair(window.dilation, 1), groups: groups)
    let id = try apply(operation, [asImage(pixels, rank)], own)
    return imported(id, [weight.sizes[0]] + window.outputs, samples: x.sizes[0])
  }

  /// Kernel and bias, where both are parameters, and the kernel in the order that the engine wants.
  private func ownKernel(_ weight: ImportedTensor, _ bias: ImportedTensor?) -> [ParameterID]? {
    guard let own = weight.wholeParameter, case .parameter(let parameter, _) = weight.storage,
      parameter.storage == .channelsLast
    else { return nil }
    guard let bias else { return [own] }
    return bias.wholeParameter.map { [own, $0] }
  }

  /// A sequence as an image of one row.
  private mutating func asImage(_ pixels: ValueID, _ rank: Int) throws -> ValueID {
    rank == 1 ? try reshaped(pixels, to: [1] + graph.type(pixels).shape) : pixels
  }

  /// A product of unfolded rows with a kernel that may be computed, in any number of dimensions.
  private mutating func unfoldedConvolution(
    _ pixels: ValueID, _ x: ImportedTensor, _ weight: ImportedTensor, _ bias: ImportedTensor?,
    _ window: WindowGeometry, _ groups: Int
  ) throws -> ImportedTensor {
    let (channels, outputs) = (x.sizes[1], weight.sizes[0])
    guard groups > 0, channels % groups == 0, outputs % groups == 0,
      weight.sizes[1] == channels / groups
    else { throw ImportFailure("a kernel \(weight.sizes) on \(channels) channels") }
    let flat = try reshaped(pixels, to: [window.pixels, channels])
    let taps = try apply(SparseMap(axis: 0, grid: try window.grid()), [flat])
    let own = channels / groups
    if groups == 1, let parameters = ownKernel(weight, bias) {
      // In this order the kernel is the weight of a linear layer.
      let rows = try reshaped(taps, to: [window.places, window.taps * own])
      let id = try apply(Linear(), [rows], parameters)
      return imported(
        try reshaped(id, to: window.outputs + [outputs]), [outputs] + window.outputs,
        samples: x.sizes[0])
    }
    // [places, taps, groups, channels] to [groups, places, taps channels].
    var rows = try reshaped(taps, to: [window.places, window.taps, groups, own])
    if groups > 1 { rows = try apply(View(.permute([2, 0, 1, 3])), [rows]) }
    rows = try reshaped(rows, to: [groups, window.places, window.taps * own])
    // [out, channels, taps] to [groups, out, taps channels].
    let kernel = try kernelRows(weight, window, groups)
    let product = try apply(MatrixProduct(isTransposed: true), [rows, kernel])
    var places = product
    if groups > 1 { places = try apply(View(.permute([1, 0, 2])), [product]) }
    let id = try reshaped(places, to: window.outputs + [outputs])
    let result = imported(id, [outputs] + window.outputs, samples: x.sizes[0])
    return try biased(result, bias)
  }

  /// A kernel `[out, in, ...]` as `[groups, out, taps in]`.
  private mutating func kernelRows(
    _ weight: ImportedTensor, _ window: WindowGeometry, _ groups: Int
  ) throws -> ValueID {
    let order = [0] + Array(2..<weight.rank) + [1]
    let own = weight.sizes[1]
    return try reshaped(
      stored(real(weight), order),
      to: [groups, weight.sizes[0] / groups, window.taps * own])
  }

  private mutating func biased(
    _ x: ImportedTensor, _ bias: ImportedTensor?
  ) throws -> ImportedTensor {
    guard var bias else { return x }
    for _ in 2..<x.rank { bias = unsqueezed(bias, bias.rank) }
    return try sum(x, bias)
  }

  /// Every pixel times the kernel, put back where its window lies in the result.
  mutating func transposedConvolution(
    _ call: OperatorCall, rank: Int
  ) throws -> ImportedTensor {
    let (x, weight) = (try call.tensor("input"), try call.tensor("weight"))
    let pixels = try image(x, rank: rank)
    guard weight.rank == rank + 2, weight.batch == nil, weight.sizes[0] == x.sizes[1] else {
      throw ImportFailure("a kernel \(weight.sizes) on \(x.sizes[1]) channels")
    }
    let groups = try call.integer("groups", default: 1)
    let size = call.results[0].sizes
    let kernel = Array(weight.sizes.dropFirst(2))
    let (channels, perGroup) = (x.sizes[1], weight.sizes[1])
    // The convolution whose transpose it is goes from the result to x.
    let extra = WindowGeometry.spread(try call.integers("output_padding", default: [0]), rank)
    let (window, _) = try geometry(
      call, image: Array(size.dropFirst(2)), kernel: kernel, rank: rank)
    guard window.outputs == Array(x.sizes.dropFirst(2)), extra.count == rank, groups > 0,
      channels % groups == 0
    else { throw ImportFailure("options that do not fit the image \(x.sizes)") }
    if rank <= 2, window.isWithinKernel, zip(extra, window.stride).allSatisfy(<),
      let parameters = ownKernel(weight, call.optionalTensor("bias"))
    {
      let operation = TransposedConvolution(
        stride: window.pair(window.stride, 1), padding: window.pair(window.padding.map(\.0), 0),
        outputPadding: window.pair(extra, 0), dilation: window.pair(window.dilation, 1),
        groups: groups)
      let id = try apply(operation, [asImage(pixels, rank)], parameters)
      return imported(id, Array(size.dropFirst()), samples: x.sizes[0])
    }
    // [places, groups, in] by [groups, in, taps out].
    var rows = try reshaped(pixels, to: [window.places, groups, channels / groups])
    if groups > 1 { rows = try apply(View(.permute([1, 0, 2])), [rows]) }
    rows = try reshaped(rows, to: [groups, window.places, channels / groups])
    let order = [0] + Array(2..<weight.rank) + [1]
    let matrix = try reshaped(
      stored(real(weight), order), to: [groups, channels / groups, window.taps * perGroup])
    var products = try apply(MatrixProduct(), [rows, matrix])
    products = try reshaped(
      products, to: [groups, window.places * window.taps, perGroup])
    if groups > 1 { products = try apply(View(.permute([1, 0, 2])), [products]) }
    products = try reshaped(
      products, to: [window.places * window.taps, groups * perGroup])
    let id = try apply(
      SparseMap(axis: 0, grid: try window.grid().map(\.transposed)), [products])
    let result = imported(
      try reshaped(id, to: window.image + [groups * perGroup]), Array(size.dropFirst()),
      samples: x.sizes[0])
    return try biased(result, call.optionalTensor("bias"))
  }
}
