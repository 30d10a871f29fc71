import TensorModule

/// Why a solve has no result. Limits and flat curvature are results, not errors: see `StopReason`.
public enum SolveError: Error, Equatable, Sendable {
  /// What was found not to be finite.
  public enum Operand: String, Equatable, Sendable {
    /// What is solved for.
    case rightHandSide = "right-hand side b"
    /// Of the operator with a direction.
    case product = "product A v"
    /// The curvature along a direction.
    case quadraticForm = "quadratic form v^T A v"
    /// What is left of the right-hand side.
    case residual = "residual r"
    /// What the preconditioner made of the residual.
    case preconditioned = "preconditioned residual z"
    /// Of a dense solve.
    case matrix = "matrix B"
  }

  /// Vectors or matrices of sizes that do not go together.
  case dimensionMismatch(what: String, found: Int, expected: Int)
  /// - Parameters:
  ///   - iteration: From 1; 0 before the first.
  ///   - index: Of the first such element; `nil` if all are finite but their sum is not.
  case nonFinite(Operand, iteration: Int, index: Int?)
  /// The operator does not declare itself positive semi-definite.
  case notPositiveSemidefinite
  /// `r^T M^-1 r` is not positive although `r` is not zero.
  case preconditionerNotPositive(value: Double, iteration: Int)
  /// An entry of a diagonal preconditioner is negative or not finite.
  case invalidPreconditioner(index: Int, entry: Double)
  /// A dense solve would need more memory than it was given, in bytes.
  case memory(required: Int, budget: Int)
  /// A factorisation that came to no result.
  case linearAlgebra(LinearAlgebraError)
  /// The operator or preconditioner could not form its product, in its own words.
  case operatorFailed(reason: String)
}

extension SolveError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .dimensionMismatch(let what, let found, let expected):
      return "\(what) has dimension \(found), expected \(expected)"
    case .nonFinite(let operand, let iteration, let index):
      let place = iteration == 0 ? "before the first iteration" : "in iteration \(iteration)"
      let element = index.map { ", first at element \($0)" } ?? ": its sum of squares overflows"
      return "NaN or infinity in the \(operand.rawValue) \(place)\(element)"
    case .notPositiveSemidefinite:
      return "conjugate gradients need an operator that is positive semi-definite, and this one "
        + "does not declare it"
    case .preconditionerNotPositive(let value, let iteration):
      return "the preconditioner is not positive definite: r^T M^-1 r = \(value) in iteration "
        + "\(iteration); add damping to it or leave it out"
    case .invalidPreconditioner(let index, let entry):
      return "entry \(index) of the diagonal preconditioner is \(entry); entries must be finite "
        + "and not negative"
    case .memory(let required, let budget):
      return "the dense solve needs \(required) bytes and may use \(budget)"
    case .linearAlgebra(let error):
      return error.description
    case .operatorFailed(let reason):
      return "the operator could not form its product: \(reason)"
    }
  }
}
