import Checkpoints

extension ModelFamily {
  /// BERT (Devlin et al. 2019).
  static let bert: ModelFamily = ModelFamily(
    type: "bert",
    build: { config, adapter, data throws(CheckpointError) in
      var builder = try EncoderBuilder(
        .bert, config, adapter, data, numbering: .inOrder(from: 0), padding: 0)
      return try builder.build()
    },
    loss: { config throws(CheckpointError) in try bert.languageLoss(config) },
    heads: [
      "BertForSequenceClassification": .sequenceClassification,
      "BertForTokenClassification": .tokenClassification, "BertForMaskedLM": .masked,
    ], lossTypes: languageLosses, parameterName: unwrapped, prefix: "bert",
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
    initialization: { start($0, config: $1) }, adapterTargets: ["query", "value"],
    takesPrompt: false)
}
