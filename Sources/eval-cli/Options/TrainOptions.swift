import ApproxEval
import ArgumentParser
import Checkpoints

/// The losses by the names of checkpoints.
enum LossName: String, CaseIterable, ExpressibleByArgument {
  case crossEntropy = "cross_entropy"
  case mse
  case bce
}

/// What is trained, and on what.
struct TrainingDataOptions: ParsableArguments {
  @Option(
    name: .customLong("data"),
    help: .init("The .npz or safetensors file to train on.", valueName: "file"),
    completion: .file())
  var file: String

  @Option(
    help: .init(
      "Measure loss and accuracy on this file as well, after every epoch.", valueName: "file"),
    completion: .file())
  var validation: String?

  @Option(
    parsing: .unconditional,
    help: .init(
      "The same on this share of the data, which is not trained on.", valueName: "share"))
  var holdOut: Double?

  @Option(help: .init("Loss of a model that starts from its description. (default: cross_entropy)"))
  var loss: LossName?

  @OptionGroup var adapter: AdapterOption

  @OptionGroup var trainable: TrainableOption

  func apply(to options: inout TrainingOptions) throws(UsageError) {
    options.adapter = adapter.adapter
    options.trainable = trainable.trainable
    if let validation { options.validation = .file(validation) }
    guard let holdOut else { return }
    if validation != nil {
      throw UsageError(
        "samples to watch from two places", at: "--hold-out",
        "Leave out --hold-out or --validation.")
    }
    guard holdOut > 0 && holdOut < 1 else {
      throw UsageError("\(holdOut) is not between 0 and 1", at: "--hold-out")
    }
    options.validation = .share(holdOut)
  }
}

/// How long, in what pieces, and what is kept.
struct TrainingScheduleOptions: ParsableArguments {
  @Option(
    name: .shortAndLong,
    help: .init("Folder for checkpoints and tables; it has no checkpoints yet.", valueName: "dir"),
    completion: .directory)
  var output: String

  @Option(parsing: .unconditional, help: .init("Passes through the data.", valueName: "n"))
  var epochs = 10

  @Option(
    parsing: .unconditional,
    help: .init(
      "Samples per step. (default: 32, as in every recipe, or all there are)", valueName: "n"))
  var batchSize: Int?

  @Option(
    parsing: .unconditional,
    help: .init("Key of everything random: weights, order, labels of sf.", valueName: "number"))
  var seed: UInt64 = EvaluationOptions().seed

  @Option(
    parsing: .unconditional,
    help: .init(
      "Save a checkpoint after every so many epochs; the first and the last always.",
      valueName: "n"))
  var saveEvery = 1

  @Option(
    parsing: .unconditional,
    help: .init(
      "Samples that every checkpoint carries, so that score needs no --data; 0: none.",
      valueName: "n"))
  var carry = EvaluationOptions.usualBatchSize

  func apply(to options: inout TrainingOptions) throws(UsageError) {
    options.epochs = try OptionValues.positive(epochs, "--epochs")
    if epochs > 1_000_000 { throw UsageError("\(epochs) is more than 1000000", at: "--epochs") }
    if let batchSize {
      options.batchSize = try OptionValues.positive(batchSize, "--batch-size")
    }
    options.saveEvery = try OptionValues.positive(saveEvery, "--save-every")
    options.carriedSamples = try OptionValues.notNegative(carry, "--carry")
    options.seed = seed
  }
}
