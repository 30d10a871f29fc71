import ApproxEval
import ArgumentParser
import Foundation
import Updates

/// How many batches.
struct BatchCountOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: .init(
      "Number of batches. (default: 1, or 10 of --data that has more samples than one batch)",
      valueName: "n"))
  var batches: Int?

  @Option(
    parsing: .unconditional,
    help: .init(
      "Number of the first batch, from 0: repeats a part of a longer run.", valueName: "n"))
  var firstBatch = EvaluationOptions().firstBatch

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if let batches { options.batches = try OptionValues.positive(batches, "--batches") }
    // Batches are numbered by 32 bits (`CounterRandom`).
    let largest = 2_000_000_000
    for (number, option) in [(batches ?? 1, "--batches"), (firstBatch, "--first-batch")] {
      if number > largest { throw UsageError("\(number) is more than \(largest)", at: option) }
      if number < 0 { throw UsageError("\(number) is less than 0", at: option) }
    }
    options.firstBatch = firstBatch
  }
}

/// What is scored.
struct UpdateOptions: ParsableArguments {
  @Option(
    help: .init(
      """
      Update methods, separated by commas: names from the list above, update:<name>, or \
      \(OptionValues.methodSets("or")) for a set of them. A set leaves out layer-ng and block-ng where \
      their solves take far longer than all else. Directions that the checkpoint carries are scored by default. \
      (default: sgd,ef,ief,sf)
      """, valueName: "list"),
    completion: .custom { _, _, typed in OptionValues.completedMethods(typed) })
  var methods: [String] = []

  @Option(
    parsing: .unconditionalSingleValue,
    help: .init(
      """
      Dampings, separated by commas: lambda itself, or rel:x for x times the largest squared \
      per-sample gradient norm. (default: rel:1e-7)
      """, valueName: "list"))
  var damping: [String] = []

  @Option(
    parsing: .unconditionalSingleValue,
    help: .init(
      """
      Monte-Carlo labels per sample for \(OptionValues.sampledMethodNames): a number, or several \
      separated by commas, each scored. (default: what the file carries, or 1)
      """, valueName: "list"))
  var mcSamples: [String] = []

  @Option(
    help: .init(
      """
      What a sample is for methods that look at single ones: a sequence with all of its scored positions, \
      or every scored token. The natural gradient and gamma of a direction are the same.
      """))
  var sample = EvaluationOptions().sample

  @Flag(help: "Score every direction in each tensor and each module alone as well (layers.csv).")
  var perLayer = false

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Leave out, of two samples whose gradients have a larger cosine than this, the one with \
      the smaller gradient. (default: off)
      """, valueName: "x"))
  var dropDuplicates: Double?

  /// Methods that are asked for as members of a set alone.
  func methodsOfSetsAlone() throws(UsageError) -> [UpdateMethod] {
    methods.isEmpty ? [] : try OptionValues.methodsOfSetsAlone(OptionValues.joined(methods))
  }

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if !methods.isEmpty {
      options.methods = try OptionValues.methods(OptionValues.joined(methods))
      options.scoresStoredUpdates = false
    }
    if !damping.isEmpty {
      options.dampings = try OptionValues.dampings(OptionValues.joined(damping))
    }
    if !mcSamples.isEmpty {
      options.monteCarloSamples = try OptionValues.draws(OptionValues.joined(mcSamples))
    }
    options.sample = sample
    options.perLayer = perLayer
    if let dropDuplicates { options.dropDuplicates = try OptionValues.cosine(dropDuplicates) }
  }
}

/// The yardstick.
struct ReferenceOptions: ParsableArguments {
  @Option(name: .customLong("reference"), help: "How the natural gradient is found.")
  var kind = EvaluationOptions().reference

  @Flag(
    help: "Exit code 1 if the reference of a batch did not converge; reports are written anyway.")
  var strict = false

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    options.reference = kind
    if strict && kind == .none {
      throw UsageError(
        "there is no reference that could fail to converge", at: "--strict, --reference none",
        "Leave out one of the two.")
    }
  }
}

/// How a direction is found that must be found.
struct DirectionOptions: ParsableArguments {
  @Option(help: "How the natural gradient is found.")
  var reference = DirectionMethod(EvaluationOptions().reference)
}

/// Where results go.
struct DestinationOptions: ParsableArguments {
  enum Format: String, CaseIterable, ExpressibleByArgument {
    case table
    case csv
    case json
  }

  @Option(
    help: .init("Write the report into this folder.", valueName: "dir"), completion: .directory)
  var output: String?

  @Option(
    help: .init(
      "Name of the training run, for tables and figures. (default: the folder of each checkpoint)",
      valueName: "name"))
  var run: String?

  @Option(
    help: .init("Write the scores to this CSV file.", valueName: "file"), completion: .file())
  var csv: String?

  @Option(help: "What is printed on standard output.")
  var format = Format.table

  @Flag(
    help: """
      Go on from the journal in --output, or begin. The run may have grown by checkpoints or \
      batches, whose results are added, or by methods or dampings, for which its batches are \
      scored again; files may lie elsewhere, as long as they hold the same.
      """)
  var resume = false

  @Flag(help: "Replace results of another run, and files that are not ours.")
  var force = false

  var opening: Journal.Opening { force ? .replace : resume ? .resume : .new }

  func check() throws(UsageError) {
    if resume && output == nil {
      throw UsageError(
        "there is no folder whose journal could be resumed", at: "--resume",
        "Give the folder of the interrupted run as --output.")
    }
    if csv == "-" {
      throw UsageError(
        "standard output has no name", at: "--csv -", "For scores there give --format csv.")
    }
    if resume && force {
      throw UsageError(
        "what is resumed is not replaced", at: "--resume, --force", "Leave out one of the two.")
    }
  }

  /// Before anything is computed.
  func requireWritable() throws {
    if let output { try OutputFiles.requireWritable(folder: output) }
    // Whether one that is there may be replaced, the journal knows (`RunOutputs`).
    if let csv { try OutputFiles.requireWritable(file: csv) }
  }
}

/// Which part of a run is scored, and what becomes of the rest when a checkpoint fails.
struct ShareOptions: ParsableArguments {
  @Option(
    help: .init(
      """
      Score part i of n, as i/n; auto: the part of this task of a job array (Slurm, PBS, LSF), \
      auto/n: that of n parts. Each into a folder of its own; eval-cli merge makes one of them.
      """, valueName: "part"))
  var shard: String?

  @Flag(
    help: "Go on with the other checkpoints where one fails; the failures are told at the end.")
  var keepGoing = false

  func part() throws(UsageError) -> Shard? {
    guard let shard else { return nil }
    return try JobArray(ProcessInfo.processInfo.environment).shard(shard)
  }
}
