import TensorModule

/// `softmax(scale Q K^T + mask) V` of every head, written out on heads `[heads, T, d]` that are views
/// of tokens `[T, heads d]`; with a cap on the scores, if they have one, and a constant mask that depends on
/// distances alone (causal, a window).
struct AttentionFromPieces: LoweringPass {
  func rewritten(_ graph: Graph, trains: (ParameterID) -> Bool) throws(GraphError) -> Graph? {
    try graph.replacingNodes { node, uses, result throws(GraphError) in
      guard let found = Pieces(node, uses) else { return nil }
      var inputs: [ValueID] = []
      for heads in [found.q, found.k, found.v] {
        inputs.append(
          try result.reshaped(heads.tokens, to: [heads.count, heads.heads * heads.width]))
      }
      return try result.apply(
        Attention(
          heads: found.q.heads, scale: found.scale, buckets: found.buckets, cap: found.cap),
        to: inputs, name: node.name)
    }
  }

  /// `[heads, T, d]`, a view of tokens.
  private struct Heads {
    let tokens: ValueID
    let count: Int
    let heads: Int
    let width: Int

    /// - Parameter isTransposed: Whether the value is `[heads, d, T]`.
    init?(_ value: ValueID, _ uses: GraphUses, isTransposed: Bool = false) {
      guard let view = uses.made(value, View.self),
        view.operation.kind == .permute(isTransposed ? [1, 2, 0] : [1, 0, 2])
      else { return nil }
      tokens = view.node.inputs[0]
      let shape = uses.graph.type(tokens).shape
      (count, heads, width) = (shape[0], shape[1], shape[2])
    }
  }

  private struct Pieces {
    let q: Heads
    let k: Heads
    let v: Heads
    private(set) var scale = 1.0
    private(set) var cap: Double?
    private(set) var buckets: PositionBuckets?

    /// - Parameter node: What puts the heads beside each other again.
    init?(_ node: Node, _ uses: GraphUses) {
      guard let view = node.operation as? View, view.kind == .permute([1, 0, 2]),
        let mixed = uses.only(node.inputs[0], MatrixProduct.self), !mixed.operation.isTransposed,
        let softmax = uses.only(mixed.node.inputs[0], Softmax.self),
        !softmax.operation.isLogarithm, let v = Heads(mixed.node.inputs[1], uses)
      else { return nil }
      self.v = v
      var scores = softmax.node.inputs[0]
      var hidden: ((Int, Int) -> Bool)?
      if let masked = uses.only(scores, Where.self) {
        guard let choice = Self.masked(masked.node, uses) else { return nil }
        (scores, hidden) = choice
      }
      if let capped = Self.capped(scores, uses) { (scores, cap) = capped }
      // What is multiplied behind tanh need not be what was divided by before it.
      scale = cap ?? 1
      while let scaled = uses.only(scores, Scale.self) {
        scale *= scaled.operation.factor
        scores = scaled.node.inputs[0]
      }
      guard let product = uses.only(scores, MatrixProduct.self) else { return nil }
      var left = product.node.inputs[0]
      if let scaled = uses.made(left, Scale.self) {
        scale *= scaled.operation.factor
        left = scaled.node.inputs[0]
      }
      guard let q = Heads(left, uses),
        let k = Heads(
          product.node.inputs[1], uses, isTransposed: !product.operation.isTransposed),
        q.heads == k.heads, k.heads == v.heads, k.count == v.count, q.width == k.width,
        k.width == v.width
      else { return nil }
      (self.q, self.k) = (q, k)
      if let hidden {
        guard let buckets = Self.buckets(q.count, k.count, hidden) else { return nil }
        self.buckets = buckets
      }
    }

    /// `cap tanh x`: x, and the cap.
    private static func capped(_ scores: ValueID, _ uses: GraphUses) -> (ValueID, Double)? {
      guard let scaled = uses.only(scores, Scale.self), scaled.operation.factor > 0,
        let bounded = uses.only(scaled.node.inputs[0], Activation.self),
        bounded.operation.function == .tanh
      else { return nil }
      return (bounded.node.inputs[0], scaled.operation.factor)
    }

    /// `condition ? scores : -infinity`, or the reverse, of a constant condition on pairs: the scores,
    /// and which pair of a query and a key is hidden.
    private static func masked(
      _ node: Node, _ uses: GraphUses
    ) -> (ValueID, (Int, Int) -> Bool)? {
      guard let condition = uses.made(node.inputs[0], Constant.self) else { return nil }
      for (place, other) in [(1, 2), (2, 1)] {
        let scores = uses.graph.type(node.inputs[place]).shape
        guard let fill = uses.made(node.inputs[other], Constant.self),
          fill.operation.values.allSatisfy({ $0 == -.infinity }),
          condition.node.type.shape == Array(scores.suffix(2))
        else { continue }
        let (values, keys) = (condition.operation.values, scores[2])
        return (node.inputs[place], { (values[$0 * keys + $1] == 0) == (place == 1) })
      }
      return nil
    }

    /// `nil` where more than the distance counts, or a query sees nothing.
    private static func buckets(
      _ queries: Int, _ keys: Int, _ isHidden: (Int, Int) -> Bool
    ) -> PositionBuckets? {
      var rows: [Int: Int32] = [:]
      for query in 0..<queries {
        var seesOne = false
        for key in 0..<keys {
          let row: Int32 = isHidden(query, key) ? -1 : 0
          if rows.updateValue(row, forKey: key - query).map({ $0 != row }) ?? false { return nil }
          seesOne = seesOne || row == 0
        }
        if !seesOne { return nil }
      }
      return PositionBuckets(queries: Array(0..<queries), keys: keys) { rows[$0] ?? -1 }
    }
  }
}
