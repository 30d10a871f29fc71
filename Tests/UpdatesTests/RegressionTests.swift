import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// SF was `J^T (u - sum c_i u_i)` for every shape. With k N >= P that is a difference of two vectors
/// of the size of g which leaves lambda / |Ghat|^2 of it: in single precision at the default damping
/// of rel:1e-7 the direction was 10 % off, at rel:1e-10 noise.
struct Regression_SampledFisherOfMoreDrawsThanParameters {
  /// More sampled gradients than parameters: Ghat^T Ghat is regular, so that the direction tends to
  /// its inverse times g while `g - Ghat^T c` tends to zero.
  @Test(arguments: ["rel:1e-3", "rel:1e-7", "rel:1e-10", "rel:1e-13"])
  func moreDrawsThanParametersDoNotCancel(_ damping: String) throws {
    let oracle = DenseOracle(
      Problem(Case("linear", input: [2], linear("a", 2, 3), loss: "mse", samples: 6)))
    let labels = oracle.problem.drawnLabels(3, seed: 12)
    func check<S: EngineScalar>(_: S.Type, _ tolerance: Double) throws {
      let (engine, gradients) = try batch(oracle, draws: labels, S.self)
      let direction = try gradients.directions(.sf, [Damping(damping)!])[0]
      let lambda = try #require(direction.lambda)
      #expect(
        mismatchUpToScale(
          engine.direction(direction.scaled), oracle.sampledFisher(labels, lambda: lambda),
          tolerance: tolerance) == nil)
      #expect(direction.relativeError < tolerance)
    }
    // Ghat^T Ghat has a condition number below 100: that many roundings and no more.
    try check(Double.self, 1e-12)
    try check(Float.self, 1e-4)
  }
}

/// Draws that repeat each other were left out of SF only where it has fewer draws than parameters.
struct Regression_DuplicateDrawsInParameterSpace {
  @Test func duplicatesAreLeftOutOfSF() throws {
    var problem = Problem(
      Case("linear", input: [2], linear("a", 2, 2), loss: "mse", samples: 6, seed: 3))
    problem.inputs[4] = problem.inputs[1]
    let oracle = DenseOracle(problem)
    let labels = problem.drawnLabels(1, seed: 4)
    guard case .real(var drawn) = labels[0] else { return }
    // The logit gradients z - y of samples 1 and 4 are the same.
    for c in 0..<2 { drawn[8 + c] = drawn[2 + c] }
    let rows = oracle.sampledGradients([.real(drawn)])
    let (engine, gradients) = try batch(
      problem, draws: [.real(drawn)], Double.self, dropDuplicates: 0.9999)
    #expect(gradients.sampledLeftOut.count == 1)
    let direction = try gradients.directions(.sf, [Damping("0.01")!])[0]
    var matrix = [[Double]](
      repeating: [Double](repeating: 0, count: oracle.parameterCount),
      count: oracle.parameterCount)
    for i in matrix.indices {
      for j in matrix.indices {
        for row in rows.dropLast(2) + rows.suffix(1) { matrix[i][j] += row[i] * row[j] }
      }
      matrix[i][i] += 0.01
    }
    // A matrix with a condition number below 1e4.
    #expect(
      mismatchUpToScale(
        engine.direction(direction.scaled), DenseOracle.solve(matrix, oracle.gradient),
        tolerance: 1e-11) == nil)
  }
}

/// Parallel logit gradients of one sample were rounded differently in single precision, so that g
/// left the span of the sampled gradients by 1e-7: 2 % of the SF direction at the default damping.
struct Regression_SampledFisherOfTwoClasses {
  /// One logit per sample, or two classes: every sampled gradient is a multiple of the true one, g
  /// lies in the span of Ghat, and the difference shrinks with lambda although there are more
  /// parameters than draws.
  @Test(arguments: ["bce", "cross_entropy"], ["rel:1e-3", "rel:1e-7"])
  func gradientInTheSpanOfTheDrawsKeepsItsDigits(_ loss: String, _ damping: String) throws {
    let layer = linear("a", 8, loss == "bce" ? 1 : 2)
    let oracle = DenseOracle(Problem(Case("linear", input: [8], layer, loss: loss, samples: 3)))
    let labels = oracle.problem.drawnLabels(1, seed: 12)
    func check<S: EngineScalar>(_: S.Type, _ tolerance: Double) throws {
      let (engine, gradients) = try batch(oracle, draws: labels, S.self)
      let direction = try gradients.directions(.sf, [Damping(damping)!])[0]
      let lambda = try #require(direction.lambda)
      #expect(
        mismatchUpToScale(
          engine.direction(direction.scaled), oracle.sampledFisher(labels, lambda: lambda),
          tolerance: tolerance) == nil)
    }
    // lambda / |Ghat|^2 of g is left of the difference: 1e-16 / 1e-7 at the least, in either
    // precision, as the difference is taken in double.
    try check(Double.self, 1e-7)
    try check(Float.self, 1e-4)
  }
}

/// The zero row of a sample without labels made K singular: the directions were reported to rest on
/// rounding, and with a tiny lambda its weight of 1 / lambda leaked into the other samples through
/// the rounding of the eigenvectors.
struct Regression_ZeroGradientInTheGramMatrix {
  /// A sample whose positions are all unscored has no gradient: it must not disturb the others,
  /// damped or not.
  @Test(arguments: ["0", "1e-3", "1e-30", "rel:1e-7"])
  func unscoredSampleChangesNothing(_ damping: String) throws {
    try checkUnscored(damping, Double.self, tolerance: 1e-9)
    try checkUnscored(damping, Float.self, tolerance: 2e-4)
  }

  private func checkUnscored<S: EngineScalar>(
    _ damping: String, _: S.Type, tolerance: Double
  ) throws {
    var problem = Problem(Case("mlp", input: [3], mlp, samples: 4, seed: 2))
    problem.labels = .classes([0, 2, -100, 1])
    let oracle = DenseOracle(problem)
    let (engine, gradients) = try batch(problem, draws: [problem.labels], S.self)
    let scored = [0, 1, 3]
    let rows = scored.map { oracle.perSampleGradients[$0] }
    for (method, target) in [(UpdateMethod.ef, oracle.ones), (.ief, oracle.squares)] {
      let direction = try gradients.directions(method, [Damping(damping)!])[0]
      var k = oracle.gram(rows)
      for i in k.indices { k[i][i] += direction.lambda! }
      let weights = DenseOracle.solve(k, scored.map { target[$0] })
      #expect(
        mismatch(
          engine.direction(direction.scaled), oracle.combine(rows, weights), tolerance: tolerance)
          == nil, "\(method.name)")
      #expect(direction.relativeError < tolerance, "\(method.name): a zero row is no rounding")
    }
    let sampled = try gradients.directions(.sf, [Damping("0.01")!])[0]
    #expect(
      mismatchUpToScale(
        engine.direction(sampled.scaled), oracle.sampledFisher([problem.labels], lambda: 0.01),
        tolerance: tolerance) == nil)
  }
}

/// With one logit all labels of a sample pull along one line. Where a product of matrices rounds rows by
/// their place (OpenBLAS on processors without AVX-512), draws and true labels had rows that differed by
/// that, and what SF with a tiny damping left of g was mostly the difference: gamma was right, since no
/// logit sees it, and the direction was not.
struct Regression_ParallelDrawsRoundedApart {
  @Test(arguments: [5, 7, 11, 14])
  func tinyDampingLeavesNoRounding(_ samples: Int) throws {
    let layers = linear("a", 5, 13) + #",{"type": "tanh"},"# + linear("b", 13, 1)
    let oracle = DenseOracle(
      Problem(Case("one logit", input: [5], layers, loss: "bce", samples: samples, seed: 9)))
    let labels = oracle.problem.drawnLabels(1, seed: 12)
    let (engine, gradients) = try batch(oracle, draws: labels, Float.self)
    let direction = try gradients.directions(.sf, [Damping("1e-9")!])[0]
    // Of the rest of 1e-9 that is left of g, double precision knows seven digits; gradients of single
    // precision move it by their rounding times the condition number of K, which is below 1e4.
    #expect(
      mismatchUpToScale(
        engine.direction(direction.scaled), oracle.sampledFisher(labels, lambda: 1e-9),
        tolerance: 1e-2) == nil)
  }
}
