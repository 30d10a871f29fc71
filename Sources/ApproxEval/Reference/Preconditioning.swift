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

  /// Up to so many cotangents per sample the diagonal of F is exact, at a backward pass and a product
  /// of squares each.
  private static var exactLimit: Int { 64 }
  /// Otherwise from so many sampled labels, as many as `sf` has.
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
    let (linearization, output) = (problem.linearization, problem.output)
    let total = Vector<Double>(count: linearization.parameterCount)
    let operations = VectorOperations<Double>(pool: linearization.pool, count: total.count)
    let root = unit.squareRoot()
    if output.positions * output.rootRank <= Self.exactLimit {
      // Class by class: the rows of one class at a time are all that is kept.
      for position in 0..<output.positions {
        for column in 0..<output.rootRank {
          let rows = linearization.perSampleGradients(
            draws: 1, scales: output.rootSizes(column, position: position)
          ) { chunk, cotangents in
            output.writeFullRankColumn(column, position: position, chunk: chunk, to: cotangents)
          }
          operations.axpby(1, rows.summedSquares(unit: root), 1, total)
        }
      }
      return total
    }
    for sampled in output.sampledGradients(draws: Self.draws, seed: seed, batch: batch) {
      let norms = output.norms(sampled).map { $0 >= .leastNormalMagnitude ? $0 : 1 }
      let rows = linearization.perSampleGradients(draws: 1, scales: norms) { chunk, cotangents in
        norms.withUnsafeBufferPointer {
          output.write(sampled, chunk: chunk, units: $0.baseAddress!, to: cotangents)
        }
      }
      let weight = 1 / Double(Self.draws)
      operations.axpby(weight, rows.summedSquares(unit: root), 1, total)
    }
    return total
  }
}
