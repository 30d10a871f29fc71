import Checkpoints
import GraphModule

extension ModelFamily {
  /// Hugging Face's `ViTForImageClassification`.
  static let vit = ModelFamily(
    type: "vit",
    build: { config, adapter, _ throws(CheckpointError) in
      try ViTBuilder.build(config, adapter: adapter)
    },
    loss: { config throws(CheckpointError) in
      let problem = config["problem_type"]
      guard problem.exists else { return try ViTBuilder.classCount(config) == 1 ? "mse" : nil }
      switch try problem.string() {
      case "single_label_classification": return "cross_entropy"
      case "multi_label_classification": return "bce"
      case "regression": return "mse"
      default:
        throw problem.wrong(
          "\"single_label_classification\", \"multi_label_classification\" or \"regression\"")
      }
    },
    lossTypes: ["ForImageClassification", "ForSequenceClassification"],
    parameterName: { unwrapped($0).map(ViTBuilder.nameInVersion4) },
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
