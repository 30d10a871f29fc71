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
    let k = try linear(y, layer.key, outputs: layer.columns, hasBias: layer.hasBias)
    let v = try linear(y, layer.value, outputs: layer.columns, hasBias: layer.hasBias)
    return try apply(
      Attention(heads: layer.heads, scale: layer.scale, buckets: layer.buckets),
      to: [q, k, v] + (layer.mask.map { [$0] } ?? []),
      parameters: layer.table.map { [$0] } ?? [], name: layer.name)
  }
}
