import Curvature
import HessianFree
import TensorModule

// What the numbers of a batch and its dampings can do to a solve is a result with a reason, not an error:
// the other rows of the batch are as good as ever.

extension Error {
  /// Whether numbers have left the range of double, or what they left of a matrix has no
  /// factorisation. A gradient that is not finite does not count: then nothing can be scored.
  var isOfNumbers: Bool {
    let cause = self as? SolveError ?? (self as? LinearAlgebraError).map(SolveError.linearAlgebra)
    if case .nonFinite(.rightHandSide, _, _)? = cause { return false }
    return cause.map { BatchFailure.kind(of: $0) == .numbers } ?? false
  }
}

extension BatchProblem {
  /// mu in the units of `F / phi`, phi near the largest entry of H; `nil` where it is no number.
  func scaled(damping mu: Double, metric: OutputMetric = .fisher) -> Double? {
    if mu == 0 { return 0 }
    let scaled = mu / (output.curvatureUnit(metric) ?? 1)
    return scaled.isFinite ? scaled : nil
  }
}
