import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// `J v`, `J^T w`, `F v` and the Gauss-Newton product over the case list.
struct ProductTests {
  @Test(arguments: cases + [tiedRows])
  func productsAreTheOraclesInDouble(_ test: Case) throws {
    // Some hundred roundings of terms that are at most ten times the largest result.
    try check(test, Double.self, tolerance: 1e-12)
  }

  @Test(arguments: cases + [tiedRows])
  func productsAreTheOraclesInSingle(_ test: Case) throws {
    // The same in units of 2^-24, where errors of unlike signs cancel as in double.
    try check(test, Float.self, tolerance: 5e-5)
  }

  private func check<S: EngineScalar>(_ test: Case, _: S.Type, tolerance: Double) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, S.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    #expect(linearization.parameterCount == oracle.parameterCount)
    var random = SeededGenerator(seed: test.seed &+ 200)
    let directions = (0..<3).map { _ in random.normals(oracle.parameterCount) }
    let vectors = directions.map(engine.vector)

    let tangents = linearization.jvps(vectors)
    for (r, direction) in directions.enumerated() {
      let expected = oracle.jvp(direction).flatMap { $0 }
      #expect(mismatch(tangents[r], expected, tolerance: tolerance) == nil, "jvp \(r)")
    }
    // More directions than before, then fewer: accumulators are kept between calls.
    let size = oracle.problem.logitCount
    for count in [1, 3, 2] {
      let cotangents = (0..<count).map { _ in random.normals(oracle.samples * size) }
      let found = linearization.vjps(cotangents)
      for r in 0..<count {
        let rows = (0..<oracle.samples).map { Array(cotangents[r][$0 * size..<($0 + 1) * size]) }
        #expect(
          mismatch(engine.direction(found[r]), oracle.vjp(rows), tolerance: tolerance) == nil,
          "vjp \(r) of \(count)")
      }
    }
    for metric in [OutputMetric.fisher, .identity] {
      let matrix = FisherOperator(linearization, output, metric: metric)
      let product = Vector<S>(count: oracle.parameterCount)
      let quadratic = try matrix.apply(vectors[0], into: product)
      let expected = oracle.fisherProduct(directions[0], identity: metric == .identity)
      #expect(
        mismatch(engine.direction(product), expected, tolerance: tolerance) == nil, "\(metric)")
      #expect(
        mismatch(quadratic, dot(expected, directions[0]), tolerance: tolerance) == nil,
        "quadratic of \(metric)")
    }
  }

  @Test(arguments: cases + [tiedRows])
  func fisherMatrixIsSymmetricAndPositive(_ test: Case) throws {
    let engine = try EngineProblem(Problem(test), Double.self)
    let linearization = engine.linearize()
    let matrix = FisherOperator(linearization, engine.output(linearization))
    var random = SeededGenerator(seed: test.seed &+ 300)
    let (a, b) = (random.normals(matrix.dimension), random.normals(matrix.dimension))
    let (fa, fb) = (
      Vector<Double>(count: matrix.dimension), Vector<Double>(count: matrix.dimension)
    )
    let qa = try matrix.apply(Vector(a), into: fa)
    let qb = try matrix.apply(Vector(b), into: fb)
    #expect(qa >= 0 && qb >= 0)
    // By Cauchy-Schwarz the error of either side is relative to the root of both quadratics.
    let scale = (qa * qb).squareRoot()
    #expect(
      mismatch([dot(a, fb.array)], [dot(b, fa.array)], tolerance: 1e-12, scale: scale) == nil)
  }
}
