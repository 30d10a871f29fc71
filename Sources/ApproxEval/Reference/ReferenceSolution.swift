import Checkpoints
import Curvature
import HessianFree
import TensorModule
import Updates

/// A natural-gradient direction with what is known of it.
package struct ReferenceSolution<S: EngineScalar> {
  package let form: DirectionForm<S>
  package var record: ReferenceRecord
  package let trace: [TraceRow]
  /// Whether gamma of the record comes from double precision, of which the direction is a rounding.
  package let isInDouble: Bool
  /// Its indicator with `J x`, where the solver has formed them.
  var halves: BatchProblem<S>.Halves?
  /// Whether there is none: the damping, or what it takes to solve, is beyond the range of numbers.
  package private(set) var overflows = false
  /// Whether that is for want of range in the arithmetic of the solve.
  package private(set) var overflowsInEngine = false

  package init(
    form: DirectionForm<S>, record: ReferenceRecord, trace: [TraceRow], isInDouble: Bool = false
  ) {
    self.form = form
    self.record = record
    self.trace = trace
    self.isInDouble = isInDouble
  }

  package init(
    direction: ScaledVector<S>, record: ReferenceRecord, trace: [TraceRow],
    isInDouble: Bool = false
  ) {
    self.init(
      form: .explicit(direction), record: record, trace: trace, isInDouble: isInDouble)
  }

  /// The vector itself, formed at every call where it is not kept.
  package var direction: ScaledVector<S> { form.vector() }

  /// As the row of a method.
  func direction(damping: Damping? = nil, lambda: Double? = nil) -> Direction<S> {
    if overflows {
      return .beyondNumbers(
        damping: damping, count: direction.vector.count,
        isOfEngine: overflowsInEngine)
    }
    return Direction(damping: damping, lambda: lambda, form: form)
  }
}

extension ReferenceSolution {
  /// Why a solver finds no direction.
  enum Obstacle {
    /// g lies in the range of F and yet nothing of F is left.
    case certainty
    /// The solver needs a w that no number is large enough for.
    case missedLabel
    /// Numbers have left their range on the way, that of the engine's arithmetic or that of double.
    case overflow(isOfEngine: Bool)

    var stop: String {
      switch self {
      case .certainty, .missedLabel: "underflow"
      case .overflow: "overflow"
      }
    }

    var explanation: SettingText {
      switch self {
      case .certainty:
        "The model is so sure of every sample that the probabilities of all other classes are below "
          + "1e-308."
      case .missedLabel:
        "The model gives a label a probability below 1e-308, and this solver starts from its "
          + "inverse; \(.reference) cg does not."
      case .overflow:
        "The damping, or products with F, are beyond the range of double: use a smaller damping, "
          + "or look for extreme weights or inputs."
      }
    }
  }

  /// Of a gradient that is zero.
  static func zero(_ problem: BatchProblem<S>, by kind: ReferenceMethod) -> ReferenceSolution {
    let record = ReferenceRecord(
      kind: kind, gamma: .nan, iterations: nil, residual: 0,
      stop: ReferenceStatus.zeroGradient.rawValue,
      explanation: SettingText(StopReason.zeroRightHandSide.description), status: .zeroGradient)
    let zero = Vector<S>(count: problem.linearization.parameterCount)
    return ReferenceSolution(
      direction: ScaledVector(vector: zero, scale: 1), record: record, trace: [])
  }

  /// There is no direction.
  static func none(
    _ problem: BatchProblem<S>, by kind: ReferenceMethod, _ obstacle: Obstacle
  ) -> ReferenceSolution {
    let record = ReferenceRecord(
      kind: kind, gamma: .nan, iterations: kind.isIterative ? 0 : nil, residual: 1,
      stop: obstacle.stop, explanation: obstacle.explanation, status: .notConverged)
    let zero = Vector<S>(count: problem.linearization.parameterCount)
    var solution = ReferenceSolution(
      direction: ScaledVector(vector: zero, scale: 1), record: record, trace: [])
    if case .overflow(let isOfEngine) = obstacle {
      solution.overflows = true
      solution.overflowsInEngine = isOfEngine
    }
    return solution
  }
}
