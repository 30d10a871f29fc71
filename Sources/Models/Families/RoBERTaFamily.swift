import Checkpoints

extension ModelFamily {
  /// RoBERTa (Liu et al. 2019): BERT with positions that leave padding out, and other heads.
  static let roberta: ModelFamily = ModelFamily(
    type: "roberta",
    build: { config, adapter, data throws(CheckpointError) in
      var builder = try EncoderBuilder(
        .roberta, config, adapter, data, numbering: .ofTokens, padding: 1)
      return try builder.build()
    },
    loss: { config throws(CheckpointError) in try roberta.languageLoss(config) },
    heads: [
      "RobertaForSequenceClassification": .sequenceClassification,
      "RobertaForTokenClassification": .tokenClassification, "RobertaForMaskedLM": .masked,
    ], lossTypes: languageLosses, parameterName: unwrapped, prefix: "roberta",
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
    initialization: { start($0, config: $1) }, adapterTargets: ["query", "value"],
    takesPrompt: false)
}
