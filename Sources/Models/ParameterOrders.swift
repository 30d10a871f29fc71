import GraphModule

extension Model {
  /// The model's parameters in the order of PyTorch's `model.parameters()`, which is that of its
  /// modules; several orders where versions of Transformers differ.
  package var parameterOrders: [[ParameterSpec]] {
    let words: [[String]]
    switch type {
    case "t5": words = [Self.wordsOfT5]
    case "vit": words = [Self.wordsOfViT4, Self.wordsOfViT5]
    // The order of its description.
    default: return [graph.parameters]
    }
    return words.map { words in
      let ranks = Dictionary(uniqueKeysWithValues: zip(words, words.indices))
      return graph.parameters.map { (spec: $0, key: Self.key($0.name, ranks)) }
        .sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.spec)
    }
  }

  /// Numbers of layers by their size; words that are in no list, last.
  private static func key(_ name: String, _ ranks: [String: Int]) -> [Int] {
    name.split(separator: ".").map { Int($0) ?? ranks[String($0)] ?? .max }
  }

  // Parts of names, those of one module in the order in which it has them: its own parameters come
  // before those of its modules.
  private static let endOfLayers = ["weight", "bias", "lora_A", "lora_B", "prompt_embeddings"]
  private static let wordsOfT5 =
    [
      "shared", "encoder", "decoder", "lm_head", "block", "layer", "SelfAttention",
      "EncDecAttention", "DenseReluDense", "layer_norm", "final_layer_norm", "q", "k", "v", "o",
      "relative_attention_bias", "wi", "wi_0", "wi_1", "wo",
    ] + endOfLayers
  private static let wordsOfViT4 =
    wordsOfViT + ["intermediate", "output", "layernorm_before", "layernorm_after", "layernorm"]
    + endOfViT
  private static let wordsOfViT5 =
    wordsOfViT + ["layernorm_before", "layernorm_after", "intermediate", "output", "layernorm"]
    + endOfViT
  private static let wordsOfViT = [
    "vit", "classifier", "embeddings", "encoder", "cls_token", "position_embeddings",
    "patch_embeddings", "layer", "attention",
  ]
  private static let endOfViT = ["query", "key", "value", "dense", "projection"] + endOfLayers
}
