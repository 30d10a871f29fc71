import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// Rows of the batch and of samples gathered from it, one below the other, against the dense oracle.
struct RowStackTests {
  @Test(arguments: cases + [tiedRows])
  func bordersAndSumsAreTheOracles(_ test: Case) throws {
    try check(test, Double.self, tolerance: 1e-12)
    // As for one collection (`GramMatrixTests`).
    try check(test, Float.self, tolerance: 5e-5)
  }

  /// Where forward values have no room but are there, since the chunks in work are the whole batch: no layer factors,
  /// of gathered samples either.
  @Test(arguments: cases)
  func withoutRoomAllRowsAreExplicit(_ test: Case) throws {
    try check(test, Double.self, budget: 0, tolerance: 1e-12)
  }

  private func check<S: EngineScalar>(
    _ test: Case, _: S.Type, budget: Int = .max, tolerance: Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, S.self)
    let linearization = engine.linearize(threads: 2, budget: budget)
    guard linearization.keptSamples == oracle.samples else { return }
    #expect(linearization.plan.factors == (budget > 0))
    var random = SeededGenerator(seed: test.seed &+ 900)
    let (size, samples) = (linearization.logitCount, oracle.samples)
    var rows: [[Double]] = []
    /// Two draws of the batch, or a row each of some samples.
    func part(_ gathered: [Int]?) -> PerSampleGradients<S> {
      let own = gathered.map(linearization.gathered) ?? linearization
      let draws = gathered == nil ? 2 : 1
      let cotangents = (0..<draws).map { _ in random.normals(own.samples * size) }
      let scales = (0..<draws * own.samples).map { 0x1p-100 * Double(1 << ($0 % 5)) }
      for (row, scale) in scales.enumerated() {
        let place = row % own.samples
        let w = Array(cotangents[row / own.samples][place * size..<(place + 1) * size])
        rows.append(oracle.vjp(gathered?[place] ?? place, w).map { $0 * scale })
      }
      return own.perSampleGradients(draws: draws, scales: scales) { chunk, out in
        own.writeChunk(cotangents, chunk, out)
      }
    }
    var parts = [part(nil)]
    for gathered in [[samples - 1], (0..<samples + 2).map { (3 * $0 + 1) % samples }] {
      let first = rows.count
      parts.append(part(gathered))
      let stack = RowStack(parts)
      let border = stack.gramBorder(from: first)
      #expect(border.count == rows.count && border.first == first)
      let sizes = rows.map { dot($0, $0).squareRoot() }
      for i in first..<rows.count {
        for j in rows.indices {
          let found = border.scaled[(i - first) * rows.count + j] * border.unit * border.unit
          #expect(
            mismatch(
              [found], [dot(rows[i], rows[j])], tolerance: tolerance, scale: sizes[i] * sizes[j])
              == nil, "K[\(i), \(j)]")
        }
      }
      let weights = random.normals(rows.count, scale: 1e12)
      for inDouble in [false, true] {
        let sum = stack.weightedSum(weights, inDouble: inDouble)
        #expect(
          mismatch(
            engine.direction(sum), oracle.combine(rows, weights), tolerance: 3 * tolerance) == nil,
          "sum, in double: \(inDouble)")
      }
    }
  }
}
