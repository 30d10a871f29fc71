import Checkpoints
import HessianFree
import TensorModule

/// Linear algebra that came to no result on a batch: where, and what to do about it.
public struct BatchFailure: Error, Sendable {
  /// What the linear algebra says.
  public var cause: SolveError
  /// The checkpoint that was scored.
  public var checkpoint: String
  /// The number of the batch.
  public var batch: Int
  /// The solver that the options ask for.
  public var reference: ReferenceMethod

  /// With all of its parts.
  public init(cause: SolveError, checkpoint: String, batch: Int, reference: ReferenceMethod) {
    self.cause = cause
    self.checkpoint = checkpoint
    self.batch = batch
    self.reference = reference
  }

  /// What may be done about it.
  public enum Kind: Sendable {
    /// The options ask for more than there is room for.
    case tooLarge
    /// The system has less than the options allow.
    case exhausted
    /// The numbers of the checkpoint or batch are beyond what the arithmetic can hold.
    case numbers
    /// Neither: a mistake in this package.
    case mistake
  }

  /// The kind that a cause is of.
  public static func kind(of cause: SolveError) -> Kind {
    switch cause {
    case .memory, .linearAlgebra(.tooLarge): .tooLarge
    case .linearAlgebra(.outOfMemory): .exhausted
    case .nonFinite, .preconditionerNotPositive, .invalidPreconditioner,
      .linearAlgebra(.nonFinite), .linearAlgebra(.notConverged),
      .linearAlgebra(.notPositiveDefinite):
      .numbers
    case .dimensionMismatch, .notPositiveSemidefinite, .operatorFailed: .mistake
    }
  }
}

extension BatchFailure: ExplainedError {
  public var message: ErrorMessage {
    Self.message(cause, at: "\(checkpoint), batch \(batch)", reference: reference)
  }

  static func message(
    _ cause: SolveError, at place: SettingText?, reference: ReferenceMethod?
  ) -> ErrorMessage {
    ErrorMessage(sentence(cause, reference), at: place, [advice(cause)].compactMap { $0 })
  }

  private static func advice(_ cause: SolveError) -> SettingText? {
    switch kind(of: cause) {
    case .tooLarge:
      "Use fewer samples (\(.batchSize)), fewer draws (\(.mcSamples)) or \(.reference) cg, or allow "
        + "more (\(.memory))."
    case .exhausted:
      "Use fewer samples (\(.batchSize)), or a smaller \(.memory), which then says what fits."
    case .numbers:
      "Look for extreme weights or inputs; \(.precision) float64 or a larger \(.damping) may do."
    case .mistake: nil
    }
  }

  private static func sentence(_ cause: SolveError, _ reference: ReferenceMethod?) -> SettingText {
    switch cause {
    case .memory(let required, let budget):
      (reference.map { "\(.reference) \($0.name)" } ?? "a dense solve")
        + " needs \(bytes(required)), and \(bytes(budget)) are allowed"
    case .linearAlgebra(.nonFinite(let offset)):
      "a matrix of products of gradients holds NaN or infinity, first at entry \(offset)"
    case .linearAlgebra(.tooLarge): "a matrix has more rows or columns than LAPACK can count"
    case .linearAlgebra(.outOfMemory): "the system has no memory left for a factorisation"
    default: SettingText(cause.description)
    }
  }
}

/// Runs the computation of a batch; where linear algebra fails, the error says on which.
func inBatch<Result>(
  _ batch: Int, of checkpoint: String, _ options: EvaluationOptions, _ body: () throws -> Result
) throws -> Result {
  func failure(_ cause: SolveError) -> EvaluationError {
    .batch(
      BatchFailure(
        cause: cause, checkpoint: checkpoint, batch: batch, reference: options.reference))
  }
  do {
    return try body()
  } catch let error as SolveError {
    throw failure(error)
  } catch let error as LinearAlgebraError {
    throw failure(.linearAlgebra(error))
  } catch EvaluationError.solve(let error) {
    throw failure(error)
  } catch EvaluationError.linearAlgebra(let error) {
    throw failure(.linearAlgebra(error))
  }
}
