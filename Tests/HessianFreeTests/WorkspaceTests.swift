import HessianFree
import TensorModule
import Testing

/// How many vectors a solve takes; a second one of the same size takes none.
@Suite struct WorkspaceTests {
  private let problem = Problem.spd

  private func space<S: EngineScalar>(_ count: Int, _: S.Type) -> VectorOperations<S> {
    VectorOperations(pool: WorkerPool(threads: 2), count: count)
  }

  private func limits(_ historyBytes: Int) -> SolveLimits {
    SolveLimits(relativeTolerance: 1e-4, maxIterations: 25, historyBytes: historyBytes)
  }

  @Test func conjugateGradientsTakeFourVectorsAndOnlyOnce() throws {
    func check<S: EngineScalar>(_: S.Type) throws {
      // Residuals are kept in pieces of 32.
      for (bytes, preconditioned, expected) in [
        (0, false, 4), (0, true, 5), (1 << 20, false, 4 + 32), (1 << 20, true, 5),
      ] {
        let operations = space(problem.dimension, S.self)
        let workspace = ConjugateGradient.Workspace(operations)
        let ones = try JacobiPreconditioner<S>(
          diagonal: Vector([S](repeating: 1, count: problem.dimension)), operations: operations)
        let (a, x) = (problem.dense(S.self), Vector<S>(count: problem.dimension))
        var found: [[S]] = []
        for _ in 0..<2 {
          _ = try ConjugateGradient(limits(bytes)).solve(
            a, rhs: problem.rightHandSide(S.self), into: x,
            preconditioner: preconditioned ? ones : nil, workspace: workspace)
          #expect(operations.vectorsMade == expected, "\(S.self), \(bytes), \(preconditioned)")
          found.append(x.array)
        }
        #expect(found[0] == found[1])
      }
    }
    try check(Float.self)
    try check(Double.self)
  }

  @Test func leastSquaresTakeFourVectorsOfEitherSideAndOnlyOnce() throws {
    let (b, w, rows) = leastSquares(.singularConsistent)
    func check<S: EngineScalar>(_: S.Type) throws {
      for (bytes, more) in [(0, 0), (1 << 20, 32)] {
        let (short, long) = (space(rows, Double.self), space(problem.dimension, S.self))
        let workspace = LSQR.Workspace(rows: short, columns: long)
        let factor = DenseFactor<S>(b, rows: rows, columns: problem.dimension)
        let x = Vector<S>(count: problem.dimension)
        var found: [[S]] = []
        for _ in 0..<2 {
          _ = try LSQR(limits(bytes)).solve(
            factor, target: Vector(w), into: x, workspace: workspace)
          #expect(long.vectorsMade == 4 + more && short.vectorsMade == 4 + more, "\(S.self)")
          found.append(x.array)
        }
        #expect(found[0] == found[1])
      }
    }
    try check(Float.self)
    try check(Double.self)
  }
}
