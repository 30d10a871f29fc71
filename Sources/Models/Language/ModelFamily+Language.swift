import Checkpoints
import GraphModule

extension ModelFamily {
  /// A family of language models, with what they have in common: the loss of their heads, the names of
  /// PEFT, and how parameters begin.
  static func language(
    _ type: String, heads: [String: LanguageTask],
    parameterName: @escaping @Sendable (String) -> String? = unwrapped,
    otherNames: @escaping @Sendable (_ module: String) -> [String] = { _ in [] }, prefix: String,
    storedName: @escaping @Sendable (String) -> String = { $0 }, tiesHead: Bool = true,
    nameOrders: [[String]],
    initialization:
      @escaping @Sendable (_ spec: ParameterSpec, _ config: JSONValue) -> Initialization = {
        start($0, config: $1)
      }, adapterTargets: [String], takesPrompt: Bool, build: @escaping Build
  ) -> ModelFamily {
    ModelFamily(
      type: type, build: build,
      loss: { family, config throws(CheckpointError) in try family.languageLoss(config) },
      heads: heads, lossTypes: languageLosses, parameterName: parameterName,
      otherNames: otherNames, prefix: prefix, storedName: storedName, tiesHead: tiesHead,
      nameOrders: nameOrders, initialization: initialization, adapterTargets: adapterTargets,
      takesPrompt: takesPrompt)
  }

  /// Names of losses that are those of the heads.
  private static let languageLosses = [
    "ForCausalLM", "ForCausalLMLoss", "ForMaskedLM", "ForMaskedLMLoss", "ForTokenClassification",
    "ForSequenceClassification", "ForSequenceClassificationLoss",
  ]

  /// Whether a parameter is that of a norm, by the name of its module.
  static func isNorm(_ spec: ParameterSpec) -> Bool {
    let module = spec.name.split(separator: ".").dropLast().last?.lowercased() ?? ""
    return module.contains("norm") || module.hasPrefix("ln_")
  }

  /// Weights, and tables, of `initializer_range`; norms begin with 1.
  static func start(_ spec: ParameterSpec, config: JSONValue) -> Initialization {
    let range = config["initializer_range"].exists ? "initializer_range" : "init_std"
    return isNorm(spec) ? .constant(1) : .normal(deviation: number(config[range], 0.02))
  }
}
