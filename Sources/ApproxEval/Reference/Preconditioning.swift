import Curvature
import HessianFree
import TensorModule
import Updates

/// Makes the preconditioner of a batch; what does not depend on the damping is made once.
final class Preconditioning<S: EngineScalar> {
  private let kind: PreconditionerKind
  private let seed: UInt64
  private let batch: Int
  private var diagonal: Vector<Double>?

  /// Sampled labels of `sf`.
  static var draws: Int { 4 }

  init(_ kind: PreconditionerKind, seed: UInt64, batch: Int) {
    self.kind = kind
    self.seed = seed
    self.batch = batch
  }

  /// For `F + mu I`. Only the direction of `M^-1 r` matters, so no one unit is kept to.
  func make(
    _ problem: BatchProblem<S>, damping mu: Double
  ) throws(SolveError) -> (any Preconditioner<S>)? {
    switch kind {
    case .none: return nil
    case .sf:
      return try SampledFisherPreconditioner(
        problem.linearization, problem.output, draws: Self.draws, seed: seed, batch: batch,
        damping: mu, operations: problem.operations)
    case .jacobi:
      let phi = problem.output.curvatureUnit(.fisher) ?? 1
      let exact = diagonal ?? self.diagonal(problem, unit: phi)
      diagonal = exact
      let damping = min(mu / phi, .greatestFiniteMagnitude)
      let largest = max(Kernels.largest(exact.pointer, count: exact.count), damping)
      guard largest.isFinite else {
        throw .nonFinite(
          .preconditioned, iteration: 0,
          index: Kernels.firstNonFinite(exact.pointer, count: exact.count))
      }
      // In units of the largest, so that neither an entry nor its reciprocal leaves the range of S.
      let unit = powerOfTwo(near: largest)
      let scaled = Vector<S>(count: exact.count)
      // Parameters that hardly any output depends on would otherwise get steps without bounds: a
      // thousandth of the mean keeps M^-1 within the digits of single precision.
      var sum = 0.0
      for i in 0..<exact.count {
        scaled.pointer[i] = S(exact.pointer[i] / unit)
        sum += Double(scaled.pointer[i])
      }
      let floor = 1e-3 * sum / Double(max(exact.count, 1))
      return try JacobiPreconditioner(
        diagonal: scaled, damping: floor + damping / unit, operations: problem.operations)
    }
  }

  /// The diagonal of `F / unit`.
  private func diagonal(_ problem: BatchProblem<S>, unit: Double) -> Vector<Double> {
    problem.linearization.fisherDiagonal(problem.output, unit: unit) {
      problem.output.sampledGradients(draws: $0, seed: seed, batch: batch)
    }
  }
}
