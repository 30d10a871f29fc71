import ApproxEval
import ArgumentParser
import Checkpoints
import Foundation

/// One self-contained file.
struct Pack: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack",
    abstract: "Writes one self-contained checkpoint.bin from a model, an adapter and a batch.",
    discussion: """
      The file holds what the model reads and nothing else, element types as they are. Scoring it \
      gives the same numbers as scoring the sources with the same samples.

      Example: eval-cli pack t5-base/ --adapter lora/ --data sst2.npz --batch-size 160 -o sst2.bin
      """)

  @Argument(
    help: """
      A Hugging Face model folder, a network by torch.export, a checkpoint.bin, or parameters of \
      --model.
      """,
    completion: .file())
  var checkpoint: String

  @Option(
    name: .shortAndLong, help: .init("Where to write the checkpoint.", valueName: "file"),
    completion: .file())
  var output: String

  @OptionGroup var replacing: ForceOption

  @OptionGroup(title: "Data") var data: DataOptions

  @OptionGroup(title: "Data") var adapter: AdapterOption

  @Option(
    parsing: .unconditional,
    help: .init(
      "Draw so many samples, those of score's first batch. (default: all samples, in order)",
      valueName: "n"))
  var batchSize: Int?

  @Option(
    parsing: .unconditional,
    help: .init(
      "When in training it was saved. (default: as the checkpoint, its trainer_state.json or its name says)",
      valueName: "n"))
  var epoch: Int?

  @Option(parsing: .unconditional, help: .init("The same in steps.", valueName: "n"))
  var step: Int?

  @Option(parsing: .unconditional, help: .init("Key of the draw.", valueName: "number"))
  var seed: UInt64 = EvaluationOptions().seed

  func run() throws {
    var options = EvaluationOptions()
    data.apply(to: &options)
    try adapter.apply(to: &options)
    if let batchSize {
      options.batchSize = try OptionValues.positive(batchSize, "--batch-size")
    }
    options.seed = seed
    for (value, option) in [(epoch, "--epoch"), (step, "--step")] {
      if let value { _ = try OptionValues.notNegative(value, option) }
    }
    try OutputFiles.requireNew(file: output, force: replacing.force)
    let packed = try PackedCheckpoint(
      checkpoint: checkpoint, options: options, epoch: epoch, step: step)
    try OutputFiles.makeParent(of: output)
    try packed.write(to: output)
    try Console.print(text(packed))
  }

  private func text(_ packed: PackedCheckpoint) -> String {
    let about = packed.description
    var parts = [
      about.model, "loss \(about.loss)",
      "\(grouped(about.trainableParameters)) of \(grouped(about.allParameters)) parameters "
        + "trainable",
      packed.samples.map { "\(grouped($0)) sample\($0 == 1 ? "" : "s")" }
        ?? "no batch: score needs --data",
    ]
    if let epoch = about.epoch { parts.append("epoch \(epoch)") }
    if let step = about.step { parts.append("step \(step)") }
    if !packed.updates.isEmpty { parts.append("updates " + packed.updates.joined(separator: " ")) }
    return "written: \(printable(output))\n" + wrapped(parts: parts) + "\n"
  }
}
