import Curvature
import HessianFree
import TensorModule
import Updates

/// Makes the preconditioner of a batch; what does not depend on the damping is made once.
final class Preconditioning<S: EngineScalar> {
  private let kind: PreconditionerKind
  private let seed: UInt64
  private let batch: Int
  private var diagonal: Vector<S>?

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
      let diagonal = diagonal ?? self.diagonal(problem, unit: phi)
      self.diagonal = diagonal
      // Parameters that hardly any output depends on would otherwise get steps without bounds: a
      // thousandth of the mean keeps M^-1 within the digits of single precision.
      var sum = 0.0
      for i in 0..<diagonal.count { sum += Double(diagonal.pointer[i]) }
      let floor = 1e-3 * sum / Double(max(diagonal.count, 1))
      guard floor.isFinite else {
        let index = Kernels.firstNonFinite(UnsafePointer(diagonal.pointer), count: diagonal.count)
        throw .invalidPreconditioner(index: index ?? 0, entry: floor)
      }
      return try JacobiPreconditioner(
        diagonal: diagonal, damping: floor + mu / phi, operations: problem.operations)
    }
  }

  /// The diagonal of `F / unit`.
  private func diagonal(_ problem: BatchProblem<S>, unit: Double) -> Vector<S> {
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
      return rounded(total)
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
    return rounded(total)
  }

  private func rounded(_ exact: Vector<Double>) -> Vector<S> {
    let result = Vector<S>(count: exact.count)
    Kernels.fromDouble(exact.pointer, result.pointer, count: exact.count)
    return result
  }
}
