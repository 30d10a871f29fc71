extension ModelFamily {
  /// BERT (Devlin et al. 2019).
  static let bert: ModelFamily = encoder(
    "bert", classes: "Bert",
    nameOrders: [
      [
        "bert", "classifier", "cls", "embeddings", "encoder", "pooler", "word_embeddings",
        "position_embeddings", "token_type_embeddings", "layer", "attention", "self",
        "intermediate",
        "output", "query", "key", "value", "predictions", "transform", "dense", "LayerNorm",
        "decoder",
      ]
    ],
    options: .init(
      numbering: .inOrder(from: 0), padding: 0, pooler: "bert.pooler.dense",
      classifier: "classifier", tokenHead: "cls.predictions",
      transform: "cls.predictions.transform", transformNorm: "LayerNorm"))
}
