import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// Block-diagonal and diagonal methods over the case list, against blocks and squares that are
/// written out.
struct BlockTests {
  static let dampings = ["0.1", "1e-3", "rel:1e-2", "rel:1e-4"]

  @Test(arguments: cases)
  func blocksAreTheOraclesInDouble(_ test: Case) throws {
    // Condition numbers of at most N / 1e-4.
    try check(test, Double.self) { _ in 1e-9 }
  }

  @Test(arguments: cases)
  func blocksAreTheOraclesInSingle(_ test: Case) throws {
    // Rows with errors of 1e-6, multiplied by the same condition number.
    try check(test, Float.self) { min(1, 1e-5 * max(1, 1 / $0)) }
  }

  private func check<S: EngineScalar>(
    _ test: Case, _: S.Type, tolerance: (_ relativeDamping: Double) -> Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(2, seed: test.seed &+ 60)
    let (engine, gradients) = try batch(oracle, draws: labels, S.self)
    let blocks = TensorBlocks(gradients)
    let dampings = BlockTests.dampings.map { Damping($0)! }
    for method in [Method.blockEF, .blockIEF, .blockSF] {
      let largest = method == .blockSF ? oracle.largestSampled(labels) : oracle.largest
      for direction in try BlockDiagonal.directions(blocks, method: method, dampings: dampings) {
        let damping = try #require(direction.damping)
        let lambda = try #require(direction.lambda)
        let value = damping.isRelative ? damping.value * largest : damping.value
        #expect(mismatch(lambda, value, tolerance: 1e-4) == nil)
        var expected: [Double] = []
        for (_, range) in oracle.tensorRanges {
          switch method {
          case .blockEF:
            expected += oracle.empiricalBlock(range, target: oracle.ones, lambda: lambda)
          case .blockIEF:
            expected += oracle.empiricalBlock(range, target: oracle.squares, lambda: lambda)
          default:
            expected += oracle.sampledBlock(range, labels, lambda: lambda).map { $0 * lambda }
          }
        }
        #expect(
          mismatch(
            engine.direction(direction.scaled), expected, tolerance: tolerance(lambda / largest))
            == nil, "\(method.name) at \(damping.text)")
      }
    }
  }

  /// With one tensor there is nothing between blocks to leave out.
  @Test func oneTensorMakesBlockMethodsThoseWithoutBlocks() throws {
    let test = try #require(cases.first { $0.name == "cnn, convolution only" })
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(1, seed: 3)
    let (engine, gradients) = try batch(oracle, draws: labels, Double.self)
    let blocks = TensorBlocks(gradients)
    let dampings = ["0", "1e-3", "rel:1e-5"].map { Damping($0)! }
    let pairs = try [
      (
        BlockDiagonal.directions(blocks, method: .blockEF, dampings: dampings),
        EmpiricalFisher.directions(gradients, method: .ef, dampings: dampings)
      ),
      (
        BlockDiagonal.directions(blocks, method: .blockIEF, dampings: dampings),
        EmpiricalFisher.directions(gradients, method: .ief, dampings: dampings)
      ),
      (
        BlockDiagonal.directions(blocks, method: .blockSF, dampings: dampings),
        SampledFisher.directions(gradients, dampings: dampings)
      ),
    ]
    for (a, b) in pairs {
      for (one, other) in zip(a, b) {
        let (found, expected) = (engine.direction(one.scaled), engine.direction(other.scaled))
        if one.method == .blockSF && one.lambda == 0 {
          // Nothing is outside of the span: the solution, in units of each one's own.
          #expect(mismatchUpToScale(found, expected, tolerance: 1e-10) == nil)
        } else {
          #expect(
            mismatch(
              found, expected, tolerance: 1e-10,
              // What SF leaves of g may be no more than the rounding of g.
              scale: one.method == .blockSF ? oracle.gradient.map(abs).max() : nil)
              == nil, "\(one.method.name) at \(one.damping!.text)")
          // The same system twice, once with its Gram matrix from one tensor.
          #expect(mismatch(one.relativeError, other.relativeError, tolerance: 1e-3) == nil)
        }
      }
    }
  }

  /// More draws than entries in every tensor: without damping block-sf is the inverse itself.
  @Test func withoutDampingRegularBlocksAreInverted() throws {
    let oracle = DenseOracle(
      Problem(Case("linear", input: [2], linear("a", 2, 2), loss: "mse", samples: 6)))
    let labels = oracle.problem.drawnLabels(3, seed: 12)
    let (engine, gradients) = try batch(oracle, draws: labels, Double.self)
    let direction = try BlockDiagonal.directions(
      TensorBlocks(gradients), method: .blockSF, dampings: [Damping("0")!])[0]
    let expected = oracle.tensorRanges.flatMap { oracle.sampledBlock($0.range, labels, lambda: 0) }
    #expect(mismatch(engine.direction(direction.scaled), expected, tolerance: 1e-10) == nil)
    #expect(direction.relativeError < 1e-12)
  }

  // MARK: - Diagonals

  @Test(arguments: cases)
  func diagonalsAreTheOraclesInDouble(_ test: Case) throws {
    // An entry whose gradients cancel to rounding is divided by lambda alone.
    try checkDiagonals(test, Double.self) { 1e-14 * max(1, 1 / $0) }
  }

  @Test(arguments: cases)
  func diagonalsAreTheOraclesInSingle(_ test: Case) throws {
    // Entries of gradients are sums of terms that cancel to a hundredth.
    try checkDiagonals(test, Float.self) { _ in 1e-3 }
  }

  private func checkDiagonals<S: EngineScalar>(
    _ test: Case, _: S.Type, tolerance: (_ relativeDamping: Double) -> Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(1, seed: test.seed &+ 60)
    // Draws take no part.
    let (engine, gradients) = try batch(oracle, draws: labels, S.self)
    let dampings = ["0.1", "rel:1e-2", "rel:1e-5"].map { Damping($0)! }
    for method in [Method.diagonalEF, .diagonalIEF, .adam] {
      let squares = oracle.summedSquares(
        method == .diagonalIEF ? oracle.squares.map { $0 > 0 ? 1 / $0 : 0 } : oracle.ones)
      let directions = Diagonal.directions(
        gradients, Diagonal.Squares(gradients, method: method), method: method,
        dampings: dampings)
      for direction in directions {
        let damping = try #require(direction.damping)
        let lambda = try #require(direction.lambda)
        let value = damping.isRelative ? damping.value * oracle.largest : damping.value
        #expect(mismatch(lambda, value, tolerance: 1e-4) == nil)
        let expected = zip(oracle.gradient, squares).map { g, square in
          g / ((method == .adam ? square.squareRoot() : square) + lambda)
        }
        #expect(
          mismatch(
            engine.direction(direction.scaled), expected,
            tolerance: tolerance(lambda / oracle.largest)) == nil,
          "\(method.name) at \(damping.text)")
      }
    }
  }

  /// Columns in which no sample has a gradient, as dead inputs make them, stay zero.
  @Test func entriesWithoutGradientStayZero() throws {
    var problem = Problem(Case("linear", input: [3], linear("a", 3, 2), samples: 4))
    for n in 0..<4 { problem.inputs[n][1] = 0 }
    let (engine, gradients) = try batch(problem, draws: [], Double.self)
    let direction = Diagonal.directions(
      gradients, Diagonal.Squares(gradients, method: .adam), method: .adam,
      dampings: [Damping("0")!])[0]
    let found = engine.direction(direction.scaled)
    #expect(found[1] == 0 && found[4] == 0)
    #expect(found.allSatisfy { $0.isFinite })
    #expect(found[0] != 0)
  }

  // MARK: - Ranges

  /// Samples fitted to 1e-40 and below: squares that no precision holds.
  @Test func wellFittedSamplesKeepTheirDigits() throws {
    var problem = Problem(Case("linear", input: [3], linear("a", 3, 3), samples: 3, seed: 4))
    problem.inputs = [[1, 0.25, 0], [0.125, 1, 0], [0, 0.25, 1]]
    problem.parameters["a.bias"] = [0, 0, 0]
    problem.labels = .classes([0, 1, 2])
    var found: [[Float]] = []
    for gap in [60.0, 400] {
      problem.parameters["a.weight"] = [gap, 0, 0, 0, gap, 0, 0, 0, gap]
      let (_, gradients) = try batch(problem, draws: [problem.labels], Float.self)
      let blocks = TensorBlocks(gradients)
      let dampings = [Damping("rel:1e-3")!]
      for method in [Method.ekfac, .iekfac, .kfac] {
        let direction = try KFAC.directions(blocks, method: method, dampings: dampings)[0]
        found.append(direction.scaled.vector.array)
        #expect(direction.scaled.scale > 0)
      }
      for method in [Method.blockEF, .blockIEF, .blockSF] {
        let direction = try BlockDiagonal.directions(blocks, method: method, dampings: dampings)[0]
        found.append(direction.scaled.vector.array)
      }
      let squares = Diagonal.Squares(gradients, method: .diagonalEF)
      found.append(
        Diagonal.directions(gradients, squares, method: .diagonalEF, dampings: dampings)[0].scaled
          .vector.array)
    }
    for vector in found {
      #expect(vector.allSatisfy { $0.isFinite })
      #expect(vector.contains { abs($0) > 0.1 })
    }
  }
}

/// Draws are nested: the first k of more draws are those of a run with k.
struct NestedDrawTests {
  @Test(arguments: cases.filter { ["mlp", "cnn", "positions, few features"].contains($0.name) })
  func aPartOfTheDrawsIsTheBatchWithThatMany(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(3, seed: 7)
    let (_, all) = try batch(oracle, draws: labels, Double.self)
    let (engine, two) = try batch(oracle, draws: Array(labels.prefix(2)), Double.self)
    let part = BatchGradients(all, draws: 2)
    #expect(part.draws == 2 && part.gram.count == two.gram.count)
    let dampings = [Damping("rel:1e-3")!]
    func directions(_ gradients: BatchGradients<Double>) throws -> [Direction<Double>] {
      let blocks = TensorBlocks(gradients)
      return try SampledFisher.directions(gradients, dampings: dampings)
        + BlockDiagonal.directions(blocks, method: .blockSF, dampings: dampings)
        + KFAC.directions(blocks, method: .kfac, dampings: dampings)
    }
    for (a, b) in zip(try directions(part), try directions(two)) {
      #expect(a.lambda == b.lambda)
      // The same sums; only the number of stacked cotangents differs.
      #expect(
        mismatch(engine.direction(a.scaled), engine.direction(b.scaled), tolerance: 1e-11) == nil,
        "\(a.method.name)")
    }
  }
}
