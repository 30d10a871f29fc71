import Foundation
import Training

/// What `TrainingRun` does, with the defaults of the command.
public struct TrainingOptions: Sendable {
  /// The optimiser with its settings.
  public var optimizer: OptimizerSettings
  /// Where the optimiser and the size of a batch come from, unless they have been set otherwise.
  public var recipe: TrainingRecipe?
  /// Passes through the data.
  public var epochs = 10
  /// Samples per step; the last step of an epoch may have fewer. `nil`: as the recipe has it, or 32, as
  /// in the paper; all there are, if these are fewer.
  public var batchSize: Int?
  /// An .npz or safetensors file, all of whose samples are trained on but for those that are held
  /// out.
  public var dataFile: String
  /// Samples to watch, which nothing is trained on: a file, or a share of the data.
  public var validation = Validation.none
  /// A checkpoint after every so many epochs, and after the last.
  public var saveEvery = 1
  /// Samples that every checkpoint carries, so that it can be scored without a data file; as many
  /// as there are, at the most.
  public var carriedSamples = EvaluationOptions.usualBatchSize
  /// Decides random weights, the split, the order of samples and the labels of `sf`.
  public var seed = EvaluationOptions().seed
  /// Of the engine; parameters and moments are in double in either.
  public var precision = Arithmetic.float32
  /// As of `EvaluationOptions`.
  public var threads = EvaluationOptions().threads
  /// As of `EvaluationOptions`.
  public var memory = EvaluationOptions().memory
  /// As of `EvaluationOptions`: its parameters are trained.
  public var adapter: String?
  /// As of `EvaluationOptions`.
  public var trainable: [String] = []

  /// Which samples are watched.
  public enum Validation: Sendable, Equatable {
    /// None.
    case none
    /// All of another data file.
    case file(String)
    /// Of the samples of the data file, in (0, 1).
    case share(Double)
  }

  /// The defaults of the command for this optimiser.
  public init(_ optimizer: OptimizerSettings, dataFile: String) {
    self.optimizer = optimizer
    self.dataFile = dataFile
  }

  /// As far as loading a checkpoint is concerned.
  func evaluation(dataFile: String) -> EvaluationOptions {
    var options = EvaluationOptions()
    options.dataFile = dataFile
    options.adapter = adapter
    options.trainable = trainable
    options.seed = seed
    options.precision = Precision(precision)
    options.threads = threads
    options.memory = memory
    return options
  }
}
