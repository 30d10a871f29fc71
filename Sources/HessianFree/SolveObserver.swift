import TensorModule

/// What the quadratic model `x^T A x / 2 - x^T b` has to say of an iterate.
public struct ModelTerms: Equatable, Sendable {
  /// `x^T b`
  public var linear: Double
  /// `x^T A x`; of LSQR `|B x|^2`, without its damping.
  public var quadratic: Double
  /// Its root; where there is a `B x`, taken without the square.
  public var norm: Double

  static let zero = ModelTerms(0, 0)

  init(_ linear: Double, _ quadratic: Double) {
    self.init(linear: linear, quadratic: quadratic, norm: quadratic.squareRoot())
  }

  init(linear: Double, quadratic: Double, norm: Double) {
    (self.linear, self.quadratic, self.norm) = (linear, quadratic, norm)
  }

  /// `(x^T b)^2 / x^T A x`: twice the decrease of the model that the best multiple of x reaches, which
  /// conjugate gradients increase step by step.
  var gain: Double { gainAlong(linear, quadratic) }
}

func gainAlong(_ xb: Double, _ quadratic: Double) -> Double {
  quadratic > 0 ? xb / quadratic * xb : 0
}

/// One step of a solve.
public struct SolveStep: Equatable, Sendable {
  /// From 1.
  public var iteration: Int
  /// `|r| / |b|`, r from the recurrence.
  public var relativeResidual: Double
  /// What the quadratic model says of the iterate.
  public var terms: ModelTerms
  /// Since the start of the solve.
  public var seconds: Double
}

/// Why an observer ends a solve.
public struct ObserverStop: Equatable, Sendable {
  /// One word.
  public var label: String
  /// A sentence.
  public var description: String

  /// With both of its parts.
  public init(label: String, description: String) {
    (self.label, self.description) = (label, description)
  }
}

/// Who watches a solve step by step, and may end it: what an iterate is worth beyond the system that
/// it solves, the solver does not know.
public protocol SolveObserver<Scalar> {
  /// Of the solver's vectors.
  associatedtype Scalar: EngineScalar

  /// Called after every step, before the solver's own tests.
  ///
  /// - Parameter x: The iterate, which changes afterwards: to be copied, not kept.
  /// - Returns: Why it is all that was wanted; `nil` if it is not.
  func accept(_ step: SolveStep, _ x: Vector<Scalar>) -> ObserverStop?

  /// Asked where the solver would go on from a step without starting again.
  ///
  /// - Returns: Why that is not worth it; `nil` if it is.
  func abandon(_ step: SolveStep) -> ObserverStop?
}

extension SolveObserver {
  public func abandon(_ step: SolveStep) -> ObserverStop? { nil }
}
