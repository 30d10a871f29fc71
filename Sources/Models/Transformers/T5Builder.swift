import Checkpoints
import Foundation
import GraphModule
import TensorModule

/// Hugging Face's `T5ForConditionalGeneration` (Raffel et al. 2020), v1.0 and v1.1: RMS norms,
/// relative position buckets, attention scores without scaling, relu or gated feed-forward, a tied
/// head with `d_model^-1/2` or one of its own.
///
/// The decoder reads the labels shifted right. In its last block only the positions that are
/// scored anywhere in the data go on, and only they get logits.
struct T5Builder {
  /// The module of the table that both embeddings, and a tied head, have in common.
  static let sharedTable = "shared"

  private var b: TransformerBuilder
  private let data: DataShape
  private let columns: Int
  private let heads: Int
  private let width: Int
  private let epsilon: Double
  private let buckets: Int
  private let maximumDistance: Int

  static func build(
    _ config: JSONValue, adapter: Adapter?, data: DataShape
  ) throws(CheckpointError) -> Model {
    var builder = try T5Builder(config, adapter: adapter, data: data)
    return try builder.build()
  }

  private init(
    _ config: JSONValue, adapter: Adapter?, data: DataShape
  ) throws(CheckpointError) {
    b = TransformerBuilder(
      config: config, adapter: adapter, otherNames: { _ in [] })
    self.data = data
    columns = try config["d_model"].size(default: 512)
    heads = try config["num_heads"].size(default: 8)
    width = try config["d_kv"].size(default: 64)
    epsilon = try config["layer_norm_epsilon"].double(default: 1e-6)
    buckets = try config["relative_attention_num_buckets"].size(default: 32)
    maximumDistance = try config["relative_attention_max_distance"].size(default: 128)
    // Below, the logarithmic half of the buckets is not defined: the encoder has half of them for
    // each side, and the decoder's half for near distances is the larger.
    guard buckets >= 4 else {
      throw config["relative_attention_num_buckets"].wrong("at least 4")
    }
    guard maximumDistance > buckets / 2 else {
      throw config["relative_attention_max_distance"].wrong(
        "more than half of relative_attention_num_buckets = \(buckets)")
    }
  }

  private mutating func build() throws(CheckpointError) -> Model {
    let config = b.config
    let vocabulary = try config["vocab_size"].size(default: 32128)
    let layers = try config["num_layers"].layerCount(default: 6)
    let decoderLayers = try config["num_decoder_layers"].layerCount(default: layers)
    let isTied = try config["tie_word_embeddings"].bool(default: true)
    var prompt: PromptTuning?
    if case .promptTuning(let tuning)? = b.adapter { prompt = tuning }
    let padding = prompt.map { $0.padsLabels ? $0.virtualTokens : 0 } ?? 0
    let promptTokens = prompt?.virtualTokens ?? 0
    let maskInput = "attention_mask"
    let decoder = SequenceRule.Decoder(
      input: "decoder_input_ids",
      start: try config["decoder_start_token_id"].token(in: vocabulary),
      padding: try config["pad_token_id"].token(in: vocabulary), labelPrefix: padding)
    let rule = SequenceRule(
      labels: .init(scored: data.scoredColumns, count: data.labelLength), decoder: decoder,
      mask: maskInput, maskPrefix: promptTokens)

    // Every input before the first node.
    let tokens = try b.input(
      "input_ids", shape: [data.inputLength], kind: .index(bound: vocabulary))
    let mask = try b.input(
      maskInput, shape: [promptTokens + data.inputLength], kind: .index(bound: 2))
    let decoderLength = padding + data.labelLength
    let decoderTokens = try b.input(
      decoder.input, shape: [decoderLength], kind: .index(bound: vocabulary))

    // A trained copy of an embedding or of the head is its own: ties end where the adapter has one.
    let (encoderEmbedding, decoderEmbedding) = ("encoder.embed_tokens", "decoder.embed_tokens")
    let readers = [encoderEmbedding, decoderEmbedding] + (isTied ? ["lm_head"] : [])
    let shape = [vocabulary, columns]
    var shared: ParameterID?
    if b.saves(Self.sharedTable) {
      // All readers hold the original; the copy is trained and saved, and never read.
      try b.addUnused(Self.sharedTable + ".modules_to_save.weight", shape: shape)
      if !readers.allSatisfy(b.saves) {
        shared = try b.frozenParameter(Self.sharedTable + ".weight", shape: shape)
      }
    } else if !readers.allSatisfy(b.saves) {
      shared = try b.parameter(Self.sharedTable, "weight", shape: shape)
    }
    let encoderTable =
      if let shared, !b.saves(encoderEmbedding) { shared } else {
        try b.parameter(encoderEmbedding, "weight", shape: shape)
      }
    let decoderTable =
      if let shared, !b.saves(decoderEmbedding) { shared } else {
        try b.parameter(decoderEmbedding, "weight", shape: shape)
      }
    var x = try b.apply(
      Embedding(), to: [tokens], parameters: [encoderTable], name: encoderEmbedding)
    if let prompt {
      let parameter = try b.adapterParameter(
        PromptTuning.parameterName, shape: [prompt.rows, columns])
      let name = PromptTuning.parameterName
      let first = try b.apply(
        View(.slice(axis: 0, start: 0, step: 1, count: promptTokens)),
        to: [b.value(parameter, name)], name: name)
      x = try b.apply(Concatenate(axis: 0), to: [first, x], name: name)
    }
    let length = b.shape(x)[0]
    try requireLength(length)
    try requireLength(decoderLength)
    let all = Array(0..<length)
    let distances = positions(all, keys: length, isCausal: false)
    for layer in 0..<layers {
      let name = "encoder.block.\(layer)"
      let attended = try selfAttention(
        x, name + ".layer.0", stack: "encoder", mask: mask, distances)
      x = try feedForward(attended, name + ".layer.1")
    }
    let encoded = try b.norm(x, "encoder.final_layer_norm", epsilon: epsilon, centered: false)

    var y = try b.apply(
      Embedding(), to: [decoderTokens], parameters: [decoderTable], name: decoderEmbedding)
    let before = Array(0..<decoderLength)
    let earlier = positions(before, keys: decoderLength, isCausal: true)
    for layer in 0..<decoderLayers {
      y = try decoderBlock(y, layer, encoded: encoded, mask: mask, earlier)
    }
    let scored = data.scoredColumns.map { padding + $0 }
    y = try b.select(y, scored, name: "decoder.scored")
    y = try b.norm(y, "decoder.final_layer_norm", epsilon: epsilon, centered: false)
    let logits = try head(
      y, table: isTied && !b.saves("lm_head") ? shared : nil, vocabulary: vocabulary,
      isTied: isTied)
    var unread: Set<String> = [
      "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight",
      // Old checkpoints carry a table that T5 never reads.
      "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",
    ]
    if isTied { unread.insert("lm_head.weight") }
    return try b.finish(
      output: logits, shape: [scored.count, vocabulary], type: "t5", unreadTensors: unread,
      sequence: rule)
  }

  // MARK: - Blocks

  private mutating func decoderBlock(
    _ y: ValueID, _ layer: Int, encoded: ValueID, mask: ValueID,
    _ distances: PositionBuckets
  ) throws(CheckpointError) -> ValueID {
    let name = "decoder.block.\(layer)"
    let attended = try selfAttention(
      y, name + ".layer.0", stack: "decoder", mask: nil, distances)
    let cross = name + ".layer.1"
    let normed = try b.norm(attended, cross + ".layer_norm", epsilon: epsilon, centered: false)
    let mixed = try attention(
      queries: normed, keys: encoded, cross + ".EncDecAttention", mask: mask, buckets: nil,
      table: nil)
    return try feedForward(
      b.apply(Sum(), to: [mixed, attended], name: cross), name + ".layer.2")
  }

  private mutating func selfAttention(
    _ x: ValueID, _ name: String, stack: String, mask: ValueID?,
    _ distances: PositionBuckets
  ) throws(CheckpointError) -> ValueID {
    let normed = try b.norm(x, name + ".layer_norm", epsilon: epsilon, centered: false)
    // All blocks of a stack use the table of its first one.
    let table = try b.parameter(
      "\(stack).block.0.layer.0.SelfAttention.relative_attention_bias", "weight",
      shape: [buckets, heads])
    let mixed = try attention(
      queries: normed, keys: normed, name + ".SelfAttention", mask: mask, buckets: distances,
      table: table)
    return try b.apply(Sum(), to: [mixed, x], name: name)
  }

  private mutating func attention(
    queries: ValueID, keys: ValueID, _ name: String, mask: ValueID?,
    buckets distances: PositionBuckets?,
    table: ParameterID?
  ) throws(CheckpointError) -> ValueID {
    let layer = AttentionLayer(
      name: name, query: name + ".q", key: name + ".k", value: name + ".v", heads: heads,
      width: width, scale: 1, hasBias: false, mask: mask, buckets: distances, table: table)
    let mixed = try b.attention(layer, queries: queries, keys: keys)
    return try b.linear(mixed, name + ".o", outputs: columns, hasBias: false)
  }

  private mutating func feedForward(
    _ x: ValueID, _ name: String
  ) throws(CheckpointError) -> ValueID {
    let config = b.config
    let inner = try config["d_ff"].size(default: 2048)
    let kind = try config["feed_forward_proj"].string(default: "relu")
    let parts = kind.split(separator: "-").map(String.init)
    let isGated = parts.count == 2 && parts[0] == "gated"
    guard isGated || parts.count == 1 else {
      throw config["feed_forward_proj"].wrong("an activation, or gated- and an activation")
    }
    // Transformers reads gated-gelu as the tanh form.
    let function = try JSONValue.activation(
      named: kind == "gated-gelu" ? "gelu_new" : parts[parts.count - 1],
      at: config["feed_forward_proj"])
    let dense = name + ".DenseReluDense"
    let normed = try b.norm(x, name + ".layer_norm", epsilon: epsilon, centered: false)
    var hidden = try b.linear(
      normed, dense + (isGated ? ".wi_0" : ".wi"), outputs: inner, hasBias: false)
    hidden = try b.apply(Activation(function), to: [hidden], name: dense + ".act")
    if isGated {
      let gate = try b.linear(normed, dense + ".wi_1", outputs: inner, hasBias: false)
      hidden = try b.apply(Product(), to: [hidden, gate], name: dense + ".gate")
    }
    let outer = try b.linear(hidden, dense + ".wo", outputs: columns, hasBias: false)
    return try b.apply(Sum(), to: [outer, x], name: name)
  }

  private mutating func head(
    _ y: ValueID, table: ParameterID?, vocabulary: Int, isTied: Bool
  ) throws(CheckpointError) -> ValueID {
    var scaled = y
    if try b.config["scale_decoder_outputs"].bool(default: isTied) {
      scaled = try b.apply(
        Scale(factor: 1 / Double(columns).squareRoot()), to: [y], name: "lm_head.scale")
    }
    return try b.linear(
      scaled, "lm_head", tied: table, outputs: vocabulary, hasBias: false,
      isHead: true)
  }

  // MARK: - Positions

  /// - Throws: An error if positions of so many tokens could not be counted; how many pairs of them
  ///   attention can have is looked at where it is built.
  private func requireLength(_ tokens: Int) throws(CheckpointError) {
    if tokens <= 1 << 20 { return }
    throw CheckpointError(
      .unexpectedValue("a sample", found: "\(tokens) tokens", expected: "at most 2^20"),
      at: .init(file: b.config.file), hint: "Use shorter samples.")
  }

  private func positions(_ rows: [Int], keys: Int, isCausal: Bool) -> PositionBuckets {
    PositionBuckets(queries: rows, keys: keys) { bucket(of: $0, isCausal: isCausal) }
  }

  /// The row of the bias table for a distance, -1 where a causal stack may not look.
  private func bucket(of distance: Int, isCausal: Bool) -> Int32 {
    if isCausal && distance > 0 { return -1 }
    var count = buckets
    var start = 0
    if !isCausal {
      count /= 2
      if distance > 0 { start = count }
    }
    let size = abs(distance)
    let exact = count / 2
    if size < exact { return Int32(start + size) }
    // In single precision, as Transformers computes it: a boundary may fall on a whole number.
    let ratio =
      log(Float(size) / Float(exact)) / Float(log(Double(maximumDistance) / Double(exact)))
    let far = exact + Int(min(ratio * Float(count - exact), Float(count)))
    return Int32(start + min(far, count - 1))
  }
}

extension JSONValue {
  /// A row of the embedding, 0 where there is none.
  fileprivate func token(in vocabulary: Int) throws(CheckpointError) -> Int {
    let value = try integer(default: 0)
    guard (0..<vocabulary).contains(value) else {
      throw wrong("0 ..< \(vocabulary), a token of the vocabulary")
    }
    return value
  }
}
