import ApproxEval
import ArgumentParser
import Checkpoints
import Foundation

/// WoodFisher with EF's or iEF's inverse Fisher matrix.
struct Prune: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "prune",
    abstract: "Removes weights by WoodFisher, with EF or iEF, and measures what is left.",
    discussion: """
      Weight q goes by what its removal costs at least, w_q² / (2 [F⁻¹]_qq), F being block by block \
      Σ g_n g_nᵀ + λ I (ef, Singh and Alistarh 2020) or Σ g_n g_nᵀ / ‖u_n‖² + λ I (ief, Wu et al. 2024, \
      D.2.3); or by its size (magnitude, for which nothing makes up). All layers are ranked together, \
      and all weights of one sparsity go at once, each time from the model as it is. The table has loss \
      and accuracy on all samples. With --output, the folder gets the models that are left, such as \
      ief-0.9.bin, which score reads, pruning.csv and prune.json.

      Examples:
        eval-cli prune checkpoint.bin --sparsity 0.5,0.8,0.9
        eval-cli prune net.bin --data train.npz --sparsity 0.9 --update joint --output pruned/
      """)

  @Argument(
    help: """
      A checkpoint.bin, a Hugging Face model folder, a network by torch.export, or parameters of \
      --model.
      """, completion: .file())
  var checkpoint: String

  @OptionGroup(title: "Removal") var removal: PruningSettings

  @OptionGroup(title: "Samples and parameters") var data: DataOptions

  @OptionGroup(title: "Samples and parameters") var adapter: AdapterOption

  @OptionGroup(title: "Samples and parameters") var samples: PruningSamples

  @OptionGroup(title: "Computation") var engine: PruningEngineOptions

  @OptionGroup(title: "Computation") var memory: MemoryOptions

  @OptionGroup(title: "Output") var destination: PruningDestination

  @OptionGroup(title: "Output") var replacing: ForceOption

  @OptionGroup(title: "Messages") var log: PruningLogOptions

  func run() throws {
    let system = POSIXFileSystem()
    let start = system.now
    var options = try removal.options()
    data.apply(to: &options.evaluation)
    try adapter.apply(to: &options.evaluation)
    try samples.apply(to: &options.evaluation)
    try memory.apply(to: &options.evaluation)
    try engine.apply(to: &options)
    let folder = destination.output
    if let folder { try OutputFiles.requireWritable(folder: folder) }
    let pruning = try Pruning(checkpoint: checkpoint, options: options)
    if let folder {
      for name in pruning.outputs {
        try OutputFiles.requireNew(file: "\(folder)/\(name)", force: replacing.force)
      }
    }
    let record = try folder.map { _ in
      try PruningRecord(command: CommandLine.arguments, pruning, start: start)
    }
    if !log.quiet { Console.log(Self.summary(pruning)) }
    let result = try pruning.run(into: folder) { row in
      if !log.quiet { Console.log(Self.line(row)) }
    }
    if let folder { try record?.write(result, to: folder, end: system.now) }
    try Console.print(
      result.text(Console.outputStyle) + (folder.map { "written: \(printable($0))\n" } ?? ""))
  }

  private static func summary(_ pruning: Pruning) -> String {
    let about = pruning.description
    return wrapped(parts: [
      about.model,
      "\(grouped(pruning.weightCount)) of \(grouped(about.allParameters)) parameters may go",
      "Fisher matrices of \(grouped(pruning.samples)) samples",
      "loss of \(grouped(pruning.measuredSamples))",
    ])
  }

  private static func line(_ row: PruningRow) -> String {
    let name = row.method == PruningRow.whole ? "nothing removed" : row.method
    return
      ([name] + [row.damping].compactMap { $0 }
      + ["sparsity \(shortened(row.sparsity))", "loss \(shortened(row.measure.loss))"])
      .joined(separator: ", ")
  }
}
