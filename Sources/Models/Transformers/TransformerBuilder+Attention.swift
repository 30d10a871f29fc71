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
  /// Rows of the bias table, and the table `[rows, heads]`.
  var buckets: PositionBuckets?
  var table: ParameterID?

  /// Columns of all heads.
  var columns: Int { heads * width }
}

extension TransformerBuilder {
  /// What each query `[Tq, D]` gathers from the keys `[Tk, D]`: `[Tq, heads d]`, before the output
  /// projection.
  mutating func attention(
    _ layer: AttentionLayer, queries x: ValueID, keys y: ValueID
  ) throws(CheckpointError) -> ValueID {
    let q = try linear(x, layer.query, outputs: layer.columns, hasBias: layer.hasBias)
    if gathersInputs(layer, queries: x, keys: y) {
      return try attentionToInputs(layer, queries: q, keys: y)
    }
    let k = try linear(y, layer.key, outputs: layer.columns, hasBias: layer.hasBias)
    let v = try linear(y, layer.value, outputs: layer.columns, hasBias: layer.hasBias)
    return try apply(
      Attention(heads: layer.heads, scale: layer.scale, buckets: layer.buckets),
      to: [q, k, v] + (layer.mask.map { [$0] } ?? []),
      parameters: layer.table.map { [$0] } ?? [], name: layer.name)
  }

  /// Few queries do not need a projection of every key and value: see `HeadLinear`. Only behind an
  /// adapter that leaves both weights frozen, since their gradients would not factor; and where it
  /// saves at least half of the work.
  private func gathersInputs(
    _ layer: AttentionLayer, queries x: ValueID, keys y: ValueID
  ) -> Bool {
    guard mayGather, layer.buckets == nil, isFrozen(layer.key), isFrozen(layer.value) else {
      return false
    }
    let (queries, keys) = (Double(shape(x)[0]), Double(shape(y)[0]))
    let (inner, outer) = (Double(layer.columns), Double(shape(y)[1]))
    let projected = keys * inner * (outer + queries)
    let gathered = queries * outer * (inner + Double(layer.heads) * keys)
    return 2 * gathered <= projected
  }

  /// The same attention with every head looking at the tokens themselves, which are its keys and
  /// its values.
  private mutating func attentionToInputs(
    _ layer: AttentionLayer, queries q: ValueID, keys y: ValueID
  ) throws(CheckpointError) -> ValueID {
    let columns = shape(y)[1]
    let looking = try headLinear(q, layer, layer.key, columns, isTransposed: true)
    let gathered = try apply(
      Attention(heads: 1, scale: layer.scale),
      to: [looking, y, y] + (layer.mask.map { [$0] } ?? []), name: layer.name)
    return try headLinear(gathered, layer, layer.value, columns, isTransposed: false)
  }

  /// The projection `module` of keys (transposed) or values, with its low-rank change, applied to
  /// what belongs to each query and each head.
  private mutating func headLinear(
    _ x: ValueID, _ layer: AttentionLayer, _ module: String, _ columns: Int, isTransposed: Bool
  ) throws(CheckpointError) -> ValueID {
    var parameters = [try parameter(module, "weight", shape: [layer.columns, columns])]
    if layer.hasBias {
      parameters.append(try parameter(module, "bias", shape: [layer.columns]))
    }
    let projected = try apply(
      HeadLinear(heads: layer.heads, isTransposed: isTransposed), to: [x],
      parameters: parameters, name: module)
    guard
      let change = try lowRankChange(
        of: module, inputs: columns, outputs: layer.columns, hasBias: layer.hasBias)
    else { return projected }
    let up = HeadLinear(heads: layer.heads, scale: change.scale, isTransposed: isTransposed)
    // All heads share A.
    let down = HeadLinear(heads: 1, isTransposed: isTransposed)
    var steps = [(down, change.down, ".lora_A"), (up, change.up, ".lora_B")]
    if isTransposed { steps.reverse() }
    var changed = x
    for (operation, parameter, suffix) in steps {
      changed = try apply(
        operation, to: [changed], parameters: [parameter], name: module + suffix)
    }
    return try apply(Sum(), to: [projected, changed], name: module + ".lora")
  }
}
