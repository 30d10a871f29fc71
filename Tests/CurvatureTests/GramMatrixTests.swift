import GraphModule
import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// Per-sample gradients, their Gram matrix and weighted sums, for one and for several draws.
struct GramMatrixTests {
  @Test(arguments: cases + [tiedRows], [1, 3])
  func rowsGramAndSumsAreTheOraclesInDouble(_ test: Case, draws: Int) throws {
    try check(test, draws: draws, Double.self, tolerance: 1e-12)
  }

  @Test(arguments: cases + [tiedRows], [1, 3])
  func rowsGramAndSumsAreTheOraclesInSingle(_ test: Case, draws: Int) throws {
    // Rows carry 2^-24 per operation; products of two rows twice that.
    try check(test, draws: draws, Float.self, tolerance: 5e-5)
  }

  /// Draws whose cotangents are those of an earlier one, or the opposite, have its rows to the last bit,
  /// and every other its own; wherever in products of matrices they are computed.
  @Test(arguments: cases + [tiedRows])
  func parallelDrawsHaveOneRow(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, Float.self)
    let linearization = engine.linearize(threads: 2)
    var random = SeededGenerator(seed: test.seed &+ 500)
    let (samples, size) = (oracle.samples, oracle.problem.logitCount)
    let first = random.normals(samples * size)
    let other = random.normals(samples * size)
    // The opposite; then the same, or another one for every second sample.
    let mixed = first.indices.map { $0 / size % 2 == 0 ? first[$0] : other[$0] }
    let cotangents = [first, first.map { -$0 }, mixed]
    let ones = [Double](repeating: 1, count: 3 * samples)
    let gradients = linearization.perSampleGradients(draws: 3, scales: ones) { chunk, out in
      linearization.writeChunk(cotangents, chunk, out)
    }
    func row(_ index: Int) -> [Double] {
      var row = [Double](repeating: .nan, count: oracle.parameterCount)
      gradients.row(index, into: &row)
      return engine.unscrambled(row)
    }
    for n in 0..<samples {
      #expect(row(samples + n) == row(n).map { -$0 }, "sample \(n)")
      if n % 2 == 0 {
        #expect(row(2 * samples + n) == row(n), "sample \(n)")
      } else {
        // As in the test of all rows.
        let own = oracle.vjp(n, Array(other[n * size..<(n + 1) * size]))
        #expect(mismatch(row(2 * samples + n), own, tolerance: 5e-5) == nil, "sample \(n)")
      }
    }
  }

  /// Cotangents are arbitrary, with scales over many orders of magnitude that single precision
  /// could not hold.
  private func check<S: EngineScalar>(
    _ test: Case, draws: Int, _: S.Type, tolerance: Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, S.self)
    let linearization = engine.linearize(threads: 2)
    var random = SeededGenerator(seed: test.seed &+ 400)
    let size = oracle.problem.logitCount
    let cotangents = (0..<draws).map { _ in random.normals(oracle.samples * size) }
    let count = draws * oracle.samples
    let scales = (0..<count).map { 0x1p-100 * Double(1 << ($0 % 5)) }
    let gradients = linearization.perSampleGradients(draws: draws, scales: scales) {
      chunk, out in linearization.writeChunk(cotangents, chunk, out)
    }
    let rows = (0..<count).map { i in
      let (d, n) = (i / oracle.samples, i % oracle.samples)
      let w = Array(cotangents[d][n * size..<(n + 1) * size])
      return oracle.vjp(n, w).map { $0 * scales[i] }
    }
    for i in 0..<count {
      var row = [Double](repeating: .nan, count: oracle.parameterCount)
      gradients.row(i, into: &row)
      #expect(
        mismatch(engine.unscrambled(row), rows[i], tolerance: tolerance) == nil, "row \(i)")
    }
    let gram = gradients.gramMatrix()
    let expected = oracle.gram(rows)
    #expect(gram.count == count)
    for i in 0..<count {
      for j in 0..<count {
        // Relative to the norms: an inner product of nearly orthogonal rows cancels.
        let scale = (expected[i][i] * expected[j][j]).squareRoot()
        let found = gram[i, j]
        #expect(
          mismatch([found], [expected[i][j]], tolerance: tolerance, scale: scale) == nil,
          "K[\(i), \(j)]")
        #expect(found == gram[j, i])
      }
    }
    for products in [GramProducts.perBlock, .norms] {
      checkParts(gradients.gramMatrix(products), products, expected, tolerance: tolerance)
    }
    let weights = [random.normals(count), random.normals(count, scale: 1e12)]
    for inDouble in [false, true] {
      let sums = gradients.weightedSums(weights, inDouble: inDouble)
      for (sum, weights) in zip(sums, weights) {
        #expect(
          mismatch(
            engine.direction(sum), oracle.combine(rows, weights), tolerance: 3 * tolerance) == nil,
          "sum, in double: \(inDouble)")
      }
    }
  }

  /// Of fewer products those that are there, and those with the sum of the first draw's rows.
  private func checkParts(
    _ gram: GramMatrix, _ products: GramProducts, _ expected: [[Double]], tolerance: Double
  ) {
    let first = gram.split
    let ones = [Double](repeating: 1, count: gram.count)
    let sizes = expected.indices.map { expected[$0][$0].squareRoot() }
    let size = sizes[..<first].reduce(0, +)
    for i in expected.indices {
      for j in expected.indices
      where products == .norms ? i == j : (i < first) == (j < first) {
        let scale = sizes[i] * sizes[j]
        #expect(
          mismatch([gram[i, j]], [expected[i][j]], tolerance: tolerance, scale: scale) == nil,
          "\(products): K[\(i), \(j)]")
      }
      let sum = gram.scaledDotSum(i) * gram.unit * gram.unit
      let wanted = expected[i][..<first].reduce(0, +)
      #expect(
        mismatch([sum], [wanted], tolerance: tolerance, scale: sizes[i] * size) == nil,
        "\(products): row \(i) and the sum")
    }
    let square = gram.scaledQuadratic(ones, 0..<first) * gram.unit * gram.unit
    let wanted = expected[..<first].reduce(0) { $0 + $1[..<first].reduce(0, +) }
    #expect(mismatch([square], [wanted], tolerance: tolerance, scale: size * size) == nil)
  }

  // MARK: - Routes

  enum Form: String { case direct, pairs, tiles }

  /// Which form the first layer's gradients must take, by the shapes alone: rows are collected if
  /// they are smaller than the weight (2 T out <= in out), and pairs of rows are multiplied where
  /// that takes fewer operations than the matrices `b^T a`. Every route of `GramMatrix` is here.
  @Test(arguments: [
    ("mlp", Form.pairs), ("positions by pairs", .pairs), ("positions", .tiles),
    ("positions, many features", .tiles), ("cnn of factored rows", .tiles), ("cnn", .direct),
    ("tied linear", .direct), ("tokens by pairs", .pairs), ("tokens by tables", .tiles),
    ("mlp, biases only", .direct), ("cnn in groups", .direct),
  ])
  func shapesForceTheRoute(_ name: String, _ form: Form) throws {
    let test = try #require(cases.first { $0.name == name })
    let linearization = try EngineProblem(Problem(test), Double.self).linearize()
    let route = try #require(linearization.plan.routes.compactMap { $0 }.first)
    guard case .factored(let factors, _, _) = route else {
      #expect(form == .direct)
      return
    }
    let (inputs, outputs) = (factors.inputs, factors.outputs)
    let (rows, samples) = (test.samples * factors.positions, test.samples)
    let pairs = rows * rows * (factors.rows == .oneHot ? outputs : inputs + outputs)
    let tiles = rows * inputs * outputs + samples * samples * inputs * outputs
    #expect(form == (pairs <= tiles ? .pairs : .tiles), "pairs \(pairs), tiles \(tiles)")
  }

  /// Rows of a head that is tied to embeddings are collected where they are smaller than the weight, and those
  /// of the embeddings with them; neither has explicit gradients.
  @Test func rowsOfTiedEmbeddingsAreCollected() throws {
    let plan = try self.plan(tiedRows)
    let (layer, table) = try #require(plan.tables.first)
    guard case .factored? = plan.routes[layer], case .table? = plan.routes[table.node] else {
      Issue.record("routes \(plan.routes)")
      return
    }
    #expect(plan.accumulatedCount == 0)
    // Three rows of three are no smaller than what a weight of three columns has of each of its rows.
    let other = try self.plan(#require(cases.first { $0.name == "tied embedding" }))
    #expect(other.tables.isEmpty && other.accumulatedCount == other.program.parameterCount)
  }

  private func plan(_ test: Case) throws -> GradientPlan {
    try EngineProblem(Problem(test), Double.self).linearize().plan
  }

  /// Tiles of more than one block: 1 << 16 scalars hold 11 rows of a [90, 66] weight.
  @Test func tilesOfManyBlocksAddUp() throws {
    let test = Case(
      "wide", input: [33, 66],
      linear("a", 66, 90) + #", {"type": "flatten"}, "#
        + linear("b", 33 * 90, 1), loss: "mse", trainable: ["a.weight", "a.bias"], samples: 40)
    let engine = try EngineProblem(Problem(test), Float.self)
    let linearization = engine.linearize(threads: 2)
    guard case .factored(let factors, _, _)? = linearization.plan.routes[0] else {
      Issue.record("rows of the first layer are to be factored")
      return
    }
    #expect(factors.positions == 33)
    let ones = [Double](repeating: 1, count: 40)
    let gradients = linearization.perSampleGradients(draws: 1, scales: ones) { chunk, out in
      linearization.writeChunk([ones], chunk, out)
    }
    let gram = gradients.gramMatrix()
    var rows = [[Double]](
      repeating: [Double](repeating: 0, count: linearization.parameterCount), count: 40)
    for n in 0..<40 { gradients.row(n, into: &rows[n]) }
    for (i, j) in [(0, 0), (39, 0), (39, 39), (20, 7)] {
      // Rows come from the same factors in single precision, K from them in double or from tiles
      // in single precision: 33 roundings of 2^-24.
      let scale = (gram[i, i] * gram[j, j]).squareRoot()
      #expect(mismatch([gram[i, j]], [dot(rows[i], rows[j])], tolerance: 1e-5, scale: scale) == nil)
    }
  }
}
