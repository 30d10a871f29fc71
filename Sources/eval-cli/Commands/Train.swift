import ApproxEval
import ArgumentParser
import Checkpoints
import Foundation
import Synchronization
import Training

/// Algorithms 1-3 and the baselines.
struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Trains a model on a data file and saves a checkpoint after every epoch.",
    discussion: """
      Optimisers are exact iEF, EF and SF (Algorithms 1-3 of the paper), SGD, Adam, AdamW and \
      Adafactor as in PyTorch, and Adafactor as in Transformers. The folder gets epoch-00.bin (the \
      start), epoch-01.bin and so on, which score reads, steps.csv, epochs.csv and train.json. The \
      order of samples depends on seed and epoch alone, and a run has the same bits whatever the \
      number of threads. A checkpoint that has an epoch and a step is counted on from there; the \
      optimiser and its schedule begin anew, as checkpoints do not have their state.

      Examples:
        eval-cli train net.json --data train.npz -o run/ --epochs 40
        eval-cli train net.bin --data d.npz -o run/ --optimizer ief --hold-out 0.2
        eval-cli train t5/ --adapter lora/ --data d.npz -o run/ --recipe t5-lora
      """)

  @Argument(
    help: """
      A checkpoint.bin or a Hugging Face model folder to start from, or the JSON description of a \
      sequential model, which starts with PyTorch's random weights.
      """, completion: .file())
  var model: String

  @OptionGroup(title: "Samples and parameters") var data: TrainingDataOptions

  @OptionGroup(title: "Optimiser") var optimizer: OptimizerOptions

  @OptionGroup(title: "Run") var schedule: TrainingScheduleOptions

  @OptionGroup(title: "Computation") var engine: TrainingEngineOptions

  @OptionGroup(title: "Computation") var memory: MemoryOptions

  @OptionGroup(title: "Messages") var log: LogOptions

  func run() throws {
    let system = POSIXFileSystem()
    let start = system.now
    let options = try trainingOptions()
    let folder = schedule.output
    if let file = TrainingRun.checkpoints(in: folder).first {
      throw UsageError(
        "\(folder) holds \(file) already", at: "--output",
        "Choose another folder: checkpoints that are there are not replaced.")
    }
    try OutputFiles.requireWritable(folder: folder)
    let run = try makeRun(options)
    let recipe = try recipeText(run)
    let record = try TrainingRecord(command: CommandLine.arguments, run: run, start: start)
    if !log.quiet {
      Console.log(Self.summary(run))
      if let recipe { Console.log(recipe) }
    }
    let isCancelled = Flag()
    Interruption.response.withLock { $0 = { isCancelled.set() } }
    Interruption.watch()
    let progress = TrainingProgress(run, log)
    let result: TrainingResult
    do {
      result = try run.run(
        into: folder, observing: progress.show, isCancelled: { isCancelled.isSet })
    } catch {
      progress.finish()
      if case .diverged = error { try record.write(to: folder, .diverged, end: system.now) }
      throw error
    }
    progress.finish()
    try record.write(to: folder, result.isInterrupted ? .interrupted : .finished, end: system.now)
    try Console.print(Self.text(result, folder))
    if result.isInterrupted {
      Console.log(
        "interrupted after step \(result.steps.count) of \(run.steps); checkpoints up to epoch "
          + "\(result.epochs.last?.epoch ?? run.firstEpoch) are in \(printable(folder))")
      Interruption.exit()
    }
  }

  private func makeRun(_ options: TrainingOptions) throws -> TrainingRun {
    let files = InputFiles(memory: options.memory)
    guard RandomNetwork.isDescription(model, files: files) else {
      if data.loss != nil {
        throw UsageError(
          "a checkpoint has its loss", at: "--loss",
          "Leave it out, or start from the description of a sequential model.")
      }
      return try TrainingRun(checkpoint: model, options: options, files: files)
    }
    if options.adapter != nil {
      throw UsageError(
        "a sequential model takes no adapter", at: "--adapter", "Leave it out.")
    }
    let network = try RandomNetwork(
      description: model, loss: (data.loss ?? .crossEntropy).rawValue, seed: options.seed,
      files: files)
    return try TrainingRun(network: network, options: options)
  }

  private func trainingOptions() throws(UsageError) -> TrainingOptions {
    let recipe = try optimizer.chosenRecipe()
    var options = TrainingOptions(try optimizer.settings(recipe), dataFile: data.file)
    options.recipe = recipe
    try data.apply(to: &options)
    try schedule.apply(to: &options)
    var computation = EvaluationOptions()
    try memory.apply(to: &computation)
    try engine.apply(to: &options)
    options.memory = computation.memory
    return options
  }

  // MARK: - Texts

  private static func summary(_ run: TrainingRun) -> String {
    let about = run.description
    var parts = [
      about.model, "\(grouped(about.trainableParameters)) parameters trained",
      "\(grouped(run.trainingSamples)) samples",
    ]
    if run.validationSamples > 0 { parts.append("\(grouped(run.validationSamples)) to watch") }
    parts.append(
      "\(run.options.epochs) epoch\(run.options.epochs == 1 ? "" : "s") of "
        + "\(grouped(run.stepsPerEpoch)) step\(run.stepsPerEpoch == 1 ? "" : "s") with "
        + run.options.optimizer.kind.rawValue)
    if run.firstEpoch > 0 { parts.append("from epoch \(run.firstEpoch) on") }
    return wrapped(parts: parts)
  }

  private static func text(_ result: TrainingResult, _ folder: String) -> String {
    let isWatched = result.epochs.contains { $0.validation != nil }
    var table = TextTable(
      [
        ("epoch", .right), ("steps", .right), ("loss", .right), ("accuracy %", .right),
      ] + (isWatched ? [("validation loss", .right), ("validation accuracy %", .right)] : []))
    for epoch in result.epochs {
      table.append(
        ["\(epoch.epoch)", "\(epoch.step)"] + cells(epoch.training)
          + (epoch.validation.map(cells) ?? []))
    }
    return table.text(Console.outputStyle) + "written: \(printable(folder))\n"
  }

  private static func cells(_ measure: TrainingEpoch.Measure) -> [String] {
    [
      shortened(measure.loss), measure.accuracy.map { String(format: "%.1f", 100 * $0) } ?? "",
    ]
  }
}

/// Set once, on another thread.
private final class Flag: Sendable {
  private let value = Atomic<Bool>(false)

  var isSet: Bool { value.load(ordering: .relaxed) }

  func set() { value.store(true, ordering: .relaxed) }
}
