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
  /// Scores s are replaced by `cap tanh(s / cap)`.
  var cap: Double?
  var angles: RotaryValues?

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
    let tokens = shape(q)[0]
    var inputs: [ValueID] = []
    for (x, heads) in [(q, layer.heads), (k, layer.keyHeads), (v, layer.keyHeads)] {
      inputs.append(try reshape(x, to: [tokens, heads * layer.width]))
    }
    if let mask { inputs.append(mask) }
    return try apply(
      Attention(
        heads: layer.heads, scale: layer.scale,
        buckets: .causal(tokens: tokens, window: layer.window), cap: layer.cap), to: inputs,
      name: layer.name)
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

  /// `cap tanh(x / cap)`
  mutating func capped(
    _ x: ValueID, _ cap: Double, name: String
  ) throws(CheckpointError) -> ValueID {
    let small = try apply(Scale(factor: 1 / cap), to: [x], name: name)
    let bounded = try apply(Activation(.tanh), to: [small], name: name)
    return try apply(Scale(factor: cap), to: [bounded], name: name)
  }
}
