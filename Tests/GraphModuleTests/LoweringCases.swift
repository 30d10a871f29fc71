import TensorModule

@testable import GraphModule

/// One row for each way a pass can take, and for what it must not touch.
let loweringCases: [LoweringCase] =
  piecesCases + [
    LoweringCase("low-rank update", LowRankUpdates()) { g in
      let x = try g.shifted(g.input("x", [3, 4]), "b")
      return try g.adapted(x, "w", 5, bias: true)
    },
    LoweringCase("low-rank update of scale 1, in front", LowRankUpdates()) { g in
      let x = try g.input("x", [3, 4])
      let change = try g.linear(g.linear(x, "A", 2), "B", 5)
      return try g.apply(Sum(), change, g.linear(x, "w", 5))
    },
    LoweringCase("low-rank update that somebody reads", LowRankUpdates(), applies: false) { g in
      let x = try g.input("x", [3, 4])
      let change = try g.linear(g.linear(x, "A", 2), "B", 5)
      let sum = try g.apply(Sum(), g.linear(x, "w", 5), change)
      return try g.apply(Product(), sum, change)
    },
    LoweringCase("low-rank update with a bias inside", LowRankUpdates(), applies: false) { g in
      let x = try g.input("x", [3, 4])
      let change = try g.linear(g.linear(x, "A", 2, bias: true), "B", 5)
      return try g.apply(Sum(), g.linear(x, "w", 5), change)
    },
    LoweringCase("low-rank update of another input", LowRankUpdates(), applies: false) { g in
      let x = try g.input("x", [3, 4])
      let y = try g.shifted(x, "b")
      return try g.apply(Sum(), g.linear(x, "w", 5), g.linear(g.linear(y, "A", 2), "B", 5))
    },
    LoweringCase("gate", GatedActivations()) { g in
      let x = try g.shifted(g.input("x", [3, 4]), "b")
      return try g.apply(
        Product(), g.apply(Activation(.silu), g.linear(x, "g", 5)), g.linear(x, "u", 5))
    },
    LoweringCase("gate behind what it lets through", GatedActivations()) { g in
      let x = try g.shifted(g.input("x", [3, 4]), "b")
      return try g.apply(Product(), x, g.apply(Activation(.gelu), x))
    },
    LoweringCase("gate that somebody reads", GatedActivations(), applies: false) { g in
      let x = try g.shifted(g.input("x", [3, 4]), "b")
      let gate = try g.apply(Activation(.silu), x)
      return try g.apply(Sum(), g.apply(Product(), gate, g.linear(x, "u", 4)), gate)
    },
    LoweringCase("gate of what does not move", GatedActivations(), applies: false) { g in
      let x = try g.input("x", [3, 4])
      return try g.apply(Product(), g.apply(Activation(.silu), x), g.linear(x, "u", 4))
    },
    LoweringCase("gate of all that does not move", GatedActivations(), applies: false) { g in
      let x = try g.input("x", [3, 4])
      return try g.apply(Product(), x, g.apply(Activation(.silu), g.linear(x, "u", 4)))
    },
    LoweringCase("gate that is repeated", GatedActivations(), applies: false) { g in
      let x = try g.shifted(g.input("x", [3, 1]), "b")
      return try g.apply(Product(), g.apply(Activation(.silu), x), g.linear(x, "u", 4))
    },
    LoweringCase("rectifier before pooling", PoolingBeforeRectifiers()) { g in
      let x = try g.shifted(g.input("x", [4, 4, 2]), "b")
      return try g.apply(
        MaxPool(.init(kernel: (2, 2), stride: (2, 2))), g.apply(Activation(.relu), x))
    },
    LoweringCase("another function before pooling", PoolingBeforeRectifiers(), applies: false) {
      g in
      let x = try g.shifted(g.input("x", [4, 4, 2]), "b")
      return try g.apply(
        MaxPool(.init(kernel: (2, 2), stride: (2, 2))), g.apply(Activation(.gelu), x))
    },
    LoweringCase("rectifier that somebody reads", PoolingBeforeRectifiers(), applies: false) { g in
      let x = try g.apply(Activation(.relu), g.shifted(g.input("x", [2, 2, 2]), "b"))
      return try g.apply(Sum(), g.apply(MaxPool(.init(kernel: (2, 2), stride: (2, 2))), x), x)
    },
    LoweringCase("rows of a block", UnreadRows()) { g in
      let x = try g.shifted(g.input("x", [4, 6]), "b")
      let normed = try g.apply(
        Normalization(.rows(dimensions: 1), epsilon: 0.1), x, parameters: [("n", [6])])
      let mixed = try g.attention(
        queries: g.linear(normed, "q", 6), keys: normed, width: 6, heads: 2)
      let y = try g.apply(Sum(), g.linear(mixed, "o", 6), x)
      let gate = try g.apply(
        Product(), g.apply(Activation(.gelu), g.adapted(y, "up", 5)), g.linear(y, "g", 5))
      let z = try g.apply(Sum(), g.apply(Scale(factor: 0.5), g.linear(gate, "down", 6)), y)
      return try g.linear(g.apply(Take([0]), z), "head", 3)
    },
    LoweringCase("rows by two readers", UnreadRows()) { g in
      let x = try g.linear(g.shifted(g.input("x", [5, 4]), "b"), "w", 3)
      return try g.apply(
        Concatenate(axis: 0), g.apply(Take([3, 1]), x), g.apply(Take([1, 1, 0]), x))
    },
    LoweringCase("rows of rows", UnreadRows()) { g in
      let x = try g.linear(g.shifted(g.input("x", [5, 4]), "b"), "w", 3)
      return try g.apply(Take([2]), g.apply(Activation(.tanh), g.apply(Take([4, 0, 3]), x)))
    },
    LoweringCase("rows of a causal attention", UnreadRows()) { g in
      let x = try g.shifted(g.input("x", [4, 4]), "b")
      let buckets = PositionBuckets(queries: [0, 1, 2, 3], keys: 4) { $0 > 0 ? -1 : 0 }
      let mixed = try g.attention(
        queries: g.linear(x, "q", 4), keys: x, width: 4, heads: 2, buckets: buckets)
      return try g.apply(Take([1, 3]), mixed)
    },
    LoweringCase("rows that are all read", UnreadRows(), applies: false) { g in
      let x = try g.linear(g.shifted(g.input("x", [2, 4]), "b"), "w", 3)
      return try g.apply(Sum(), g.apply(Take([1, 0]), x), x)
    },
    LoweringCase("rows that read each other", UnreadRows(), applies: false) { g in
      let x = try g.apply(CumulativeSum(axis: 0), g.shifted(g.input("x", [4, 2]), "b"))
      return try g.apply(Take([2]), x)
    },
    LoweringCase("features are no rows", UnreadRows(), applies: false) { g in
      let x = try g.linear(g.shifted(g.input("x", [4]), "b"), "w", 3)
      return try g.apply(Take([2]), x)
    },
    LoweringCase("rows repeated to another shape", UnreadRows(), applies: false) { g in
      let x = try g.shifted(g.input("x", [1, 3]), "b")
      let y = try g.apply(Sum(), x, g.apply(ParameterValue(), parameters: [("p", [4, 3])]))
      return try g.apply(Take([2]), y)
    },
    LoweringCase("attention to few", GatheredAttention(), frozen: ["k", "v"]) { g in
      let (x, y) = (try g.input("x", [1, 6]), try g.input("y", [9, 4]))
      return try g.attention(
        queries: g.shifted(x, "b"), keys: g.shifted(y, "c"), width: 6, heads: 2)
    },
    LoweringCase("attention to few by an adapter", AdaptedAttention(), frozen: ["k", "v"]) { g in
      let (x, y) = (try g.input("x", [1, 6]), try g.input("y", [9, 4]))
      return try g.attention(
        queries: g.shifted(x, "b"), keys: g.shifted(y, "c"), width: 6, heads: 2, isAdapted: true)
    },
    LoweringCase("attention to few, masked", GatheredAttention(), frozen: ["k", "v"]) { g in
      let (x, y) = (try g.input("x", [1, 6]), try g.input("y", [9, 4]))
      let mask = try g.input("mask", [9], .index(bound: 2))
      return try g.attention(
        queries: g.shifted(x, "b"), keys: g.shifted(y, "c"), width: 6, heads: 2, mask: mask)
    },
    LoweringCase("attention whose keys train", GatheredAttention(), applies: false, frozen: ["v"]) {
      g in
      let (x, y) = (try g.input("x", [1, 6]), try g.input("y", [9, 4]))
      return try g.attention(queries: g.shifted(x, "b"), keys: y, width: 6, heads: 2)
    },
    LoweringCase("attention of many", GatheredAttention(), applies: false, frozen: ["k", "v"]) {
      g in
      let (x, y) = (try g.input("x", [8, 6]), try g.input("y", [9, 4]))
      return try g.attention(queries: g.shifted(x, "b"), keys: y, width: 6, heads: 2)
    },
    LoweringCase("convolution before pooling", PooledConvolutions()) { g in
      try pooled(&g, activation: .gelu)
    },
    LoweringCase("convolution before pooling, nothing between", PooledConvolutions()) { g in
      try pooled(&g, activation: nil)
    },
    LoweringCase(
      "convolution whose weight is frozen", PooledConvolutions(), applies: false, frozen: ["w"]
    ) { g in try pooled(&g, activation: nil) },
    LoweringCase("convolution that keeps most", PooledConvolutions(), applies: false) { g in
      try pooled(&g, activation: nil, stride: 1)
    },
  ]

/// The two passes of which the second reads what the first has made.
private struct AdaptedAttention: LoweringPass {
  var keepsLayers: Bool { GatheredAttention().keepsLayers }

  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    let adapted = try LowRankUpdates().rewritten(graph, trains: trains)
    return try GatheredAttention().rewritten(adapted ?? graph, trains: trains)
  }
}

private func pooled(
  _ g: inout LoweringGraph, activation: ElementFunction?, stride: Int = 2
) throws -> ValueID {
  let x = try g.shifted(g.input("x", [5, 5, 16]), "b")
  var y = try g.apply(
    Convolution(padding: (1, 1)), x, parameters: [("w", [16, 16, 2, 2]), ("c", [16])])
  if let activation { y = try g.apply(Activation(activation), y) }
  return try g.apply(MaxPool(.init(kernel: (2, 2), stride: (stride, stride))), y)
}

// MARK: - Pieces

private let piecesCases: [LoweringCase] = [
  LoweringCase("linear layer and its bias", LayersFromParameters()) { g in
    let x = try g.shifted(g.input("x", [3, 4]), "b")
    let weight = try g.apply(ParameterValue(), parameters: [("w", [2, 4])])
    let bias = try g.apply(ParameterValue(), parameters: [("c", [2])])
    return try g.apply(Sum(), bias, g.apply(MatrixProduct(isTransposed: true), x, weight))
  },
  LoweringCase("position table and tokens", LayersFromParameters()) { g in
    let x = try g.input("x", [3, 4])
    let table = try g.apply(ParameterValue(), parameters: [("tokens", [4, 4])])
    let first = try g.apply(View(.slice(axis: 0, start: 0, step: 1, count: 2)), table)
    let all = try g.apply(Concatenate(axis: 0), first, x)
    let positions = try g.apply(ParameterValue(), parameters: [("positions", [1, 5, 4])])
    return try g.apply(Sum(), all, g.builder.reshape(positions, to: [5, 4]))
  },
  LoweringCase("embedding", LayersFromParameters()) { g in
    let x = try g.input("x", [3], .index(bound: 2))
    return try g.apply(Lookup(), g.apply(ParameterValue(), parameters: [("w", [4, 2])]), x)
  },
  LoweringCase("weight of the other order", LayersFromParameters(), applies: false) { g in
    let x = try g.shifted(g.input("x", [3, 4]), "b")
    return try g.apply(MatrixProduct(), x, g.apply(ParameterValue(), parameters: [("w", [4, 2])]))
  },
  LoweringCase("table taken off, and of another shape", LayersFromParameters(), applies: false) {
    g in
    let x = try g.input("x", [3, 4])
    let table = try g.apply(ParameterValue(), parameters: [("t", [3, 4])])
    let row = try g.apply(ParameterValue(), parameters: [("r", [4])])
    return try g.apply(Sum(), g.apply(Sum(factor: -1), x, table), row)
  },
  LoweringCase("rows behind the sample's own", LayersFromParameters(), applies: false) { g in
    let x = try g.input("x", [3, 4])
    let table = try g.apply(ParameterValue(), parameters: [("t", [2, 4])])
    return try g.apply(Concatenate(axis: 0), x, table)
  },
  LoweringCase("layer norm, variance", NormalizationFromPieces()) { g in
    let x = try g.shifted(g.input("x", [3, 5]), "b")
    return try g.affine(g.norm(x, .variance(correction: 0)))
  },
  LoweringCase("layer norm, squares", NormalizationFromPieces()) { g in
    let x = try g.shifted(g.input("x", [3, 5]), "b")
    return try g.affine(g.norm(x, nil))
  },
  LoweringCase("layer norm without weights", NormalizationFromPieces()) { g in
    try g.norm(g.shifted(g.input("x", [3, 5]), "b"), nil)
  },
  LoweringCase("RMS norm", NormalizationFromPieces()) { g in
    let x = try g.shifted(g.input("x", [3, 5]), "b")
    let mean = try g.apply(
      Reduction(.mean, axes: [1], keepsDimensions: true),
      g.apply(Activation(ElementFunction("pow")!), x))
    return try g.apply(
      Product(), g.apply(Product(), x, g.inverseRoot(mean)),
      g.apply(ParameterValue(), parameters: [("w", [5])]))
  },
  LoweringCase("norm of the sample's variance", NormalizationFromPieces(), applies: false) { g in
    try g.norm(g.shifted(g.input("x", [3, 5]), "b"), .variance(correction: 1))
  },
  LoweringCase("norm over the first dimension", NormalizationFromPieces(), applies: false) { g in
    try g.norm(g.shifted(g.input("x", [3, 5]), "b"), nil, axis: 0)
  },
  LoweringCase("attention", AttentionFromPieces()) { g in try g.writtenOut(mask: nil) },
  LoweringCase("causal attention", AttentionFromPieces()) { g in
    try g.writtenOut(mask: { $1 <= $0 })
  },
  LoweringCase("attention, keys transposed", AttentionFromPieces()) { g in
    try g.writtenOut(mask: nil, transposesKeys: true)
  },
  LoweringCase("capped attention", AttentionFromPieces()) { g in
    try g.writtenOut(mask: nil, cap: 0.8)
  },
  LoweringCase("capped and causal attention", AttentionFromPieces()) { g in
    try g.writtenOut(mask: { $1 <= $0 }, cap: 0.8)
  },
  LoweringCase("attention with a cap of less than nothing", AttentionFromPieces(), applies: false) {
    g in try g.writtenOut(mask: nil, cap: -0.8)
  },
  LoweringCase("attention by a mask of its own", AttentionFromPieces(), applies: false) { g in
    try g.writtenOut(mask: { $0 == 0 || $1 != 1 })
  },
  LoweringCase("attention whose weights are read", AttentionFromPieces(), applies: false) { g in
    try g.writtenOut(mask: nil, readsWeights: true)
  },
]

extension LoweringGraph {
  /// `1 / sqrt(x + 0.1)`
  fileprivate mutating func inverseRoot(_ x: ValueID) throws -> ValueID {
    let epsilon = try apply(Constant([0.1], shape: []))
    return try apply(Activation(ElementFunction("rsqrt")!), apply(Sum(), x, epsilon))
  }

  /// - Parameter spread: `nil` for the mean of squares.
  fileprivate mutating func norm(
    _ x: ValueID, _ spread: Reduction.Kind?, axis: Int = 1
  ) throws -> ValueID {
    let mean = try apply(Reduction(.mean, axes: [axis], keepsDimensions: true), x)
    let centred = try apply(Sum(factor: -1), x, mean)
    let squares = try spread == nil ? apply(Product(), centred, centred) : x
    let variance = try apply(
      Reduction(spread ?? .mean, axes: [axis], keepsDimensions: true), squares)
    return try apply(Product(), centred, inverseRoot(variance))
  }

  fileprivate mutating func affine(_ x: ValueID) throws -> ValueID {
    let weight = try apply(ParameterValue(), parameters: [("w", [5])])
    let bias = try apply(ParameterValue(), parameters: [("c", [5])])
    return try apply(Sum(), apply(Product(), weight, x), bias)
  }

  /// Two heads of width 2 over four tokens.
  fileprivate mutating func writtenOut(
    mask: ((_ query: Int, _ key: Int) -> Bool)?, transposesKeys: Bool = false,
    readsWeights: Bool = false, cap: Double? = nil
  ) throws -> ValueID {
    let x = try shifted(input("x", [4, 4]), "b")
    func heads(_ g: inout LoweringGraph, _ name: String, _ order: [Int]) throws -> ValueID {
      let tokens = try g.linear(x, name, 4)
      return try g.apply(View(.permute(order)), g.builder.reshape(tokens, to: [4, 2, 2]))
    }
    let q = try heads(&self, "q", [1, 0, 2])
    let k = try heads(&self, "k", transposesKeys ? [1, 2, 0] : [1, 0, 2])
    let v = try heads(&self, "v", [1, 0, 2])
    var scores = try apply(
      Scale(factor: 0.7), apply(MatrixProduct(isTransposed: !transposesKeys), q, k))
    if let cap {
      let bounded = try apply(Activation(.tanh), apply(Scale(factor: 1 / 0.6), scores))
      scores = try apply(Scale(factor: cap), bounded)
    }
    if let mask {
      let values = (0..<16).map { mask($0 / 4, $0 % 4) ? 1.0 : 0.0 }
      scores = try apply(
        Where(), apply(Constant(values, shape: [4, 4], element: .boolean)), scores,
        apply(Constant([-.infinity], shape: [])))
    }
    let weights = try apply(Softmax(), scores)
    let mixed = try apply(View(.permute([1, 0, 2])), apply(MatrixProduct(), weights, v))
    let tokens = try linear(builder.reshape(mixed, to: [4, 4]), "o", 4)
    if !readsWeights { return tokens }
    return try apply(Sum(), tokens, apply(Reduction(.sum, axes: [0]), weights))
  }
}
