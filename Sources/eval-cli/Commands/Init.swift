import ApproxEval
import ArgumentParser
import Checkpoints
import Foundation

extension RandomModel.Bias: ExpressibleByArgument {}
extension RandomModel.Task: ExpressibleByArgument {}

/// A model to try things with.
struct Init: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract:
      "Makes a model with random weights: a Hugging Face folder, or a sequential checkpoint.",
    discussion: """
      For runs of full size without a download: the folders are as Transformers and PEFT save \
      them, and so are the scales of the numbers, in float32. One departure: LoRA's B starts with \
      small random numbers and not with zeros, so that the gradient with respect to A is not zero. \
      The JSON description of a sequential model gives one checkpoint.bin without a batch, with the \
      random weights that PyTorch's modules start with.

      Examples:
        eval-cli init net.json -o net.bin
        eval-cli init vit-base.json -o vit/ --lora --lora-bias lora_only
        eval-cli init t5-base.json -o t5/ --prompt 20 --task CAUSAL_LM
        eval-cli init gpt2.json -o gpt2/ --lora --lora-targets c_attn
      """)

  @Argument(
    help: """
      A config.json of Hugging Face, a folder that has one, or the description of a sequential model.
      """, completion: .file())
  var config: String

  @Option(
    name: .shortAndLong,
    help: .init("Folder for the model; for a sequential one the file.", valueName: "path"),
    completion: .directory)
  var output: String

  @Option(help: .init("Loss of a sequential model. (default: cross_entropy)"))
  var loss: LossName?

  @Option(parsing: .unconditional, help: .init("Key of all weights.", valueName: "number"))
  var seed: UInt64 = EvaluationOptions().seed

  @OptionGroup(title: "Adapter") var adapter: AdapterChoice

  func run() throws {
    let choice = try adapter.choice()
    if RandomNetwork.isDescription(config) { return try writeNetwork(choice) }
    if loss != nil {
      throw UsageError(
        "the models of Hugging Face have the loss cross_entropy", at: "--loss", "Leave it out.")
    }
    let plain = try RandomModel(config: config)
    try adapter.check(plain)
    let model = try RandomModel(config: config, adapter: choice, task: adapter.task, seed: seed)
    let folder =
      adapter.output ?? URL(fileURLWithPath: output).appendingPathComponent("adapter").path
    let adapterFolder = choice == nil ? nil : folder
    for (path, option) in [(output, "--output"), (adapterFolder, "--adapter-output")] {
      guard let path else { continue }
      if let file = RandomModel.weights(in: path) {
        throw UsageError(
          "\(path) holds \(file) already", at: option,
          "Choose another folder: weights that are there are not replaced.")
      }
      try OutputFiles.requireWritable(folder: path)
    }
    try model.writeModel(to: output)
    if let adapterFolder { try model.writeAdapter(to: adapterFolder) }
    var text =
      "written: \(printable(output)) (\(model.type), \(grouped(model.baseParameters)) parameters)\n"
    if let adapterFolder {
      text +=
        "written: \(printable(adapterFolder)) (\(grouped(model.trainableParameters)) of "
        + "\(grouped(model.allParameters)) parameters trainable)\n"
    }
    try Console.print(text)
  }

  /// A checkpoint of a sequential model.
  private func writeNetwork(_ choice: RandomModel.Adapter?) throws {
    if choice != nil {
      throw UsageError(
        "a sequential model takes no adapter", at: "--lora or --prompt", "Leave it out.")
    }
    if POSIXFileSystem().exists(output) {
      throw UsageError(
        "\(output) exists already", at: "--output",
        "Choose another name: weights that are there are not replaced.")
    }
    try OutputFiles.requireWritable(file: output)
    let network = try RandomNetwork(
      description: config, loss: (loss ?? .crossEntropy).rawValue, seed: seed)
    let packed = try PackedCheckpoint(network)
    try OutputFiles.makeParent(of: output)
    try packed.write(to: output)
    try Console.print(
      "written: \(printable(output)) (\(packed.description.model), "
        + "\(grouped(packed.description.allParameters)) parameters)\n")
  }
}

/// Which adapter to make.
struct AdapterChoice: ParsableArguments {
  @Flag(help: "Add a LoRA adapter; each of the four settings below implies it.")
  var lora = false

  @Option(
    parsing: .unconditional, help: .init("Rank r. (default: 8)", valueName: "n"))
  var loraRank: Int?

  @Option(
    parsing: .unconditional,
    help: .init("alpha; the change is scaled by alpha / r. (default: 8)", valueName: "x"))
  var loraAlpha: Double?

  @Option(
    help: .init(
      "Layers to change, separated by commas. (default: query,value for ViT, q,v for T5)",
      valueName: "names"))
  var loraTargets: String?

  @Option(help: .init("Which biases are trained. (default: none)"))
  var loraBias: RandomModel.Bias?

  @Option(
    parsing: .unconditional,
    help: .init("Add prompt tuning with so many virtual tokens (T5).", valueName: "n"))
  var prompt: Int?

  @Option(
    help: .init(
      """
      PEFT's task_type, for T5; with CAUSAL_LM prompt tuning has one set of tokens and not two. \
      (default: SEQ_2_SEQ_LM)
      """))
  var task: RandomModel.Task?

  @Option(
    name: .customLong("adapter-output"),
    help: .init("Folder for the adapter. (default: adapter in the model's)", valueName: "folder"),
    completion: .directory)
  var output: String?

  private var wantsLowRank: Bool {
    lora || loraRank != nil || loraAlpha != nil || loraTargets != nil || loraBias != nil
  }

  private var targets: [String]? {
    loraTargets?.split(separator: ",", omittingEmptySubsequences: false).map {
      $0.trimmingCharacters(in: .whitespaces)
    }
  }

  func choice() throws(UsageError) -> RandomModel.Adapter? {
    if let prompt {
      if wantsLowRank {
        throw UsageError("one adapter at a time", at: "--prompt", "Leave out --prompt or --lora.")
      }
      return .prompt(tokens: try OptionValues.positive(prompt, "--prompt"))
    }
    guard wantsLowRank else {
      if output != nil {
        throw UsageError(
          "there is no adapter to write", at: "--adapter-output", "Add --lora or --prompt.")
      }
      return nil
    }
    let alpha = try OptionValues.notNegative(loraAlpha ?? 8, "--lora-alpha")
    return .lowRank(
      .init(
        rank: try OptionValues.positive(loraRank ?? 8, "--lora-rank"), alpha: alpha,
        targets: targets, bias: loraBias ?? .none))
  }

  /// What only the model tells.
  func check(_ model: RandomModel) throws(UsageError) {
    if !model.takesPrompt {
      if prompt != nil {
        throw UsageError(
          "prompt tuning needs a T5 or a decoder, this is a \(model.type)", at: "--prompt")
      }
      if task != nil {
        throw UsageError("a task needs a T5 or a decoder, this is a \(model.type)", at: "--task")
      }
    }
    for target in targets ?? []
    where !model.linearLayers.contains(where: { $0 == target || $0.hasSuffix("." + target) }) {
      let names = Set(model.linearLayers.map { String($0.split(separator: ".").last ?? "") })
      throw UsageError(
        "the model has no linear layer \"\(target)\"", at: "--lora-targets",
        "Layers end in: \(names.sorted().joined(separator: ", ")).")
    }
  }
}
