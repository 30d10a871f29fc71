import GraphModule
import TensorModule

extension Operators {
  static let attention = single([
    "aten.scaled_dot_product_attention.default": scaledDotProduct,
    "aten._scaled_dot_product_flash_attention_for_cpu.default": scaledDotProduct,
    "aten._safe_softmax.default": { builder, call in
      let x = try call.tensor("self")
      let dimension = try call.dimension("dim", rank: x.rank)
      // Where nothing is seen, nothing is mixed.
      let largest = try builder.reduced(x, .maximum, [dimension], keeps: true)
      let sees = try builder.compared(.notEqual, largest, builder.scalar(-.infinity))
      let safe = try builder.chosen(sees, x, builder.scalar(0))
      return try builder.chosen(
        sees, builder.softmax(safe, dimension), builder.scalar(0))
    },
  ])

  @Sendable private static func scaledDotProduct(
    _ builder: inout TensorBuilder, _ call: OperatorCall
  ) throws -> ImportedTensor {
    guard try call.real("dropout_p", default: 0) == 0 else {
      throw ImportFailure("dropout in training mode: call net.eval() before torch.export.export")
    }
    return try builder.attention(
      call.tensor("query"), call.tensor("key"), call.tensor("value"),
      mask: call.optionalTensor("attn_mask"), isCausal: call.bool("is_causal", default: false),
      scale: call.has("scale") ? call.real("scale") : nil,
      isGrouped: call.bool("enable_gqa", default: false))
  }
}

extension TensorBuilder {
  /// `softmax(scale Q K^T + mask) V` over the last two dimensions.
  mutating func attention(
    _ q: ImportedTensor, _ k: ImportedTensor, _ v: ImportedTensor, mask: ImportedTensor?,
    isCausal: Bool, scale: Double?, isGrouped: Bool
  ) throws -> ImportedTensor {
    var (k, v) = (k, v)
    let rank = q.rank
    guard rank >= 2, k.rank == rank, v.rank == rank else {
      throw ImportFailure("attention of \(q.sizes), \(k.sizes) and \(v.sizes)")
    }
    for tensor in [q, k, v] where (tensor.batch?.axis ?? -1) >= rank - 2 {
      throw ImportFailure.mixing("attention over the dimension of the samples")
    }
    if isGrouped, rank >= 3 {
      k = try repeatedHeads(k, to: q.sizes[rank - 3])
      v = try repeatedHeads(v, to: q.sizes[rank - 3])
    }
    let scale = scale ?? 1 / Double(q.sizes[rank - 1]).squareRoot()
    let scores = try scaled(matrixProduct(q, transposed(k, rank - 2, rank - 1)), by: scale)
    let masked = try self.masked(scores, mask, isCausal: isCausal)
    return try matrixProduct(softmax(masked, rank - 1), v)
  }

  private mutating func masked(
    _ scores: ImportedTensor, _ mask: ImportedTensor?, isCausal: Bool
  ) throws -> ImportedTensor {
    if isCausal {
      let (queries, keys) = (scores.sizes[scores.rank - 2], scores.sizes[scores.rank - 1])
      let visible = (0..<queries * keys).map { $0 % keys <= $0 / keys ? 1.0 : 0 }
      return try chosen(
        ImportedTensor(
          sizes: [queries, keys], batch: nil, kind: .boolean, storage: .constant(visible)), scores,
        scalar(-.infinity))
    }
    guard let mask else { return scores }
    return mask.kind == .boolean
      ? try chosen(mask, scores, scalar(-.infinity)) : try sum(scores, mask)
  }

  /// Every head of keys or values as often as there are queries' heads for it.
  private mutating func repeatedHeads(
    _ x: ImportedTensor, to heads: Int
  ) throws -> ImportedTensor {
    let axis = x.rank - 3
    let own = x.sizes[axis]
    if own == heads { return x }
    guard own > 0, heads % own == 0, x.batch?.axis != axis else {
      throw ImportFailure("\(own) heads of keys for \(heads) of queries")
    }
    return try mapped(x, axis, taking: (0..<heads).lazy.map { $0 / (heads / own) })
  }
}
