import ApproxEval
import ArgumentParser
import Foundation

/// Algorithm 4.
struct Score: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Scores update methods at one or more checkpoints.",
    discussion: """
      Prints a table per checkpoint: gamma of each update, its ratio to that of plain gradient \
      descent, and its efficiency, the share of what the exact natural gradient could gain. With \
      --output, writes scores.csv, batches.csv, summary.csv, cg.csv and run.json (with \
      --per-layer also layers.csv).

      Examples:
        eval-cli score checkpoint.bin
        eval-cli score run/epoch-*.bin --data train.npz --output results/
      """)

  @Argument(help: "Checkpoints, scored in this order.", completion: .file())
  var checkpoints: [String]

  @OptionGroup(title: "Samples and parameters") var data: DataOptions

  @OptionGroup(title: "Samples and parameters") var batch: BatchOptions

  @OptionGroup(title: "Samples and parameters") var batches: BatchCountOptions

  @OptionGroup(title: "Updates") var updates: UpdateOptions

  @OptionGroup(title: "Reference") var reference: ReferenceOptions

  @OptionGroup(title: "Reference") var solver: SolverOptions

  @OptionGroup(title: "Computation") var engine: EngineOptions

  @OptionGroup(title: "Computation") var memory: MemoryOptions

  @OptionGroup(title: "Output") var destination: DestinationOptions

  @OptionGroup(title: "Messages") var log: LogOptions

  func run() throws {
    let options = try evaluationOptions()
    let start = Date()
    try destination.requireWritable()
    let evaluation = Evaluation(options)
    // Whatever the headers of all files tell comes before the first computation.
    var descriptions: [CheckpointDescription] = []
    var total = 0
    for path in checkpoints {
      descriptions.append(try evaluation.describe(checkpoint: path))
      total += try evaluation.batchCount(checkpoint: path)
    }
    let needsRecord = destination.output != nil || destination.format == .json
    var record =
      try needsRecord
      ? RunRecord(
        command: CommandLine.arguments, options: options, checkpoints: checkpoints, start: start)
      : nil
    if !log.quiet { try Self.announce(evaluation, checkpoints) }
    let progress = Progress(total: total, isQuiet: log.quiet || log.verbose)
    defer { progress.finish() }
    var entries: [Report.Entry] = []
    for description in descriptions {
      let results = try evaluation.score(checkpoint: description.path) { result in
        progress.advance()
        if log.verbose { Console.log(Self.line(result)) }
      }
      entries.append(Report.Entry(description, results))
    }
    progress.finish()
    record?.end = Date()
    try write(Report(entries), record)
  }

  private func write(_ report: Report, _ record: RunRecord?) throws {
    var files = OutputFiles()
    if let output = destination.output, let record {
      report.add(to: &files, folder: output, record: record)
    }
    if let csv = destination.csv { files.add(csv, report.scores.csv) }
    try files.write()
    switch destination.format {
    case .table: try Console.print(report.entries.map(\.text).joined(separator: "\n"))
    case .csv: try Console.print(report.scores.csv)
    case .json: try Console.print(report.json(record!).document)
    }
  }

  private func evaluationOptions() throws(UsageError) -> EvaluationOptions {
    var options = EvaluationOptions()
    data.apply(to: &options)
    try batch.apply(to: &options)
    try batches.apply(to: &options)
    try updates.apply(to: &options)
    options.reference = reference.kind
    try solver.apply(to: &options)
    try engine.apply(to: &options)
    try memory.apply(to: &options)
    return options
  }

  /// A line on what lies ahead, if it is more than a minute.
  private static func announce(_ evaluation: Evaluation, _ checkpoints: [String]) throws {
    var total = 0.0
    var memory = 0
    for path in checkpoints {
      let needs = try evaluation.resources(checkpoint: path)
      total += needs.batchOperations * Double(try evaluation.batchCount(checkpoint: path))
      memory = max(memory, needs.memory.total)
    }
    // Less than a minute even at 1 GFLOP/s: nothing to measure.
    if total < 60 * 1e9 { return }
    let rate = evaluation.measuredRate()
    if total / rate < 60 { return }
    Console.log(
      wrapped(
        "estimate: at most \(duration(total / rate)), \(operations(total)) at "
          + "\(operations(rate))/s, if conjugate gradients take all their iterations; a "
          + "Fisher-vector product needs about \(bytes(memory, digits: 3))"))
  }

  private static func line(_ result: BatchResult) -> String {
    var text =
      "\(result.checkpoint), batch \(result.batch): loss \(shortened(result.loss)), gradient "
      + shortened(result.gradientNorm)
    if let reference = result.reference {
      text += ", reference gamma \(shortened(reference.gamma)), "
      if let iterations = reference.iterations { text += "\(iterations) iterations, " }
      text += "residual \(shortened(reference.residual, digits: 2)) (\(reference.stop))"
    }
    if result.recomputedSamples > 0 {
      text +=
        ", forward values of \(result.recomputedSamples) of \(result.samples) samples "
        + "recomputed in every pass (--memory)"
    }
    return text + ", \(shortened(result.seconds, digits: 3)) s"
  }
}
