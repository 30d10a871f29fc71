import Checkpoints
import HessianFree
import TensorModule

/// What can go wrong in an evaluation whose files are well-formed, and the errors below it.
public enum EvaluationError: Error, Sendable {
  case checkpoint(CheckpointError)
  case solve(SolveError)
  case linearAlgebra(LinearAlgebraError)
  case nonFiniteLogits(checkpoint: String, sample: Int, value: Double)
  case missingBatch(checkpoint: String)
  case batchTooLarge(requested: Int, available: Int, file: String)
  /// `files` are where updates were looked for.
  case unknownUpdate(name: String, known: [String], files: [String])
  /// One file of an option for several checkpoints.
  case sharedUpdate(option: String, file: String, checkpoints: Int)
  /// Two updates of one name, and the files that they are in.
  case duplicateUpdate(name: String, first: String, second: String)
  case notEnoughDraws(requested: Int, stored: Int, file: String)
  case noReferenceGradient(checkpoint: String)
  /// A pattern of the options, not of the file.
  case noSuchParameter(pattern: String, near: [String], checkpoint: String)
  /// The patterns of the options name nothing but stored statistics.
  case nothingTrainable(patterns: [String], checkpoint: String)
  case journal(JournalError)
  /// A share that holds out no sample, or all.
  case noSplit(share: Double, samples: Int, file: String)
  /// A model that is not finite on its data before the first step of training.
  case startOverflows(reason: String, checkpoint: String)
  /// Training met a number that is not finite; `folder` has the checkpoints up to `lastEpoch`.
  case diverged(step: Int, reason: String, lastEpoch: Int, folder: String)
}

extension EvaluationError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .checkpoint(let error): return error.description
    case .solve(.memory(let required, let budget)):
      return """
        the dense reference needs \(bytes(required)), and \(bytes(budget)) are allowed
          at --reference dense
          Use --reference cg, fewer samples (--batch-size), or allow more (--memory).
        """
    case .solve(let error): return error.description
    case .linearAlgebra(let error): return error.description
    case .journal(let error): return error.description
    case .nonFiniteLogits(let checkpoint, let sample, let value):
      return """
        the logits of sample \(sample) contain \(value)
          at \(checkpoint)
          The network overflows on this input: check the weights, or use --precision float64.
        """
    case .missingBatch(let checkpoint):
      return """
        the checkpoint carries no batch
          at \(checkpoint)
          Give a file with inputs and labels as --data, or save batch.inputs and batch.labels.
        """
    case .batchTooLarge(let requested, let available, let file):
      return """
        a batch of \(requested) samples was asked for, and there are \(available)
          at \(file)
          Give --batch-size \(available) or less.
        """
    case .unknownUpdate(let name, let known, let files):
      return """
        there is no update \(name)
          at \(files.joined(separator: ", "))
          Known are: \(known.isEmpty ? "none" : known.joined(separator: ", ")). \
        Updates come from tensors updates.<name>.<parameter> or from --updates FILE.
        """
    case .sharedUpdate(let option, let file, let checkpoints):
      return """
        one file for \(checkpoints) checkpoints
          at \(option) \(file)
          It belongs to one of them: score each checkpoint with its own.
        """
    case .duplicateUpdate(let name, let first, let second):
      return """
        two updates have the name \(name)
          at \(first)\(first == second ? "" : " and \(second)")
          A file with one direction gives it its own name: rename the file or the update.
        """
    case .notEnoughDraws(let requested, let stored, let file):
      return """
        \(requested) Monte-Carlo labels per sample were asked for, and the file carries \(stored)
          at \(file), tensor sampled_labels
          Leave out --mc-samples or the tensor.
        """
    case .noSuchParameter(let pattern, let near, let checkpoint):
      return """
        --trainable \(pattern) matches no parameter
          at \(checkpoint)
          \(near.isEmpty
            ? "eval-cli inspect lists the parameters." : "Did you mean \(near.joined(separator: " or "))?")
        """
    case .nothingTrainable(let patterns, let checkpoint):
      return """
        --trainable \(patterns.joined(separator: " ")) leaves nothing to train
          at \(checkpoint)
          Stored statistics of batch_norm2d are never trained; eval-cli inspect says which these are.
        """
    case .noSplit(let share, let samples, let file):
      return """
        a share of \(share) of \(samples) samples leaves nothing to train on or nothing to watch
          at \(file)
          Give --hold-out another share, or a file as --validation.
        """
    case .startOverflows(let reason, let checkpoint):
      return """
        before the first step \(reason)
          at \(checkpoint)
          The network overflows on these samples: check weights and data, or use --precision float64.
        """
    case .diverged(let step, let reason, let lastEpoch, let folder):
      return """
        training diverged at step \(step): \(reason)
          at \(folder)
          Checkpoints up to epoch \(lastEpoch) are kept, steps.csv has the steps up to there. Try a \
        smaller --learning-rate; for ef, ief and sf also a larger --damping or --normalize.
        """
    case .noReferenceGradient(let checkpoint):
      return """
        the gradient of this batch is zero: no direction is distinguished
          at \(checkpoint)
        """
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
  } catch {
    preconditionFailure("unforeseen error \(error)")
  }
}
