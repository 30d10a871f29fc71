import Checkpoints
import Training

/// train.json: what it takes to repeat a training run.
public struct TrainingRecord: Sendable {
  /// How a run ended.
  public enum Outcome: String, Sendable {
    /// After its last epoch.
    case finished
    /// It was cancelled; what there was is kept.
    case interrupted
    /// At a number that is not finite.
    case diverged
  }

  /// With the name of the program.
  public let command: [String]
  /// What was asked for.
  public let options: TrainingOptions
  /// Samples per step, as it came out.
  public let batchSize: Int
  /// Of the start.
  public let firstEpoch: Int
  /// Of the start.
  public let firstStep: Int
  /// What was trained.
  public let description: CheckpointDescription
  /// Everything that was read: model, data.
  public let files: [FileRecord]
  /// When the run began.
  public let start: Moment

  /// Reads all files of the run once, for their sums.
  public init(command: [String], run: TrainingRun, start: Moment) throws(CheckpointError) {
    self.command = command
    options = run.options
    batchSize = run.batchSize
    (firstEpoch, firstStep) = (run.firstEpoch, run.firstStep)
    description = run.description
    self.start = start
    files = try FileRecord.all(run.files)
  }

  /// Writes the record into the folder of the run.
  public func write(to folder: String, _ outcome: Outcome, end: Moment) throws(CheckpointError) {
    var output = OutputFiles()
    output.add("\(folder)/train.json", json(outcome, end: end).document)
    try output.write()
  }

  private func json(_ outcome: Outcome, end: Moment) -> ReportJSON {
    .members([
      "version": .text(packageVersion),
      "command": .texts(command),
      "outcome": .text(outcome.rawValue),
      "seed": ReportJSON(seed: options.seed),
      "precision": .text(options.precision.rawValue),
      "threads": .integer(options.threads),
      "start": .text(RunRecord.time(start.date)),
      "end": .text(RunRecord.time(end.date)),
      "seconds": .number(end.seconds(since: start)),
      "model": .text(description.model),
      "loss": .text(description.loss),
      "trainable_parameters": .integer(description.trainableParameters),
      "recipe": .text(options.recipe?.name),
      "optimizer": optimizer,
      "epochs": .integer(options.epochs),
      "first_epoch": .integer(firstEpoch),
      "first_step": .integer(firstStep),
      "batch_size": .integer(batchSize),
      "validation": validation,
      "files": .list(files.map(\.json)),
      "machine": Machine.current.json,
    ])
  }

  /// What the optimiser does not have is null.
  private var optimizer: ReportJSON {
    let it = options.optimizer
    func number(_ value: Double?, _ setting: OptimizerKind.Setting) -> ReportJSON {
      .number(it.kind.settings.contains(setting) ? value : nil)
    }
    let hasMomentum = it.kind.settings.contains(.momentum)
    return .members([
      "name": .text(it.kind.rawValue),
      "learning_rate": .number(it.learningRate),
      "schedule": .text(it.schedule.rawValue),
      "normalized": .bool(it.isNormalized),
      "weight_decay": number(it.weightDecay, .weightDecay),
      "momentum": number(it.momentum, .momentum),
      "nesterov": hasMomentum ? .bool(it.isNesterov) : .text(nil),
      "beta1": number(it.betas.0, .moments),
      "beta2": number(it.betas.1, .moments),
      "epsilon": number(it.epsilon, .epsilon),
      "decay_rate": number(it.decayRate, .factoredMoment),
      "clip_threshold": number(it.clipThreshold, .factoredMoment),
      "reduction": .text(it.kind.settings.contains(.reduction) ? it.reduction.rawValue : nil),
      "damping": .text(it.kind.settings.contains(.damping) ? it.damping.text : nil),
      "mc_samples": .integer(it.kind.settings.contains(.draws) ? it.monteCarloSamples : nil),
      "drop_duplicates": number(it.dropDuplicates, .dropDuplicates),
    ])
  }

  private var validation: ReportJSON {
    switch options.validation {
    case .none: .text(nil)
    case .file(let path): .text(path)
    case .share(let share): .number(share)
    }
  }
}
