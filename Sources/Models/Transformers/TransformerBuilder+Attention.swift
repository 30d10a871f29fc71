import Checkpoints
import GraphModule
import TensorModule

/// Softmax attention with its projections of queries, keys and values.
struct AttentionLayer {
  let name: String
  /// Modules of the projections.
  let query: String
  let key: String
  let value: String
  let heads: Int
  /// Columns of one head.
  let width: Int
  let scale: Double
  let hasBias: Bool
  /// An input, `[Tk]`: which keys are visible.
  var mask: ValueID?
  /// Rows of the bias table, and the table `[tableRows, heads]`.
  var buckets: PositionBuckets?
  var table: ParameterID?
  var tableRows = 0

  /// Columns of all heads.
  var columns: Int { heads * width }
}

extension TransformerBuilder {
  /// What each query `[Tq, D]` gathers from the keys `[Tk, D]`: `[Tq, heads d]`, before the output
  /// projection.
  mutating func attention(
    _ layer: AttentionLayer, queries x: Tokens, keys y: Tokens
  ) throws(CheckpointError) -> Tokens {
    try requirePairs(layer.heads, x.count, y.count)
    var q = try linear(x, layer.query, outputs: layer.columns, hasBias: layer.hasBias)
    if gathersInputs(layer, queries: x, keys: y) {
      return try attentionToInputs(layer, queries: q, keys: y)
    }
    let k = try linear(y, layer.key, outputs: layer.columns, hasBias: layer.hasBias)
    let v = try linear(y, layer.value, outputs: layer.columns, hasBias: layer.hasBias)
    q.id = graph.apply(
      Attention(
        queries: q.count, keys: k.count, heads: layer.heads, width: layer.width,
        scale: layer.scale, hasMask: layer.mask != nil, buckets: layer.buckets,
        tableRows: layer.tableRows),
      to: [q.id, k.id, v.id] + (layer.mask.map { [$0] } ?? []),
      parameters: layer.table.map { [$0] } ?? [], name: layer.name)
    return q
  }

  /// - Throws: An error unless the weights of all pairs of tokens have a size that can be reckoned
  ///   with, whatever it is multiplied by later.
  private func requirePairs(_ heads: Int, _ queries: Int, _ keys: Int) throws(CheckpointError) {
    if checkedProduct(heads, queries, keys, atMost: 1 << 36) != nil { return }
    throw CheckpointError(
      .unexpectedValue(
        "attention of \(heads) heads", found: "over \(queries) x \(keys) pairs of tokens",
        expected: "at most 2^36 pairs in all heads"),
      at: .init(file: config.file), hint: "Use shorter samples.")
  }

  /// Few queries do not need a projection of every key and value: see `HeadLinear`. Only behind an
  /// adapter that leaves both weights frozen, since their gradients would not factor; and where it
  /// saves at least half of the work.
  private func gathersInputs(
    _ layer: AttentionLayer, queries x: Tokens, keys y: Tokens
  ) -> Bool {
    guard mayGather, layer.buckets == nil, isFrozen(layer.key), isFrozen(layer.value) else {
      return false
    }
    let (queries, keys) = (Double(x.count), Double(y.count))
    let (inner, outer) = (Double(layer.columns), Double(y.columns))
    let projected = keys * inner * (outer + queries)
    let gathered = queries * outer * (inner + Double(layer.heads) * keys)
    return 2 * gathered <= projected
  }

  /// The same attention with every head looking at the tokens themselves, which are its keys and
  /// its values.
  private mutating func attentionToInputs(
    _ layer: AttentionLayer, queries q: Tokens, keys y: Tokens
  ) throws(CheckpointError) -> Tokens {
    let looking = try headLinear(q.id, layer, layer.key, q.count, y.columns, isTransposed: true)
    let gathered = graph.apply(
      Attention(
        queries: q.count * layer.heads, keys: y.count, heads: 1, width: y.columns,
        scale: layer.scale, hasMask: layer.mask != nil),
      to: [looking, y.id, y.id] + (layer.mask.map { [$0] } ?? []), name: layer.name)
    var result = q
    result.id = try headLinear(
      gathered, layer, layer.value, q.count, y.columns, isTransposed: false)
    return result
  }

  /// The projection `module` of keys (transposed) or values, with its low-rank change, applied to
  /// what belongs to each of `count` queries and each head.
  private mutating func headLinear(
    _ x: ValueID, _ layer: AttentionLayer, _ module: String, _ count: Int, _ columns: Int,
    isTransposed: Bool
  ) throws(CheckpointError) -> ValueID {
    var parameters = [try parameter(module, "weight", shape: [layer.columns, columns])]
    if layer.hasBias {
      parameters.append(try parameter(module, "bias", shape: [layer.columns]))
    }
    let base = HeadLinear(
      positions: count, heads: layer.heads, width: layer.width, columns: columns,
      isTransposed: isTransposed, hasBias: layer.hasBias)
    let projected = graph.apply(base, to: [x], parameters: parameters, name: module)
    guard
      let change = try lowRankChange(
        of: module, inputs: columns, outputs: layer.columns, hasBias: layer.hasBias)
    else { return projected }
    let up = HeadLinear(
      positions: count, heads: layer.heads, width: layer.width, columns: change.rank,
      scale: change.scale, isTransposed: isTransposed, hasBias: false)
    // All heads share A: a layer of one head at `count heads` positions.
    let down = HeadLinear(
      positions: count * layer.heads, heads: 1, width: change.rank, columns: columns,
      isTransposed: isTransposed, hasBias: false)
    var steps = [(down, change.down, ".lora_A"), (up, change.up, ".lora_B")]
    if isTransposed { steps.reverse() }
    var changed = x
    for (operation, parameter, suffix) in steps {
      changed = graph.apply(
        operation, to: [changed], parameters: [parameter], name: module + suffix)
    }
    return graph.apply(
      Sum(size: base.outputSize), to: [projected, changed], name: module + ".lora")
  }
}
