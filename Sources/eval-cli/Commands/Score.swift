import ApproxEval
import ArgumentParser
import Checkpoints
import Foundation
import Updates

/// Algorithm 4.
struct Score: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "score",
    abstract: "Scores update methods at one or more checkpoints.",
    discussion: """
      Prints a table per checkpoint: gamma of each update, its ratio to that of plain gradient \
      descent, and its efficiency, the share of what the exact natural gradient could gain. With \
      --output, writes scores.csv, batches.csv, summary.csv, cg.csv and run.json (with \
      --per-layer also layers.csv), and while it runs a journal of finished batches: an \
      interrupted run goes on with --resume.

      Examples:
        eval-cli score checkpoint.bin
        eval-cli score run/epoch-*.bin --data train.npz --output results/
        eval-cli score run/epoch-*.bin --data train.npz --output results/ --resume
        eval-cli score --model t5-base/ run/checkpoint-*/ --data sst2.npz --optimizer-state auto

      Update methods (G are the gradients g_n of the samples as rows, g their sum, u_n the gradient \
      at the logits, F the Fisher matrix, λ the damping; in brackets what it costs beside the gradient):
      \(OptionValues.methodSummaries)
      """)

  @Argument(
    help: """
      Checkpoints, scored in this order: files and folders that carry their model, or parameters \
      of --model.
      """, completion: .file())
  var checkpoints: [String]

  @OptionGroup(title: "Samples and parameters") var data: DataOptions

  @OptionGroup(title: "Samples and parameters") var adapters: AdapterOptions

  @OptionGroup(title: "Samples and parameters") var batch: BatchOptions

  @OptionGroup(title: "Samples and parameters") var batches: BatchCountOptions

  @OptionGroup(title: "Updates") var updates: UpdateOptions

  @OptionGroup(title: "Updates") var updateFiles: UpdateFileOptions

  @OptionGroup(title: "Reference") var reference: ReferenceOptions

  @OptionGroup(title: "Reference") var solver: SolverOptions

  @OptionGroup(title: "Computation") var engine: EngineOptions

  @OptionGroup(title: "Computation") var memory: MemoryOptions

  @OptionGroup(title: "Output") var destination: DestinationOptions

  @OptionGroup(title: "Long runs") var share: ShareOptions

  @OptionGroup(title: "Messages") var log: LogOptions

  func run() throws {
    var options = try evaluationOptions()
    let part = try share.part()
    let start = POSIXFileSystem().now
    Interruption.watch()
    try destination.requireWritable()
    var evaluation = Evaluation(options)
    let inputs = try evaluation.inputs(
      checkpoints: checkpoints, adapters: adapters.adapter, files: updateFiles.series)
    let long = evaluation.disproportionate(try updates.methodsOfSetsAlone(), inputs)
    if let long {
      options.methods.removeAll { long.methods.contains($0) }
      evaluation = Evaluation(options, files: evaluation.files)
      if !log.quiet { Console.log(wrapped(long.note)) }
    }
    // Whatever the headers of all files tell comes before the first computation.
    let plan = try evaluation.plan(inputs, keepsGoing: share.keepGoing).part(part)
    if let failure = plan.leftOut.first, plan.checkpoints.isEmpty { throw failure.error }
    let needsRecord = destination.output != nil || destination.format == .json
    var record =
      try needsRecord
      ? RunRecord(
        command: CommandLine.arguments, options: options, files: evaluation.files, start: start)
      : nil
    record?.notes = [long?.note].compactMap { $0 }
    let run = try ScoreRun(plan, record: record, destination: destination, log: log)
    Interruption.response.withLock { $0 = run.interrupt }
    if !log.quiet { try Self.announce(evaluation, plan, skipping: run.finished) }
    run.begin()
    let failing = { (failure) throws(EvaluationError) in try run.add(failure) }
    do throws(EvaluationError) {
      try evaluation.score(
        plan, skipping: run.finished, failing: share.keepGoing ? failing : nil
      ) { number, result throws(EvaluationError) in
        try run.add(result, at: number)
        if log.verbose {
          Console.log(printable(Self.line(result)))
          Console.log(PhaseText.table(result.costs))
        }
        run.showFinished()
      }
    } catch {
      run.fail(error)
      throw error
    }
    let (notConverged, failed) = try run.finish()
    if !failed.isEmpty { throw FailedCheckpoints(failures: failed) }
    if reference.strict && notConverged > 0 {
      throw ReferenceFailure(batches: notConverged, of: plan.count)
    }
  }

  private func evaluationOptions() throws(UsageError) -> EvaluationOptions {
    var options = EvaluationOptions()
    data.apply(to: &options)
    try adapters.check(options)
    try batch.apply(to: &options)
    try batches.apply(to: &options)
    try destination.check()
    try requireNoMethods()
    options.run = destination.run
    try updates.apply(to: &options)
    try updateFiles.apply(to: &options)
    try reference.apply(to: &options)
    try solver.apply(to: &options)
    try engine.apply(to: &options)
    try memory.apply(to: &options)
    return options
  }

  /// A list that was written with spaces has its second name among the checkpoints.
  private func requireNoMethods() throws(UsageError) {
    let place = checkpoints.first { name in
      UpdateMethod(name: name) != nil && !FileManager.default.fileExists(atPath: name)
    }
    guard let place else { return }
    throw UsageError(
      "this is a method, and no checkpoint", at: printable(place),
      "Write the list with commas: --methods sgd,\(place).")
  }

  /// A line on what lies ahead, if it is more than a minute.
  private static func announce(
    _ evaluation: Evaluation, _ plan: RunPlan, skipping finished: Set<Int>
  ) throws {
    var work: [Arithmetic: Double] = [:]
    var memory = 0
    for (index, checkpoint) in plan.checkpoints.enumerated() {
      let numbers = plan.numbers(ofCheckpoint: index)
      let batches = numbers.count - finished.count(where: numbers.contains)
      if batches == 0 { continue }
      let needs = try evaluation.of(checkpoint.input).resources(checkpoint: checkpoint.input.path)
      work[needs.precision, default: 0] += needs.batchOperations * Double(batches)
      memory = max(memory, needs.memory.total)
    }
    // Less than a minute even at 1 GFLOP/s: nothing to measure.
    let total = work.values.reduce(0, +)
    if total < 60 * 1e9 { return }
    let seconds = work.reduce(0) { $0 + $1.value / evaluation.measuredRate($1.key) }
    if seconds < 60 { return }
    Console.log(
      wrapped(
        "estimate: at most \(duration(seconds)), \(operations(total)) at "
          + "\(operations(total / seconds))/s, if conjugate gradients take all their iterations; a "
          + "batch needs at most \(bytes(memory, digits: 3))"))
  }

  private static func line(_ result: BatchResult) -> String {
    var text =
      "\(result.checkpoint), batch \(result.batch): mean loss \(shortened(result.meanLoss)), gradient "
      + shortened(result.gradientNorm)
    if let reference = result.reference {
      text += ", reference gamma \(shortened(reference.gamma)), "
      if let iterations = reference.iterations { text += "\(iterations) iterations, " }
      text += "residual \(shortened(reference.residual, digits: 2)) (\(reference.stop))"
    }
    if result.isRepeated { text += ", done again in double" }
    if result.recomputedSamples > 0 {
      text +=
        ", forward values of \(result.recomputedSamples) of \(result.sequences ?? result.samples) samples "
        + "recomputed in every pass (--memory)"
    }
    return text + ", \(shortened(result.seconds, digits: 3)) s"
  }
}
