import Checkpoints
import GraphModule

// Attention and heads that families have in common.
extension LanguageBuilder {
  /// What tokens gather from all tokens `[length, columns]`, before the output projection.
  ///
  /// - Parameters:
  ///   - query: The module of the projection, inside of `module`; `key` and `value` likewise.
  ///   - buckets: Which tokens see which; `nil`: all see all.
  mutating func attention(
    _ x: ValueID, _ module: String, query: String, key: String, value: String, heads: Int,
    hasBias: Bool = true, buckets: PositionBuckets? = nil
  ) throws(CheckpointError) -> ValueID {
    let width = b.shape(x)[1] / heads
    let layer = AttentionLayer(
      name: module, query: "\(module).\(query)", key: "\(module).\(key)",
      value: "\(module).\(value)", heads: heads, width: width,
      scale: 1 / Double(width).squareRoot(), hasBias: hasBias, mask: mask, buckets: buckets)
    return try b.attention(layer, queries: x, keys: x)
  }

  /// Logits of a decoder: of the tokens that come next, of the class of a sequence by its last token, or
  /// of classes of its tokens.
  ///
  /// - Parameters:
  ///   - head: The module of the logits of tokens.
  ///   - tokenClassifier: That of classes of tokens.
  mutating func decoderLogits(
    _ x: ValueID, head: String = "lm_head", embedding: String,
    tokenClassifier: String = "classifier"
  ) throws(CheckpointError) -> ValueID {
    switch task {
    case .causal, .masked:
      return try tokenLogits(scored(x, head + ".scored"), head, embedding: embedding)
    case .sequenceClassification:
      return try classify(lastToken(x, "score.token"), "score", hasBias: false)
    case .tokenClassification:
      return try classify(
        scored(x, tokenClassifier + ".scored"), tokenClassifier, hasBias: true)
    }
  }
}

extension PositionBuckets {
  /// Of tokens that see themselves and what is before them alone.
  ///
  /// - Parameter window: How many tokens a token sees; `nil`: all of them.
  static func causal(tokens: Int, window: Int? = nil) -> PositionBuckets {
    PositionBuckets(queries: Array(0..<tokens), keys: tokens) {
      SelfAttention.sees($0, window: window) ? 0 : -1
    }
  }
}
