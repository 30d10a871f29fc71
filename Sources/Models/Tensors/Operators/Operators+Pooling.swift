import GraphModule
import TensorModule

/// Pools, padding and rolling: maps of the last dimensions.
extension Operators {
  static let pooling: [String: Builder] = {
    var table: [String: Builder] = [:]
    for rank in 1...3 {
      table["aten.avg_pool\(rank)d.default"] = { try [$0.averagePool($1, rank: rank)] }
      table["aten.max_pool\(rank)d.default"] = { try [$0.maximumPool($1, rank: rank)] }
      table["aten.max_pool\(rank)d_with_indices.default"] = {
        try [$0.maximumPool($1, rank: rank)]
      }
      for name in ["adaptive_avg_pool\(rank)d", "_adaptive_avg_pool\(rank)d"] {
        table["aten.\(name).default"] = { try [$0.adaptivePool($1, rank: rank)] }
      }
      table["aten.adaptive_max_pool\(rank)d.default"] = {
        try [$0.adaptiveMaximumPool($1, rank: rank)]
      }
    }
    table["aten.unfold.default"] = { builder, call in
      let x = try call.tensor("self")
      let dimension = try call.dimension("dimension", rank: x.rank)
      let (size, step) = (try call.integer("size"), try call.integer("step"))
      let count = call.results[0].sizes[dimension]
      let windows = try builder.taken(
        x, dimension, (0..<count * size).map { $0 / size * step + $0 % size })
      var sizes = x.sizes
      sizes.replaceSubrange(dimension...dimension, with: [count, size])
      let split = try builder.viewed(windows, sizes)
      let order = sizes.indices.filter { $0 != dimension + 1 } + [dimension + 1]
      return [builder.permuted(split, order)]
    }
    for name in ["constant_pad_nd.default", "pad.default"] {
      table["aten.\(name)"] = { try [$0.padded($1)] }
    }
    for (name, mode) in [("reflection", "reflect"), ("replication", "replicate")] {
      for rank in 1...3 {
        table["aten.\(name)_pad\(rank)d.default"] = { try [$0.padded($1, mode: mode)] }
      }
    }
    table["aten.roll.default"] = { try [$0.rolled($1)] }
    table["aten.pixel_shuffle.default"] = { builder, call in
      let x = try call.tensor("self")
      let r = try call.integer("upscale_factor")
      let front = Array(x.sizes.dropLast(3))
      let (c, h, w) = (x.sizes[x.rank - 3] / (r * r), x.sizes[x.rank - 2], x.sizes[x.rank - 1])
      let split = try builder.viewed(x, front + [c, r, r, h, w])
      let f = front.count
      let order = Array(0..<f) + [f, f + 3, f + 1, f + 4, f + 2]
      return [try builder.viewed(builder.permuted(split, order), front + [c, h * r, w * r])]
    }
    table["aten.pixel_unshuffle.default"] = { builder, call in
      let x = try call.tensor("self")
      let r = try call.integer("downscale_factor")
      let front = Array(x.sizes.dropLast(3))
      let (c, h, w) = (x.sizes[x.rank - 3], x.sizes[x.rank - 2] / r, x.sizes[x.rank - 1] / r)
      let split = try builder.viewed(x, front + [c, h, r, w, r])
      let f = front.count
      let order = Array(0..<f) + [f, f + 2, f + 4, f + 1, f + 3]
      return [try builder.viewed(builder.permuted(split, order), front + [c * r * r, h, w])]
    }
    return table
  }()
}

extension TensorBuilder {
  func requireFree(_ x: ImportedTensor, last count: Int) throws {
    guard x.rank >= count, (x.batch?.axis ?? -1) < x.rank - count else {
      throw ImportFailure.mixing("windows over the dimension of the samples")
    }
  }

  /// Sparse maps of the last dimensions, one after the other.
  mutating func mapped(
    _ x: ImportedTensor, _ dimension: Int, _ rows: some Sequence<some Sequence<SparseMap.Term>>
  ) throws -> ImportedTensor {
    try mapped(x, dimension) { SparseMatrix(columns: $0, rows: rows, atMost: Self.mostTerms) }
  }

  /// Entries of a dimension by their indices, 0 where there is none.
  mutating func mapped(
    _ x: ImportedTensor, _ dimension: Int, taking sources: some Sequence<Int?>
  ) throws -> ImportedTensor {
    try mapped(x, dimension) { SparseMatrix(columns: $0, taking: sources, atMost: Self.mostTerms) }
  }

  /// Entries of a dimension added up where indices say, in one of so many entries.
  mutating func mapped(
    _ x: ImportedTensor, _ dimension: Int, adding indices: [Int], to size: Int
  ) throws -> ImportedTensor {
    try mapped(x, dimension) { _ in
      size <= Self.mostTerms ? SparseMatrix(columns: size, taking: indices)?.transposed : nil
    }
  }

  private mutating func mapped(
    _ x: ImportedTensor, _ dimension: Int, _ matrix: (_ columns: Int) -> SparseMatrix?
  ) throws -> ImportedTensor {
    guard x.batch?.axis != dimension else {
      throw ImportFailure.mixing("it moves samples, dimension \(dimension)")
    }
    guard let matrix = matrix(x.sizes[dimension]) else {
      throw ImportFailure("more than \(Self.mostTerms) entries of a table of places")
    }
    var sizes = x.sizes
    sizes[dimension] = matrix.rows
    return try mapped(x, dimension, [.init(matrix)], sizes)
  }

  /// Dimensions that lie beside each other as one, `dimension`.
  mutating func mapped(
    _ x: ImportedTensor, _ dimension: Int, _ grid: [KroneckerMatrix.Axis], _ sizes: [Int]
  ) throws -> ImportedTensor {
    let x = try real(x)
    let order = x.order
    let id = try alongAxis(x, order.firstIndex(of: x.sampleAxis(dimension))!) {
      SparseMap(axis: $0, grid: grid)
    }
    return made(id, sizes, x.batch, order: order, kind: x.kind)
  }

  private func window(
    _ x: ImportedTensor, _ call: OperatorCall, rank: Int
  ) throws -> WindowGeometry {
    try requireFree(x, last: rank)
    let kernel = WindowGeometry.spread(try call.integers("kernel_size"), rank)
    let given = try call.integers("stride", default: [])
    let padding = WindowGeometry.spread(try call.integers("padding", default: [0]), rank)
    return try WindowGeometry(
      image: Array(x.sizes.suffix(rank)), kernel: kernel,
      stride: given.isEmpty ? kernel : WindowGeometry.spread(given, rank),
      padding: padding.map { ($0, $0) },
      dilation: WindowGeometry.spread(try call.integers("dilation", default: [1]), rank),
      roundsUp: try call.bool("ceil_mode", default: false))
  }

  mutating func averagePool(_ call: OperatorCall, rank: Int) throws -> ImportedTensor {
    let x = try call.tensor("self")
    let window = try window(x, call, rank: rank)
    let countsPadding = try call.bool("count_include_pad", default: true)
    if rank == 2, let fast = try pooled(x, window, isPlain: countsPadding, AveragePool.init) {
      return fast
    }
    if call.has("divisor_override") { throw ImportFailure("divisor_override is not supported") }
    // A mean over a box is a mean along each of its sides.
    var result = x
    for axis in 0..<rank {
      let size = window.image[axis]
      let (before, behind) = window.padding[axis]
      let rows = (0..<window.outputs[axis]).lazy.map { place in
        let first = place * window.stride[axis] - before
        let last = min(first + window.kernel[axis], size + behind)
        let inside = max(first, 0)..<max(min(last, size), max(first, 0))
        let count = countsPadding ? last - first : inside.count
        return inside.lazy.map { SparseMap.Term($0, 1 / Double(count)) }
      }
      result = try mapped(result, x.rank - rank + axis, rows)
    }
    return result
  }

  mutating func maximumPool(_ call: OperatorCall, rank: Int) throws -> ImportedTensor {
    let x = try call.tensor("self")
    let window = try window(x, call, rank: rank)
    if rank == 2, let fast = try pooled(x, window, isPlain: true, MaxPool.init) { return fast }
    let front = Array(x.sizes.dropLast(rank))
    let flat = try viewed(x, front + [window.pixels])
    let taps = try viewed(
      mapped(
        flat, front.count, window.grid(repeatsEdges: true), front + [window.places * window.taps]),
      front + [window.places, window.taps])
    let result = try reduced(taps, .maximum, [front.count + 1], keeps: false)
    return try viewed(result, front + window.outputs)
  }

  /// The pool of an image of channels that the engine has.
  private mutating func pooled(
    _ x: ImportedTensor, _ window: WindowGeometry, isPlain: Bool,
    _ operation: (WindowOptions) -> some GraphModule.Operation
  ) throws -> ImportedTensor? {
    guard x.rank == 4, x.batch == .init(axis: 0), window.dilation == [1, 1],
      isPlain || window.padding.allSatisfy({ $0 == (0, 0) }),
      zip(window.padding, window.kernel).allSatisfy({ $0.0 <= $1 / 2 })
    else { return nil }
    let plain = try WindowGeometry(
      image: window.image, kernel: window.kernel, stride: window.stride, padding: window.padding,
      dilation: window.dilation)
    guard plain.outputs == window.outputs else { return nil }
    let options = WindowOptions(
      kernel: (window.kernel[0], window.kernel[1]), stride: (window.stride[0], window.stride[1]),
      padding: (window.padding[0].0, window.padding[1].0))
    let sizes = Array(x.sizes.prefix(2)) + window.outputs
    return try image(x, sizes, operation(options))
  }

  /// An operation on images with their channels last.
  private mutating func image(
    _ x: ImportedTensor, _ sizes: [Int], _ operation: some GraphModule.Operation
  ) throws -> ImportedTensor {
    let order = [0, 1, 3, 4, 2]
    let shape = x.sampleShape
    let pixels = try reshaped(
      stored(real(x), order), to: [shape[3], shape[4], shape[2]])
    return made(try apply(operation, [pixels]), sizes, x.batch, order: order)
  }

  mutating func adaptivePool(_ call: OperatorCall, rank: Int) throws -> ImportedTensor {
    let x = try call.tensor("self")
    try requireFree(x, last: rank)
    let outputs = Array(call.results[0].sizes.suffix(rank))
    if rank == 2, x.rank == 4, x.batch == .init(axis: 0), outputs == [1, 1] {
      return try image(x, Array(x.sizes.prefix(2)) + outputs, AveragePool())
    }
    var result = x
    for axis in 0..<rank {
      let dimension = x.rank - rank + axis
      let (size, count) = (x.sizes[dimension], outputs[axis])
      if size == count { continue }
      let rows = (0..<count).lazy.map { place in
        let range = place * size / count..<((place + 1) * size + count - 1) / count
        return range.lazy.map { SparseMap.Term($0, 1 / Double(range.count)) }
      }
      result = try mapped(result, dimension, rows)
    }
    return result
  }

  /// A maximum over a box is one along each of its sides.
  mutating func adaptiveMaximumPool(_ call: OperatorCall, rank: Int) throws -> ImportedTensor {
    var result = try call.tensor("self")
    try requireFree(result, last: rank)
    let front = result.rank - rank
    for dimension in front..<result.rank {
      let (size, count) = (result.sizes[dimension], call.results[0].sizes[dimension])
      if size == count { continue }
      let windows = (0..<count).map { place in
        place * size / count..<((place + 1) * size + count - 1) / count
      }
      let length = windows.map(\.count).max() ?? 1
      // Shorter windows see their last entry again.
      let indices = windows.flatMap { window in
        (0..<length).map { min(window.lowerBound + $0, window.upperBound - 1) }
      }
      let taps = try taken(result, dimension, indices)
      var sizes = result.sizes
      sizes.replaceSubrange(dimension...dimension, with: [count, length])
      result = try reduced(viewed(taps, sizes), .maximum, [dimension + 1], keeps: false)
    }
    return result
  }

  mutating func padded(_ call: OperatorCall, mode given: String? = nil) throws -> ImportedTensor {
    let x = try call.tensor("self")
    let amounts = try call.integers(call.has("pad") ? "pad" : "padding")
    let mode = try given ?? call.string("mode", default: "constant")
    let value = try call.real("value", default: 0)
    guard amounts.count / 2 <= x.rank else {
      throw ImportFailure("padding \(amounts) of \(x.rank) dimensions")
    }
    var result = x
    // PyTorch counts from the last dimension.
    for pair in 0..<amounts.count / 2 {
      let dimension = x.rank - 1 - pair
      let (before, behind) = (amounts[2 * pair], amounts[2 * pair + 1])
      if before == 0, behind == 0 { continue }
      let size = x.sizes[dimension]
      // Negative amounts cut off.
      let bounds = -Self.mostTerms...Self.mostTerms
      guard bounds.contains(before), bounds.contains(behind), size > 0,
        (1...Self.mostTerms).contains(size + before + behind)
      else {
        throw ImportFailure("padding by \(before) and \(behind) of a dimension of \(size)")
      }
      let sources = try (-before..<size + behind).map { place -> Int? in
        if (0..<size).contains(place) { return place }
        switch mode {
        case "constant": return nil
        case "replicate": return min(max(place, 0), size - 1)
        case "circular": return ((place % size) + size) % size
        case "reflect": return place < 0 ? -place : 2 * (size - 1) - place
        default: throw ImportFailure("padding \(mode) is not supported")
        }
      }
      guard sources.allSatisfy({ $0.map((0..<size).contains) ?? true }) else {
        throw ImportFailure("padding by \(before) and \(behind) of a dimension of \(size)")
      }
      result = try mapped(result, dimension, taking: sources)
      if value != 0, mode == "constant" {
        let isNew = sources.map { $0 == nil ? 1.0 : 0 }
        let condition = ImportedTensor(
          sizes: [sources.count] + [Int](repeating: 1, count: pair), batch: nil, kind: .boolean,
          storage: .constant(isNew))
        result = try chosen(condition, scalar(value), result)
      }
    }
    return result
  }

  mutating func rolled(_ call: OperatorCall) throws -> ImportedTensor {
    var x = try call.tensor("self")
    let (shifts, given) = (try call.integers("shifts"), try call.integers("dims", default: []))
    let sizes = x.sizes
    if given.isEmpty {
      guard x.batch == nil else { throw ImportFailure.mixing("it rolls over all dimensions") }
      x = try viewed(x, [sizes.reduce(1, *)])
    }
    for (shift, dimension) in zip(shifts, given.isEmpty ? [0] : given) {
      let dimension = try OperatorCall.dimension(dimension, rank: x.rank)
      let size = x.sizes[dimension]
      x = try mapped(
        x, dimension, taking: (0..<size).lazy.map { (($0 - shift) % size + size) % size })
    }
    return given.isEmpty ? try viewed(x, sizes) : x
  }
}
