extension ModelFamily {
  /// RoBERTa (Liu et al. 2019): BERT with positions that leave padding out, and other heads.
  static let roberta: ModelFamily = encoder(
    "roberta", classes: "Roberta",
    nameOrders: [
      ["word_embeddings", "position_embeddings", "token_type_embeddings", "LayerNorm"],
      // Transformers 5
      ["word_embeddings", "token_type_embeddings", "LayerNorm", "position_embeddings"],
    ].map { tables in
      [
        "roberta", "classifier", "lm_head", "embeddings", "encoder", "layer", "attention", "self",
        "intermediate", "output", "query", "key", "value", "dense", "layer_norm", "out_proj",
        "decoder",
      ] + tables
    },
    options: .init(
      numbering: .ofTokens, padding: 1, leavesOutPadding: true, pooler: "classifier.dense",
      classifier: "classifier.out_proj", tokenHead: "lm_head", transform: "lm_head",
      transformNorm: "layer_norm", transformFunction: .gelu))
}
