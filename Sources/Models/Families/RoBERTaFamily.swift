import Checkpoints

extension ModelFamily {
  /// RoBERTa (Liu et al. 2019): BERT with positions that leave padding out, and other heads.
  static let roberta: ModelFamily = language(
    "roberta",
    heads: [
      "RobertaForSequenceClassification": .sequenceClassification,
      "RobertaForTokenClassification": .tokenClassification, "RobertaForMaskedLM": .masked,
    ], prefix: "roberta",
    storedName: EncoderBuilder.normInPyTorch,
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
    adapterTargets: ["query", "value"], takesPrompt: false,
    build: { family, config, adapter, data throws(CheckpointError) in
      var builder = try EncoderBuilder(
        family, config, adapter, data,
        .init(
          numbering: .ofTokens, padding: 1, leavesOutPadding: true, pooler: "classifier.dense",
          classifier: "classifier.out_proj", tokenHead: "lm_head", transform: "lm_head",
          transformNorm: "layer_norm", transformFunction: .gelu))
      return try builder.build()
    })
}
