import Checkpoints
import GraphModule

extension ModelFamily {
  /// Hugging Face's `T5ForConditionalGeneration`.
  static let t5 = ModelFamily(
    type: "t5",
    build: { _, config, adapter, data throws(CheckpointError) in
      var shape = DataShape.nominal
      if let data { shape = try DataShape(data) }
      return try T5Builder.build(config, adapter: adapter, data: shape)
    },
    loss: { _, config throws(CheckpointError) in
      // Always scored token by token.
      let problem = config["problem_type"]
      if problem.exists, try problem.string() != "single_label_classification" {
        throw problem.wrong("nothing, or \"single_label_classification\"")
      }
      return "cross_entropy"
    },
    parameterName: { name in
      guard name.hasPrefix(T5Builder.sharedTable + ".") else { return unwrapped(name) }
      // What reads the shared table holds the original: a saved copy of it is never read.
      if name.contains(".modules_to_save.") { return nil }
      return name.replacing(".original_module.", with: ".")
    },
    unreadTensors: { adapter in
      adapter.saves(T5Builder.sharedTable) ? [T5Builder.sharedTable + ".weight"] : []
    },
    nameOrders: [
      [
        "shared", "encoder", "decoder", "lm_head", "block", "layer", "SelfAttention",
        "EncDecAttention", "DenseReluDense", "layer_norm", "final_layer_norm", "q", "k", "v", "o",
        "relative_attention_bias", "wi", "wi_0", "wi_1", "wo",
      ]
    ],
    initialization: scales, adapterTargets: ["q", "v"], takesPrompt: true)

  /// Mesh TensorFlow's scales: attention without a division by the root of the width.
  @Sendable private static func scales(_ spec: ParameterSpec, _ config: JSONValue)
    -> Initialization
  {
    let factor = number(config["initializer_factor"], 1)
    let columns = number(config["d_model"], 512)
    let width = number(config["d_kv"], 64)
    switch spec.name.split(separator: ".").dropLast().last ?? "" {
    case "layer_norm", "final_layer_norm": return .constant(factor)
    case "shared", "lm_head": return .normal(deviation: factor)
    case "q": return .normal(deviation: factor / (columns * width).squareRoot())
    case "o":
      let inner = number(config["num_heads"], 8) * width
      return .normal(deviation: factor / inner.squareRoot())
    case "wo":
      return .normal(deviation: factor / number(config["d_ff"], 2048).squareRoot())
    // k, v, wi, wi_0, wi_1 and the table of relative positions.
    default: return .normal(deviation: factor / columns.squareRoot())
    }
  }
}
