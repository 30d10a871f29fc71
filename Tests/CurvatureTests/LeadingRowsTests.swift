import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// The rows of B of leading classes over the case list, against the dense oracle.
struct LeadingRowsTests {
  private static let shares = [0, 0.05, 0.3, 0.9]

  @Test(arguments: cases + [tiedRows])
  func rowsArePartOfARootThatHoldsTheGradient(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, Double.self)
    let linearization = engine.linearize()
    let output = engine.output(linearization)
    let size = linearization.logitCount
    var random = SeededGenerator(seed: test.seed &+ 700)
    let q = (0..<oracle.samples).map { _ in random.normals(size) }
    let quadratics = (0..<oracle.samples).map { n in
      let hessian = oracle.hessian(n)
      return (0..<size).reduce(0.0) { $0 + q[n][$1] * dot(hessian[$1], q[n]) }
    }
    let image = output.multiplyRootTransposed(Vector(q.flatMap { $0 }))
    var counts: [Int] = []
    for share in Self.shares {
      let rows = try #require(output.leadingRows(leaving: share))
      counts.append(rows.count)
      let columns = self.columns(output, rows, size)
      let (_, targets) = output.sizesAndTargets(rows)
      var seen = [Double](repeating: 0, count: oracle.samples)
      var gradient = [[Double]](
        repeating: [Double](repeating: 0, count: size), count: oracle.samples)
      for ((column, n), target) in zip(zip(columns, rows.samples), targets) {
        seen[n] += dot(column, q[n]) * dot(column, q[n])
        for i in 0..<size { gradient[n][i] += column[i] * target }
      }
      // No more than H, in sums of a few dozen products.
      for (part, whole) in zip(seen, quadratics) {
        #expect(part <= whole * (1 + 1e-12) + 1e-13, "\(share)")
      }
      // What they do not see is what is missing, and all of it where every class has a row.
      let unseen = output.unseenSquare(rows, image: image)
      #expect(
        mismatch(seen.reduce(unseen, +), quadratics.reduce(0, +), tolerance: 1e-12) == nil)
      if share == 0 { #expect(!rows.positions.contains { $0.hasRest } && unseen == 0) }
      let square = targets.reduce(0) { $0 + $1 * $1 }
      let whole = output.certificates.reduce(0, +)
      if case .centred = output.gradient, share > 0 {
        // Labels that are spread over classes have a w in other proportions than sqrt(p).
        #expect(square <= whole * (1 + 1e-12))
      } else {
        #expect(mismatch(square, whole, tolerance: 1e-12) == nil, "\(share)")
        #expect(
          mismatch(
            gradient.flatMap { $0 }, oracle.logitGradients.flatMap { $0 }, tolerance: 1e-12)
            == nil, "\(share)")
      }
      #expect(output.leadingRows(leaving: share, most: rows.count - 1) == nil)
    }
    #expect(zip(counts, counts.dropFirst()).allSatisfy { $0 >= $1 })
  }

  /// The columns of A U, `[rows, O C]`.
  private func columns(
    _ output: OutputState<Double>, _ rows: LeadingRows, _ size: Int
  ) -> [[Double]] {
    let cotangents = Vector<Double>(count: rows.count * size)
    output.writeLeadingRows(rows, 0..<rows.count, to: cotangents.pointer)
    let (sizes, _) = output.sizesAndTargets(rows)
    return sizes.enumerated().map { row, factor in
      (0..<size).map { cotangents[row * size + $0] * factor }
    }
  }

  /// Rows of some samples, in any order and several times.
  @Test(arguments: cases + [tiedRows])
  func gatheredRowsAreThoseOfTheirSamples(_ test: Case) throws {
    try checkGathered(test, Double.self, tolerance: 1e-12)
    // As for the products themselves (`ProductTests`).
    try checkGathered(test, Float.self, tolerance: 5e-5)
  }

  private func checkGathered<S: EngineScalar>(
    _ test: Case, _: S.Type, tolerance: Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, S.self)
    let linearization = engine.linearize(threads: 2)
    var random = SeededGenerator(seed: test.seed &+ 800)
    let samples = (0..<2 * oracle.samples + 1).map { (5 * $0 + 1) % oracle.samples }
    let size = linearization.logitCount
    let cotangents = random.normals(samples.count * size)
    let gathered = linearization.gathered(samples)
    let ones = [Double](repeating: 1, count: samples.count)
    let rows = gathered.perSampleGradients(draws: 1, scales: ones) { chunk, out in
      gathered.writeChunk([cotangents], chunk, out)
    }
    let row = Vector<Double>(count: rows.linearization.parameterCount)
    for (index, n) in samples.enumerated() {
      rows.row(index, into: row.pointer)
      let expected = oracle.vjp(n, Array(cotangents[index * size..<(index + 1) * size]))
      #expect(
        mismatch(engine.unscrambled(row.array), expected, tolerance: tolerance) == nil,
        "row \(index) of sample \(n)")
    }
  }
}
