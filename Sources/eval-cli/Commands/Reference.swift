import ApproxEval
import ArgumentParser
import Checkpoints
import Foundation

/// The natural-gradient direction as a file.
struct Reference: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "reference",
    abstract: "Solves for the natural-gradient direction of the first batch and writes it.",
    discussion: """
      The file is safetensors, one tensor per trainable parameter, named and shaped like it; score \
      --updates reads it. The iterates of conjugate gradients or LSQR go beside it as CSV.

      Example: eval-cli reference checkpoint.bin -o ng.safetensors --precision float64
      """)

  @Argument(help: "The checkpoint.", completion: .file())
  var checkpoint: String

  @Option(
    name: .shortAndLong,
    help: .init(
      "Where to write the direction; the trace gets the same name with .csv.", valueName: "file"))
  var output: String

  @OptionGroup var replacing: ForceOption

  @OptionGroup(title: "Samples and parameters") var data: DataOptions

  @OptionGroup(title: "Samples and parameters") var adapter: AdapterOption

  @OptionGroup(title: "Samples and parameters") var batch: BatchOptions

  @OptionGroup(title: "Solver") var reference: DirectionOptions

  @OptionGroup(title: "Solver") var solver: SolverOptions

  @OptionGroup(title: "Computation") var engine: EngineOptions

  @OptionGroup(title: "Computation") var memory: MemoryOptions

  /// Before the solve, `auto` may still turn out iterative.
  private var mayWriteTrace: Bool { reference.reference.method.isIterative }

  func run() throws {
    var options = EvaluationOptions()
    data.apply(to: &options)
    try adapter.apply(to: &options)
    try batch.apply(to: &options)
    options.reference = reference.reference.method
    try solver.apply(to: &options)
    try engine.apply(to: &options)
    try memory.apply(to: &options)
    let trace = URL(fileURLWithPath: output).deletingPathExtension().path + ".csv"
    if URL(fileURLWithPath: output).path == trace {
      throw UsageError(
        "the trace would be written to this name", at: "--output",
        "Choose another extension, such as .safetensors.")
    }
    try OutputFiles.requireNew(file: output, force: replacing.force)
    if mayWriteTrace { try OutputFiles.requireNew(file: trace, force: replacing.force) }
    let direction = try Evaluation(options).reference(checkpoint: checkpoint)
    try direction.write(to: output)
    let writesTrace = direction.record.iterations != nil || !direction.trace.isEmpty
    if writesTrace {
      var files = OutputFiles()
      files.add(trace, direction.traceTable.csv)
      try files.write()
    }
    try Console.print(text(direction, trace: writesTrace ? trace : nil))
  }

  private func text(_ direction: ReferenceDirection, trace: String?) -> String {
    let record = direction.record
    var parts = ["gamma \(shortened(record.gamma))"]
    parts.append("least possible \(shortened(direction.gammaBound))")
    if let estimate = direction.excess.estimate {
      parts.append("\(shortened(100 * estimate, digits: 2)) % above it by estimate")
    }
    if let iterations = record.iterations { parts.append("\(grouped(iterations)) iterations") }
    parts.append("residual \(shortened(record.residual, digits: 2))")
    let choice = record.choice.map {
      wrapped("\(record.solver): \($0).") + "\n"
    }
    return """
      \(printable(direction.description.path))
      \(wrapped(parts: parts))
      \(wrapped(record.account.spelled(by: .options)))
      \(choice ?? "")\
      written: \(printable(output))\(trace.map { " and " + printable($0) } ?? "")

      """
  }
}
