import ApproxEval
import ArgumentParser

/// How many batches.
struct BatchCountOptions: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: .init("Number of batches. (default: 1, or 10 with --data)", valueName: "n"))
  var batches: Int?

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if let batches { options.batches = try OptionValues.positive(batches, "--batches") }
  }
}

/// What is scored.
struct UpdateOptions: ParsableArguments {
  @Option(
    help: .init(
      "Update methods: \(OptionValues.methodNames) or update:<name>, separated by commas.",
      valueName: "list"))
  var methods = "sgd,ef,ief,sf"

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Dampings, separated by commas: lambda itself, or rel:x for x times the largest squared \
      per-sample gradient norm.
      """, valueName: "list"))
  var damping = "rel:1e-7"

  @Option(
    parsing: .unconditional,
    help: .init(
      "Monte-Carlo labels per sample for sf. (default: what the file carries, or 1)",
      valueName: "k"))
  var mcSamples: Int?

  @Option(
    help: .init(
      "Score the direction in this safetensors file as well; repeatable.", valueName: "file"),
    completion: .file())
  var updates: [String] = []

  @Option(
    parsing: .unconditional,
    help: .init(
      """
      Leave out, of two samples whose gradients have a larger cosine than this, the one with \
      the smaller gradient. (default: off)
      """, valueName: "x"))
  var dropDuplicates: Double?

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    options.methods = try OptionValues.methods(methods)
    options.dampings = try OptionValues.dampings(damping)
    if let mcSamples {
      options.monteCarloSamples = try OptionValues.positive(mcSamples, "--mc-samples")
      if mcSamples > 10_000 {
        throw UsageError("\(mcSamples) is more than 10000", at: "--mc-samples")
      }
    }
    options.updateFiles = updates
    guard let dropDuplicates else { return }
    guard (0...1).contains(dropDuplicates) else {
      throw UsageError(
        "\(dropDuplicates) is not a cosine between 0 and 1", at: "--drop-duplicates")
    }
    options.dropDuplicates = dropDuplicates
  }
}

/// The yardstick.
struct ReferenceOptions: ParsableArguments {
  @Option(name: .customLong("reference"), help: "How the natural gradient is found.")
  var kind = EvaluationOptions().reference
}

/// How a direction is found that must be found.
struct DirectionOptions: ParsableArguments {
  enum Kind: String, CaseIterable, ExpressibleByArgument {
    case cg
    case lsqr
    case dense
    case gram
    case auto

    var kind: ReferenceKind { ReferenceKind(rawValue: rawValue)! }
  }

  @Option(help: "How the natural gradient is found.")
  var reference = Kind.cg
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

  @Option(help: .init("Write the scores to this CSV file.", valueName: "file"))
  var csv: String?

  @Option(help: "What is printed on standard output.")
  var format = Format.table

  /// Before anything is computed.
  func requireWritable() throws {
    if let output { try OutputFiles.requireWritable(folder: output) }
    if let csv { try OutputFiles.requireWritable(file: csv) }
  }
}
