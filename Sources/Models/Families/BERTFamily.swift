import Checkpoints

extension ModelFamily {
  /// BERT (Devlin et al. 2019).
  static let bert: ModelFamily = language(
    "bert",
    heads: [
      "BertForSequenceClassification": .sequenceClassification,
      "BertForTokenClassification": .tokenClassification, "BertForMaskedLM": .masked,
    ], prefix: "bert",
    storedName: EncoderBuilder.normInPyTorch,
    nameOrders: [
      [
        "bert", "classifier", "cls", "embeddings", "encoder", "pooler", "word_embeddings",
        "position_embeddings", "token_type_embeddings", "layer", "attention", "self",
        "intermediate",
        "output", "query", "key", "value", "predictions", "transform", "dense", "LayerNorm",
        "decoder",
      ]
    ],
    adapterTargets: ["query", "value"], takesPrompt: false,
    build: { family, config, adapter, data throws(CheckpointError) in
      var builder = try EncoderBuilder(
        family, config, adapter, data,
        .init(
          numbering: .inOrder(from: 0), padding: 0, pooler: "bert.pooler.dense",
          classifier: "classifier", tokenHead: "cls.predictions",
          transform: "cls.predictions.transform", transformNorm: "LayerNorm"))
      return try builder.build()
    })
}
