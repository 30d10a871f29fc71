import TensorModule

/// One step of a training run.
public struct TrainingStep: Sendable, Equatable {
  /// From 1, or counting on from the start.
  public let step: Int
  /// The epoch that it belongs to, likewise.
  public let epoch: Int
  /// Of the mini-batch.
  public let samples: Int
  /// Mean loss over the scored positions of the mini-batch, before the step.
  public let loss: Double
  /// By the schedule.
  public let learningRate: Double
  /// `|theta_after - theta_before|_2`
  public let updateNorm: Double
  /// Of the step.
  public let seconds: Double
}

/// The state of a model after an epoch; the first is the start.
public struct TrainingEpoch: Sendable, Equatable {
  /// For the start that of its checkpoint, 0 where it has none.
  public let epoch: Int
  /// Steps that have been made, those before the start with it.
  public let step: Int
  /// Of the model as it is at the end of the epoch, over all samples that are trained on.
  public let training: Measure
  /// Over those that are watched.
  public let validation: Measure?
  /// The file, if the epoch was saved.
  public let checkpoint: String?
  /// Of the epoch's steps, without measuring and saving.
  public let seconds: Double

  /// What the model is worth on some samples.
  public typealias Measure = LossMeasure
}

extension ReportTable {
  /// steps.csv
  static func steps(_ steps: [TrainingStep]) -> ReportTable {
    var table = ReportTable(
      name: "steps",
      columns: ["step", "epoch", "samples", "loss", "learning_rate", "update_norm", "seconds"])
    for step in steps {
      table.append([
        .integer(step.step), .integer(step.epoch), .integer(step.samples), .number(step.loss),
        .number(step.learningRate), .number(step.updateNorm), .number(step.seconds),
      ])
    }
    return table
  }

  /// epochs.csv
  static func epochs(_ epochs: [TrainingEpoch]) -> ReportTable {
    var table = ReportTable(
      name: "epochs",
      columns: [
        "epoch", "step", "train_loss", "train_accuracy", "validation_loss", "validation_accuracy",
        "checkpoint", "seconds",
      ])
    for epoch in epochs {
      table.append([
        .integer(epoch.epoch), .integer(epoch.step), .number(epoch.training.loss),
        .number(epoch.training.accuracy), .number(epoch.validation?.loss),
        .number(epoch.validation?.accuracy), .text(epoch.checkpoint), .number(epoch.seconds),
      ])
    }
    return table
  }
}
