import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// `B = A^T J` and its roots over the case list.
struct FactorTests {
  @Test(arguments: cases + [tiedRows])
  func factorsMultiplyToTheFisherMatrix(_ test: Case) throws {
    // As for the products themselves (`ProductTests`).
    try check(test, Double.self, tolerance: 1e-12)
    try check(test, Float.self, tolerance: 5e-5)
  }

  private func check<S: EngineScalar>(_ test: Case, _: S.Type, tolerance: Double) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, S.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    var random = SeededGenerator(seed: test.seed &+ 400)
    let direction = random.normals(oracle.parameterCount)
    let expected = oracle.fisherProduct(direction)
    // A unit of 4 divides F by 4, B by 2.
    for unit in [1.0, 4] {
      let factor = FisherFactor(linearization, output, unit: unit)
      let image = Vector<Double>(count: factor.rows)
      try factor.apply(engine.vector(direction), into: image)
      let quadratic = image.array.reduce(0) { $0 + $1 * $1 }
      #expect(
        mismatch(quadratic * unit, dot(expected, direction), tolerance: tolerance) == nil)
      let product = Vector<S>(count: factor.columns)
      let scale = try factor.applyTransposed(image, into: product)
      let found = engine.direction(product).map { $0 * scale * unit }
      #expect(mismatch(found, expected, tolerance: tolerance) == nil, "B^T B v")
      // g = B^T w
      let weights = output.rootWeights()
      let gradientScale = try factor.applyTransposed(weights, into: product)
      let gradient = engine.direction(product).map { $0 * gradientScale * unit.squareRoot() }
      #expect(mismatch(gradient, oracle.gradient, tolerance: tolerance) == nil, "B^T w")
    }
  }

  /// The root of full rank is another root of the same H, with w in its coordinates.
  @Test(arguments: cases + [tiedRows])
  func rootOfFullRankIsARoot(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, Double.self)
    let linearization = engine.linearize()
    let output = engine.output(linearization)
    let size = linearization.logitCount
    var hessian = [[Double]](
      repeating: [Double](repeating: 0, count: size * size), count: oracle.samples)
    var (gradient, square) = ([Double](repeating: 0, count: oracle.samples * size), 0.0)
    for position in 0..<output.positions {
      for column in 0..<output.rootRank {
        let sizes = output.rootSizes(column, position: position)
        let weights = output.fullRankWeights(column, position: position)
        for chunk in linearization.schedule.chunks {
          let out = Vector<Double>(count: chunk.count * size)
          output.writeFullRankColumn(column, position: position, chunk: chunk, to: out.pointer)
          for n in 0..<chunk.count {
            let sample = chunk.first + n
            let a = (0..<size).map { out[n * size + $0] * sizes[sample] }
            for i in 0..<size {
              gradient[sample * size + i] += a[i] * weights[sample]
              for j in 0..<size { hessian[sample][i * size + j] += a[i] * a[j] }
            }
            square += weights[sample] * weights[sample]
          }
        }
      }
    }
    for n in 0..<oracle.samples {
      // The oracle forms p - p^2, whose rounding is that of p: absolute, not relative.
      let errors = zip(hessian[n], oracle.hessian(n).flatMap { $0 }).map { abs($0 - $1) }
      #expect(errors.max()! <= 1e-15, "H of sample \(n)")
    }
    let ones = Vector<Double>(count: oracle.samples * size)
    for chunk in linearization.schedule.chunks {
      output.write(
        output.gradient, chunk: chunk,
        units: [Double](repeating: 1, count: oracle.samples),
        to: ones.pointer + chunk.first * size)
    }
    #expect(mismatch(gradient, ones.array, tolerance: 1e-14) == nil, "u = A w")
    // The reflection keeps the norm of w.
    #expect(mismatch(square, output.certificates.reduce(0, +), tolerance: 1e-13) == nil)
  }

  /// Every form of gradients: explicit rows, one position, many positions, tables, biases.
  @Test(arguments: cases + [tiedRows])
  func sumsOfSquaresAreThoseOfTheRows(_ test: Case) throws {
    let engine = try EngineProblem(Problem(test), Double.self)
    let linearization = engine.linearize(threads: 2)
    var random = SeededGenerator(seed: test.seed &+ 500)
    let count = linearization.samples * linearization.logitCount
    let cotangents = (0..<2).map { _ in random.normals(count) }
    let scales = (0..<2 * linearization.samples).map { Double($0 % 3) }
    let rows = linearization.perSampleGradients(draws: 2, scales: scales) { chunk, out in
      linearization.writeChunk(cotangents, chunk, out)
    }
    let found = rows.summedSquares(unit: 0.5).array
    var expected = [Double](repeating: 0, count: found.count)
    let row = Vector<Double>(count: found.count)
    for index in 0..<rows.count {
      rows.row(index, into: row.pointer)
      for i in expected.indices { expected[i] += 4 * row[i] * row[i] }
    }
    // Sums of a few dozen positive terms.
    #expect(mismatch(found, expected, tolerance: 1e-13) == nil)
  }
}
