import Checkpoints
import GraphModule

/// A kind of model that a configuration describes, with all that depends on which it is. Adding one is
/// a file with a value of this type, and its name in `all`.
package struct ModelFamily: Sendable {
  /// What Hugging Face calls `model_type`.
  package let type: String
  /// - Parameters:
  ///   - family: The one that is asked.
  ///   - adapter: What PEFT puts on top.
  ///   - data: For models whose graph depends on lengths.
  let build: Build
  /// The loss that Transformers computes, by the name that a checkpoint has for it; `nil` where it goes
  /// by the type of the labels.
  let loss:
    @Sendable (_ family: ModelFamily, _ config: JSONValue) throws(CheckpointError) -> String?
  /// Classes of Transformers that `architectures` may name, and what their heads are for; none where a
  /// family has one head.
  var heads: [String: LanguageTask] = [:]
  /// Losses that `loss_type` may name because they are what `loss` says.
  var lossTypes: [String] = []
  /// The name in the model's state_dict of a tensor of an adapter file (without PEFT's prefix).
  /// `nil` for what no computation reads.
  let parameterName: @Sendable (String) -> String?
  /// Names of a module in other versions of Transformers, for adapters.
  package var otherNames: @Sendable (_ module: String) -> [String] = { _ in [] }
  /// What the names of a model without a head lack in front; `nil` where nothing does.
  var prefix: String?
  /// The model's own name of a tensor of its folder, which older or newer versions name otherwise.
  var storedName: @Sendable (String) -> String = { $0 }
  /// Whether the head is the table of the embedding where the configuration says nothing.
  var tiesHead = true
  /// Tensors of an adapter's file that no computation reads.
  var unreadTensors: @Sendable (LowRankAdapter) -> Set<String> = { _ in [] }
  /// Parts of names in the order in which PyTorch's modules have them; several where versions of
  /// Transformers differ.
  let nameOrders: [[String]]
  /// How Transformers begins a parameter of the model.
  let initialization: @Sendable (_ spec: ParameterSpec, _ config: JSONValue) -> Initialization
  /// Modules that PEFT gives a low-rank update where nothing is said.
  package let adapterTargets: [String]
  /// Whether tokens can be put in front of its input, for which PEFT wants a task.
  package let takesPrompt: Bool
  /// What PEFT calls the task of an adapter on it, where nothing is said.
  package var adapterTask: String? {
    if !takesPrompt { return nil }
    return heads.isEmpty ? "SEQ_2_SEQ_LM" : "CAUSAL_LM"
  }

  typealias Build =
    @Sendable (
      _ family: ModelFamily, _ config: JSONValue, _ adapter: Adapter?, _ data: DataFile?
    ) throws(CheckpointError) -> Model

  package static let all = [
    vit, t5, bert, roberta, distilbert, gpt2, gptNeoX, opt, llama, mistral, qwen2, qwen3, gemma2,
    gemma3,
  ]

  package static func named(_ type: String) -> ModelFamily? { all.first { $0.type == type } }

  /// The family of a configuration.
  ///
  /// - Throws: An error that says which there are.
  package static func required(
    _ type: String, _ config: JSONValue
  ) throws(CheckpointError) -> ModelFamily {
    if let family = named(type) { return family }
    throw CheckpointError(
      .unsupportedName(what: "model_type", found: type, supported: all.map(\.type)),
      at: .init(file: config.file),
      hint:
        "Supported are \(all.map(\.type).joined(separator: ", ")). Any other network is read as "
        + "torch.export saves it.")
  }
}

extension ModelFamily {
  /// How the numbers of a parameter begin: as `_init_weights` of Transformers and the layers of PEFT
  /// have it, with two departures. Normal numbers are not cut off (Transformers cuts ViT's at 2, a
  /// hundred standard deviations). LoRA's B is normal with standard deviation 0.02 and not zero: at
  /// zero the gradient with respect to A vanishes, and half of the adapter would not be measured.
  package func start(_ spec: ParameterSpec, _ config: JSONValue) -> Initialization {
    if spec.name.hasSuffix(".lora_A.weight") { return .layer(inputs: spec.shape[1]) }
    if spec.name.hasSuffix(".lora_B.weight") { return .normal(deviation: 0.02) }
    if spec.name == PromptTuning.parameterName { return .normal(deviation: 1) }
    return spec.name.hasSuffix(".bias") ? .constant(0) : initialization(spec, config)
  }

  /// A setting whose type has been checked, or does not matter here.
  static func number(_ value: JSONValue, _ standard: Double) -> Double {
    (try? value.double()) ?? standard
  }

  /// A folder's tensors by the model's names: a model that was saved without a head lacks the prefix.
  package func named<Tensor>(_ tensors: [String: Tensor]) -> [String: Tensor] {
    var renamed: [String: Tensor] = [:]
    // Where a folder has both names, the model's own counts.
    for isOwn in [false, true] {
      for (name, tensor) in tensors where (storedName(name) == name) == isOwn {
        renamed[storedName(name)] = tensor
      }
    }
    if let prefix, !renamed.keys.contains(where: { $0.hasPrefix(prefix + ".") }) {
      renamed = Dictionary(uniqueKeysWithValues: renamed.map { (prefix + "." + $0.key, $0.value) })
    }
    return renamed
  }

  /// The name of a tensor of an adapter's file without the wrappers of PEFT; `nil` for what a saved
  /// module has replaced.
  static func unwrapped(_ name: String) -> String? {
    if name.contains(".original_module.") { return nil }
    return name.replacing(".base_layer.", with: ".").replacing(".modules_to_save.", with: ".")
  }
}
