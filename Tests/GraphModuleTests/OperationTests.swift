import TensorModule
import TestSupport
import Testing

@testable import GraphModule

/// The operation harness: every layer type in every place (see `layerCases`), in both precisions.
/// Exact derivatives come from dual numbers, so no step size enters.
struct OperationTests {
  @Test(arguments: layerCases)
  func derivativesAreExactInDouble(_ test: Case) throws {
    // A dozen roundings of terms of the size of the largest result.
    try check(test, Double.self, tolerance: 2e-13)
  }

  @Test(arguments: layerCases)
  func derivativesAreExactInSingle(_ test: Case) throws {
    // The same in units of 2^-24; norms amplify by the reciprocal of a deviation.
    try check(test, Float.self, tolerance: 5e-5)
  }

  /// Value, jvp, stacking, linearity, duality, per-sample gradients.
  private func check<S: EngineScalar>(_ test: Case, _: S.Type, tolerance: Double) throws {
    let problem = Problem(test)
    let engine = try EngineProblem(problem, S.self)
    let run = Run(engine.program, engine.parameters, engine.inputs, directions: 3)
    let size = problem.samples * problem.logitCount
    var random = SeededGenerator(seed: test.seed &+ 100)
    var directions = (0..<2).map { _ in random.normals(problem.parameterCount) }
    // Eighths of numbers of 24 bits: the third is the exact combination in either precision.
    directions = directions.map { $0.map { ($0 * 64).rounded() / 64 } }
    directions.append(zip(directions[0], directions[1]).map { $0 / 2 - 2 * $1 })
    let expected = directions.map(problem.jvp)
    let vectors = directions.map(engine.vector)

    let stacked = run.jvp(vectors)
    for r in 0..<3 {
      #expect(mismatch(stacked[r], expected[r], tolerance: tolerance) == nil, "jvp \(r)")
      #expect(
        mismatch(run.jvp([vectors[r]])[0], stacked[r], tolerance: tolerance) == nil,
        "direction \(r) alone")
    }
    let combined = zip(stacked[0], stacked[1]).map { $0 / 2 - 2 * $1 }
    let scale = stacked.joined().reduce(0) { max($0, abs($1)) } * 3
    #expect(mismatch(stacked[2], combined, tolerance: tolerance, scale: scale) == nil, "linearity")

    let cotangents = (0..<3).map { _ in random.normals(size) }
    let (sums, rows) = run.vjp(cotangents)
    for r in 0..<3 {
      let (alone, aloneRows) = run.vjp([cotangents[r]])
      #expect(mismatch(alone[0], sums[r], tolerance: tolerance) == nil, "cotangent \(r) alone")
      var total = [Double](repeating: 0, count: problem.parameterCount)
      for n in 0..<problem.samples {
        #expect(mismatch(aloneRows[0][n], rows[r][n], tolerance: tolerance) == nil, "row \(n)")
        for p in total.indices { total[p] += rows[r][n][p] }
        for (i, direction) in directions.enumerated() {
          // <w_n, J_n v> = <J_n^T w_n, v>, against the sum of the sizes of the terms.
          let slice = n * problem.logitCount..<(n + 1) * problem.logitCount
          let (w, q) = (Array(cotangents[r][slice]), Array(expected[i][slice]))
          let g = engine.unscrambled(rows[r][n])
          let terms = dot(w.map(abs), q.map(abs)) + dot(g.map(abs), direction.map(abs))
          #expect(
            mismatch([dot(g, direction)], [dot(w, q)], tolerance: tolerance, scale: terms) == nil,
            "duality, sample \(n), cotangent \(r), direction \(i)")
        }
      }
      #expect(mismatch(sums[r], total, tolerance: tolerance) == nil, "rows add up, \(r)")
    }
  }
}
