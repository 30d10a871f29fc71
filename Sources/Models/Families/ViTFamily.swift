import Checkpoints
import GraphModule

extension ModelFamily {
  /// Hugging Face's `ViTForImageClassification`.
  static let vit = ModelFamily(
    type: "vit",
    build: { _, config, adapter, _ throws(CheckpointError) in
      try ViTBuilder.build(config, adapter: adapter)
    },
    loss: { _, config throws(CheckpointError) in try classificationLoss(config) },
    lossTypes: ["ForImageClassification", "ForSequenceClassification"],
    parameterName: { unwrapped($0).map(ViTBuilder.nameInVersion4) },
    otherNames: ViTBuilder.otherNames,
    nameOrders: [["intermediate", "output"] + norms, norms + ["intermediate", "output"]].map {
      [
        "vit", "classifier", "embeddings", "encoder", "cls_token", "position_embeddings",
        "patch_embeddings", "layer", "attention",
      ] + $0 + ["layernorm", "query", "key", "value", "dense", "projection"]
    },
    initialization: { spec, config in
      spec.name.contains("layernorm")
        ? .constant(1) : .normal(deviation: number(config["initializer_range"], 0.02))
    },
    adapterTargets: ["query", "value"], takesPrompt: false)

  private static let norms = ["layernorm_before", "layernorm_after"]
}
