import Checkpoints
import HessianFree
import TensorModule

/// What can go wrong in an evaluation whose files are well-formed, and the errors below it.
public enum EvaluationError: Error, Sendable {
  /// A file is missing, damaged, or does not say what its model needs.
  case checkpoint(CheckpointError)
  /// A solver of linear systems came to no result.
  case solve(SolveError)
  /// A factorisation came to no result.
  case linearAlgebra(LinearAlgebraError)
  /// Either of the two on a batch.
  case batch(BatchFailure)
  /// More memory is needed than is allowed; nothing has been computed.
  case memory(MemoryShortage)
  /// `isDouble`: what double precision cannot hold either.
  case nonFiniteLogits(checkpoint: String, sample: Int, value: Double, isDouble: Bool = false)
  /// The checkpoint carries no samples, and no data file is given.
  case missingBatch(checkpoint: String)
  /// A batch of more samples than the file has.
  case batchTooLarge(requested: Int, available: Int, file: String)
  /// `files` are where updates were looked for.
  case unknownUpdate(name: String, known: [String], files: [String])
  /// One file of updates for several checkpoints.
  case sharedUpdate(Setting, file: String, checkpoints: Int)
  /// The files of a series do not belong to its checkpoints one by one.
  case series(SeriesError)
  /// Folders are not the shards of one run, or not all of them.
  case merge(MergeError)
  /// Two updates of one name, and the files that they are in.
  case duplicateUpdate(name: String, first: String, second: String)
  /// More Monte-Carlo labels per sample are asked for than the file carries.
  case notEnoughDraws(requested: Int, stored: Int, file: String)
  /// The gradient is zero, so that there is no natural gradient to find.
  case noReferenceGradient(checkpoint: String)
  /// A pattern of the options, not of the file.
  case noSuchParameter(
    of: Setting = .trainable, pattern: String, near: [String], checkpoint: String)
  /// The patterns of the options name nothing but stored statistics.
  case nothingTrainable(patterns: [String], checkpoint: String)
  /// No weight may be removed: by these patterns, or without any by what layers there are.
  case nothingToPrune(patterns: [String], checkpoint: String)
  /// Gradients of these samples that leave nothing of the Fisher matrix of a method and its damping.
  case noFisherMatrix(method: String, damping: String, checkpoint: String)
  /// The journal of the folder is in the way.
  case journal(JournalError)
  /// A share that holds out no sample, or all.
  case noSplit(share: Double, samples: Int, file: String)
  /// A model that is not finite on its data before the first step of training.
  case startOverflows(reason: String, checkpoint: String)
  /// Training met a number that is not finite; `folder` has the checkpoints up to `lastEpoch`.
  case diverged(step: Int, reason: String, lastEpoch: Int, folder: String)
}

extension EvaluationError: ExplainedError {
  public var message: ErrorMessage {
    switch self {
    case .checkpoint(let error): error.message
    case .memory(let shortage): shortage.message
    case .batch(let failure): failure.message
    case .solve(let error): BatchFailure.message(error, at: nil, reference: nil)
    case .linearAlgebra(let error):
      BatchFailure.message(.linearAlgebra(error), at: nil, reference: nil)
    case .journal(let error): error.message
    case .nonFiniteLogits(let checkpoint, let sample, let value, let isDouble):
      ErrorMessage(
        "the logits of sample \(sample) contain \(value)", at: SettingText(checkpoint),
        [
          "The network overflows on this input: check the weights"
            + (isDouble ? "." : ", or use \(.precision) float64.")
        ])
    case .missingBatch(let checkpoint):
      ErrorMessage(
        "the checkpoint carries no batch", at: SettingText(checkpoint),
        ["Give a file with inputs and labels as \(.data), or save batch.inputs and batch.labels."])
    case .batchTooLarge(let requested, let available, let file):
      ErrorMessage(
        "a batch of \(requested) samples was asked for, and there are \(available)",
        at: SettingText(file),
        ["Give \(.batchSize) \(available) or less."])
    case .unknownUpdate(let name, let known, let files):
      ErrorMessage(
        "there is no update \(name)", at: SettingText(files.joined(separator: ", ")),
        [
          "Known are: \(known.isEmpty ? "none" : known.joined(separator: ", ")). "
            + "Updates come from tensors updates.<name>.<parameter> or from \(.updates) FILE."
        ])
    case .sharedUpdate(let setting, let file, let checkpoints):
      ErrorMessage(
        "one file for \(checkpoints) checkpoints", at: "\(setting) \(file)",
        [
          "It belongs to one of them. Give one for each checkpoint, in their order, or a pattern "
            + "with {epoch}, {step}, {name} or {checkpoint}."
        ])
    case .series(let error): error.message
    case .merge(let error): error.message
    case .duplicateUpdate(let name, let first, let second):
      ErrorMessage(
        "two updates have the name \(name)",
        at: SettingText(first + (first == second ? "" : " and " + second)),
        ["A file with one direction gives it its own name: rename the file or the update."])
    case .notEnoughDraws(let requested, let stored, let file):
      ErrorMessage(
        "\(requested) Monte-Carlo labels per sample were asked for, and the file carries \(stored)",
        at: "\(file), tensor sampled_labels", ["Leave out \(.mcSamples) or the tensor."])
    case .noSuchParameter(let setting, let pattern, let near, let checkpoint):
      ErrorMessage(
        "\(setting) \(pattern) matches no parameter", at: SettingText(checkpoint),
        [SettingText(didYouMean(near) ?? "eval-cli inspect lists the parameters.")])
    case .nothingTrainable(let patterns, let checkpoint):
      ErrorMessage(
        "\(.trainable) \(patterns.joined(separator: " ")) leaves nothing to train",
        at: SettingText(checkpoint),
        [
          "Stored statistics of batch_norm2d are never trained; eval-cli inspect says which these "
            + "are."
        ])
    case .nothingToPrune(let patterns, let checkpoint):
      ErrorMessage(
        patterns.isEmpty
          ? "no linear layer or convolution has a trainable weight"
          : "\(.weights) \(patterns.joined(separator: " ")) leaves nothing to remove",
        at: SettingText(checkpoint),
        [
          patterns.isEmpty
            ? "Name tensors that may lose weights by \(.weights), or train others by \(.trainable)."
            : "Only trainable parameters can be removed; eval-cli inspect says which these are."
        ])
    case .noFisherMatrix(let method, let damping, let checkpoint):
      ErrorMessage(
        "the Fisher matrix of \(method) with the damping \(damping) has no inverse",
        at: SettingText(checkpoint),
        [
          "The gradients of these samples are zero, or the damping is beyond the range of numbers: use "
            + "other samples or another \(.damping), or the method magnitude."
        ])
    case .noSplit(let share, let samples, let file):
      ErrorMessage(
        "a share of \(share) of \(samples) samples leaves nothing to train on or nothing to watch",
        at: SettingText(file), ["Give \(.holdOut) another share, or a file as \(.validation)."])
    case .startOverflows(let reason, let checkpoint):
      ErrorMessage(
        "before the first step \(reason)", at: SettingText(checkpoint),
        [
          "The network overflows on these samples: check weights and data, or use \(.precision) "
            + "float64."
        ])
    case .diverged(let step, let reason, let lastEpoch, let folder):
      ErrorMessage(
        "training diverged at step \(step): \(reason)", at: SettingText(folder),
        [
          "Checkpoints up to epoch \(lastEpoch) are kept, steps.csv has the steps up to there. Try "
            + "a smaller \(.learningRate); for ef, ief and sf also a larger \(.damping) or \(.normalize)."
        ])
    case .noReferenceGradient(let checkpoint):
      ErrorMessage(
        "the gradient of this batch is zero: no direction is distinguished",
        at: SettingText(checkpoint))
    }
  }
}

/// Runs what throws a more special error, and wraps it.
func evaluating<Result>(
  _ body: () throws -> Result
) throws(EvaluationError) -> Result {
  do {
    return try body()
  } catch let error as EvaluationError {
    throw error
  } catch let error as CheckpointError {
    throw .checkpoint(error)
  } catch let error as SolveError {
    throw .solve(error)
  } catch let error as LinearAlgebraError {
    throw .linearAlgebra(error)
  } catch let error as JournalError {
    throw .journal(error)
  } catch let error as MergeError {
    throw .merge(error)
  } catch let error as SeriesError {
    throw .series(error)
  } catch {
    preconditionFailure("unforeseen error \(error)")
  }
}
