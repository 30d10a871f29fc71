import TensorModule

/// A symmetric positive definite `M^-1` known only by its products.
///
/// On a singular system a preconditioner changes which solution is found: the one of least
/// `x^T M x` in place of the one of least `|x|`.
public protocol Preconditioner<Scalar> {
  /// Of its vectors.
  associatedtype Scalar: EngineScalar

  /// P
  var dimension: Int { get }

  /// `z = M^-1 r`
  func apply(_ r: Vector<Scalar>, into z: Vector<Scalar>) throws(SolveError)
}

// MARK: -

/// `M = diag(d) + mu I`
public struct JacobiPreconditioner<Scalar: EngineScalar>: Preconditioner {
  private let inverse: Vector<Scalar>
  private let operations: VectorOperations<Scalar>

  /// - Parameters:
  ///   - diagonal: `[P]`, the diagonal of the operator or an estimate of it, not negative.
  ///   - damping: mu, not negative.
  /// - Throws: `SolveError.invalidPreconditioner` naming the first entry that is negative or not
  ///   finite. An entry of zero is taken as one: its row of the operator is zero, and so is every
  ///   residual there.
  public init(
    diagonal: Vector<Scalar>, damping: Double = 0, operations: VectorOperations<Scalar>
  ) throws(SolveError) {
    precondition(damping >= 0 && damping.isFinite, "JacobiPreconditioner: damping \(damping)")
    inverse = Vector(count: diagonal.count)
    self.operations = operations
    for index in 0..<diagonal.count {
      let entry = Double(diagonal.pointer[index])
      guard entry >= 0 && entry.isFinite else {
        throw .invalidPreconditioner(index: index, entry: entry)
      }
      let damped = entry + damping
      let reciprocal = Scalar(damped == 0 ? 1 : 1 / damped)
      inverse.pointer[index] = reciprocal.isFinite ? reciprocal : Scalar.greatestFiniteMagnitude
    }
  }

  public var dimension: Int { inverse.count }

  public func apply(_ r: Vector<Scalar>, into z: Vector<Scalar>) throws(SolveError) {
    operations.multiply(inverse, r, into: z)
  }
}
