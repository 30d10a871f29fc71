import Checkpoints
import GraphModule
import TensorModule

/// Softmax attention of tokens to themselves and what is before them, after the projections.
struct SelfAttention {
  let name: String
  let heads: Int
  /// Heads of keys and values: each of them for as many heads of queries.
  let keyHeads: Int
  /// Columns of one head.
  let width: Int
  let scale: Double
  /// How many tokens a token sees, itself and the ones before it; `nil`: all of them.
  var window: Int?
  var cap: Cap?
  var angles: RotaryValues?

  /// Scores s are replaced by `bound tanh(s / bound)`.
  struct Cap {
    let bound: Double
    /// Which token sees which, `[T, T]`.
    let visible: ValueID
  }

  init(
    _ name: String, heads: Int, keyHeads: Int? = nil, width: Int, scale: Double? = nil
  ) {
    self.name = name
    self.heads = heads
    self.keyHeads = keyHeads ?? heads
    self.width = width
    self.scale = scale ?? 1 / Double(width).squareRoot()
  }

  /// Whether a token sees another one that is so far behind it; before it is a negative distance.
  static func sees(_ distance: Int, window: Int?) -> Bool {
    distance <= 0 && window.map { -distance < $0 } ?? true
  }
}

/// Angles as values of the graph, which layers have in common.
struct RotaryValues {
  let positions: RotaryPositions
  let cosines: ValueID
  let sines: ValueID
}

extension TransformerBuilder {
  mutating func values(_ positions: RotaryPositions) throws(CheckpointError) -> RotaryValues {
    let name = "rotary_emb"
    let shape = [positions.positions, 1, positions.width]
    return RotaryValues(
      positions: positions,
      cosines: try apply(Constant(positions.cosines, shape: shape), to: [], name: name),
      sines: try apply(Constant(positions.sines, shape: shape), to: [], name: name))
  }

  /// - Parameters:
  ///   - q: Queries `[T, heads, width]`.
  ///   - k: Keys `[T, keyHeads, width]`; v, values, likewise.
  ///   - mask: Which tokens are visible, `[T]`.
  /// - Returns: `[T, heads width]`
  mutating func attention(
    _ layer: SelfAttention, _ q: ValueID, _ k: ValueID, _ v: ValueID, mask: ValueID?
  ) throws(CheckpointError) -> ValueID {
    let (q, k) = (try turned(q, layer), try turned(k, layer))
    if let cap = layer.cap {
      return try capped(layer, q, repeated(k, layer), repeated(v, layer), cap, mask: mask)
    }
    let tokens = shape(q)[0]
    var inputs: [ValueID] = []
    for (x, heads) in [(q, layer.heads), (k, layer.keyHeads), (v, layer.keyHeads)] {
      inputs.append(try reshape(x, to: [tokens, heads * layer.width]))
    }
    if let mask { inputs.append(mask) }
    return try apply(
      Attention(
        heads: layer.heads, scale: layer.scale,
        buckets: .causal(tokens: tokens, window: layer.window)), to: inputs, name: layer.name)
  }

  /// Heads `[T, heads, width]` turned by the angles of their positions.
  private mutating func turned(
    _ x: ValueID, _ layer: SelfAttention
  ) throws(CheckpointError) -> ValueID {
    guard let angles = layer.angles else { return x }
    let name = layer.name + ".rotary_emb"
    let (width, half) = (angles.positions.width, angles.positions.turned / 2)
    // Each column with the one that it is turned towards.
    let partners = (0..<width).map { column -> [SparseMap.Term] in
      if column >= 2 * half { return [] }
      return column < half
        ? [SparseMap.Term(column + half, -1)] : [SparseMap.Term(column - half)]
    }
    let matrix = SparseMatrix(columns: width, rows: partners)!
    let turned = try apply(SparseMap(axis: 2, matrix), to: [x], name: name)
    let kept = try apply(Product(), to: [x, angles.cosines], name: name)
    let added = try apply(Product(), to: [turned, angles.sines], name: name)
    return try apply(Sum(), to: [kept, added], name: name)
  }

  /// Every head of keys as often as there are heads of queries for it.
  private mutating func repeated(
    _ x: ValueID, _ layer: SelfAttention
  ) throws(CheckpointError) -> ValueID {
    if layer.heads == layer.keyHeads { return x }
    let each = layer.heads / layer.keyHeads
    return try apply(
      Take(axis: 1, (0..<layer.heads).map { $0 / each }), to: [x], name: layer.name)
  }

  /// Which of so many tokens sees which, for a cap on the scores.
  mutating func visible(
    _ layer: SelfAttention, tokens: Int
  ) throws(CheckpointError) -> ValueID {
    guard let count = checkedProduct(tokens, tokens, atMost: 1 << 25) else {
      throw CheckpointError(
        .unexpectedValue(
          "a sample", found: "\(tokens) tokens", expected: "at most 5792 where scores have a cap"),
        at: .init(file: config.file), hint: "Use shorter samples.")
    }
    let visible = (0..<count).map {
      SelfAttention.sees($0 % tokens - $0 / tokens, window: layer.window) ? 1.0 : 0
    }
    return try apply(
      Constant(visible, shape: [tokens, tokens], element: .boolean), to: [], name: layer.name)
  }

  /// Attention in its pieces, with a cap on the scores.
  private mutating func capped(
    _ layer: SelfAttention, _ q: ValueID, _ k: ValueID, _ v: ValueID, _ cap: SelfAttention.Cap,
    mask: ValueID?
  ) throws(CheckpointError) -> ValueID {
    let name = layer.name
    let tokens = shape(q)[0]
    var heads: [ValueID] = []
    for x in [q, k, v] {
      heads.append(try apply(View(.permute([1, 0, 2])), to: [x], name: name))
    }
    var scores = try apply(
      MatrixProduct(isTransposed: true), to: [heads[0], heads[1]], name: name)
    scores = try self.capped(scores, cap.bound, scale: layer.scale, name: name)
    let hidden = try apply(Constant([-.infinity], shape: [1]), to: [], name: name)
    for condition in [cap.visible] + (mask.map { [$0] } ?? []) {
      scores = try apply(Where(), to: [condition, scores, hidden], name: name)
    }
    let weights = try apply(Softmax(), to: [scores], name: name)
    let mixed = try apply(MatrixProduct(), to: [weights, heads[2]], name: name)
    let together = try apply(View(.permute([1, 0, 2])), to: [mixed], name: name)
    return try reshape(together, to: [tokens, layer.heads * layer.width])
  }

  /// `cap tanh(scale x / cap)`
  mutating func capped(
    _ x: ValueID, _ cap: Double, scale: Double = 1, name: String
  ) throws(CheckpointError) -> ValueID {
    let small = try apply(Scale(factor: scale / cap), to: [x], name: name)
    let bounded = try apply(Activation(.tanh), to: [small], name: name)
    return try apply(Scale(factor: cap), to: [bounded], name: name)
  }
}
