import ApproxEval
import ArgumentParser
import Checkpoints

extension WeightUpdate: ExpressibleByArgument {}

/// What is removed, and how.
struct PruningSettings: ParsableArguments {
  @Option(
    parsing: .unconditionalSingleValue,
    help: .init(
      "Shares of the weights to remove, separated by commas, each at least 0 and below 1.",
      valueName: "list"))
  var sparsity: [String]

  @Option(
    help: .init(
      "Methods, separated by commas: \(PruningMethod.all.map(\.name).joined(separator: ", ")). "
        + "(default: all of them)", valueName: "list"),
    completion: .custom { _, _, typed in OptionValues.completedPruningMethods(typed) })
  var methods: [String] = []

  @Option(
    parsing: .unconditionalSingleValue,
    help: .init(
      """
      Dampings of ef and ief, separated by commas: lambda itself, or rel:x for x times the largest \
      squared row norm of the method's own matrix, which is a sum over samples. (default: rel:1e-2)
      """, valueName: "list"))
  var damping: [String] = []

  @Option(
    parsing: .unconditional,
    help: .init(
      "Weights in a block of the matrix, a contiguous part of one tensor.", valueName: "n"))
  var blockSize = PruningOptions(sparsities: []).blockSize

  @Option(
    help: .init(
      """
      What becomes of the weights that stay: sum, the sum of what each removal alone asks for, as in \
      WoodFisher; joint, the minimum with all removals at once; none.
      """))
  var update = PruningOptions(sparsities: []).update

  @Option(
    help: .init(
      """
      Trainable tensors that may lose weights by name, * and ? allowed; repeatable. (default: the \
      weights of linear layers and convolutions)
      """, valueName: "glob"))
  var weights: [String] = []

  func options() throws(UsageError) -> PruningOptions {
    var options = PruningOptions(
      sparsities: try OptionValues.sparsities(OptionValues.joined(sparsity)))
    if !methods.isEmpty {
      options.methods = try OptionValues.pruningMethods(OptionValues.joined(methods))
    }
    if !damping.isEmpty {
      options.dampings = try OptionValues.dampings(OptionValues.joined(damping))
      for damping in options.dampings where damping.value == 0 {
        throw UsageError(
          "without damping the matrix has no inverse", at: "--damping \(damping.text)",
          "Give one above 0, such as rel:1e-3.")
      }
    }
    options.blockSize = try OptionValues.positive(blockSize, "--block-size")
    options.update = update
    options.weights = weights
    return options
  }
}

/// Which samples the matrices are made of.
struct PruningSamples: ParsableArguments {
  @Option(
    parsing: .unconditional,
    help: .init(
      "Samples that the Fisher matrices are made of. (default: all, or as many as memory allows)",
      valueName: "n"))
  var batchSize: Int?

  @Option(parsing: .unconditional, help: .init("Key of their draw.", valueName: "number"))
  var seed: UInt64 = EvaluationOptions().seed

  func apply(to options: inout EvaluationOptions) throws(UsageError) {
    if let batchSize {
      options.batchSize = try OptionValues.positive(batchSize, "--batch-size")
    }
    options.seed = seed
  }
}

/// Passes in one precision; what is solved is in double in either.
struct PruningEngineOptions: ParsableArguments {
  @Option(help: "Arithmetic of the engine; matrices and weights are in double in either.")
  var precision = PruningOptions(sparsities: []).precision

  @OptionGroup var threads: ThreadOptions

  func apply(to options: inout PruningOptions) throws(UsageError) {
    options.precision = precision
    try threads.apply(to: &options.evaluation.threads)
  }
}

/// Where results go.
struct PruningDestination: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: .init("Folder for the models that are left and the tables.", valueName: "dir"),
    completion: .directory)
  var output: String?
}

/// What appears on standard error.
struct PruningLogOptions: ParsableArguments {
  @Flag(help: "Nothing on standard error but errors.")
  var quiet = false
}

extension OptionValues {
  /// `0.5,0.9`; what is repeated counts once.
  static func sparsities(_ list: String) throws(UsageError) -> [Double] {
    var sparsities: [Double] = []
    for text in items(list) {
      guard let value = Double(text), value >= 0, value < 1 else {
        throw UsageError(
          "sparsity \"\(text)\" is not a number that is at least 0 and below 1", at: "--sparsity",
          "Give shares of the weights to remove: 0.5,0.9.")
      }
      if !sparsities.contains(value) { sparsities.append(value) }
    }
    return sparsities
  }

  /// `ef,magnitude`; what is repeated counts once.
  static func pruningMethods(_ list: String) throws(UsageError) -> [PruningMethod] {
    var methods: [PruningMethod] = []
    let known = PruningMethod.all.map(\.name)
    for name in items(list) {
      guard let method = PruningMethod.all.first(where: { $0.name == name }) else {
        throw UsageError(
          "unknown method \"\(name)\"", at: "--methods", advice(on: name, known: known))
      }
      if !methods.contains(method) { methods.append(method) }
    }
    return methods
  }

  /// What a list of methods may go on with.
  static func completedPruningMethods(_ list: String) -> [String] {
    completed(list, with: PruningMethod.all.map(\.name))
  }
}
