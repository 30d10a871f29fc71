import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// Methods that look at weights as matrices, and the layerwise oracle, where theorems say what they are.
struct MatrixMethodTests {
  /// With one layer there is nothing between layers to leave out.
  @Test(arguments: ["cross_entropy", "mse", "bce"])
  func oneLayerMakesTheLayerwiseOracleTheNaturalGradient(_ loss: String) throws {
    // With fewer rows of B than parameters, and with more.
    for samples in [2, 8] {
      let oracle = DenseOracle(
        Problem(Case("linear", input: [4], linear("a", 4, 3), loss: loss, samples: samples)))
      let (engine, gradients) = try batch(oracle, draws: [], Double.self)
      for damping in ["0.1", "1e-3"] {
        let found = try gradients.directions(.layerNG, [Damping(damping)!])[0]
        let expected = oracle.curvatureSolve(lambda: found.lambda!)
        #expect(mismatch(engine.direction(found.scaled), expected, tolerance: 1e-10) == nil)
      }
      let undamped = try gradients.directions(.layerNG, [Damping("0")!])[0]
      // Singular values of B above 1e-3 of the largest, squared in the Gram matrix.
      #expect(
        mismatch(engine.direction(undamped.scaled), oracle.naturalGradient, tolerance: 1e-8) == nil)
    }
  }

  /// Restricted to each layer no direction has a smaller gamma.
  @Test(arguments: cases.filter { $0.name != "one output" })
  func layerOracleHasTheLeastGammaInEveryLayer(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(1, seed: test.seed &+ 31)
    let (engine, gradients) = try batch(oracle, draws: labels, Double.self)
    let context = DirectionContext(gradients)
    let damping = [Damping("rel:1e-10")!]
    let best = engine.direction(
      try UpdateMethod.layerNG.directions(context, dampings: damping)[0].scaled)
    for method in UpdateMethod.named where method.needs.solve == nil {
      let other = engine.direction(
        try method.directions(context, dampings: method.needs.isDamped ? damping : [])[0].scaled)
      for entries in oracle.moduleEntries {
        func gamma(_ d: [Double]) -> Double {
          var restricted = [Double](repeating: 0, count: d.count)
          for p in entries { restricted[p] = d[p] }
          return oracle.gamma(restricted)
        }
        let least = gamma(best)
        // Where its gradient is zero, as that of logits with one sum is, a layer has no gamma.
        if least.isNaN { continue }
        // To second order in the damping and in the rounding of a least point.
        #expect(!(gamma(other) < least * (1 - 1e-6)), "\(method), entries \(entries)")
      }
    }
  }

  /// On one linear layer with squared error F = (sum a a^T) x I, which the expectation over labels is.
  @Test func expectedLabelsMakeKFACOfOneLinearLayerTheNaturalGradient() throws {
    let oracle = DenseOracle(
      Problem(Case("linear", input: [4], linear("a", 4, 3), loss: "mse", samples: 6)))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    let found = try gradients.directions(.kfacExact, [Damping("0")!])[0]
    // Condition numbers below 1e4.
    #expect(
      mismatch(engine.direction(found.scaled), oracle.naturalGradient, tolerance: 1e-9) == nil)
  }

  /// A linear layer whose outputs are averaged over positions is one of the mean input: reduced, K-FAC is
  /// exact; expanded it is not (Eschenhagen et al. 2023).
  @Test func reducedPositionsMakeKFACOfAveragedOutputsTheNaturalGradient() throws {
    let oracle = DenseOracle(
      Problem(
        Case(
          "averaged", input: [2, 2, 2],
          #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 3, "kernel_size": 1}, "#
            + #"{"type": "adaptive_avg_pool2d", "output_size": 1}, {"type": "flatten"}"#,
          loss: "mse", samples: 6)))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    let damping = [Damping("rel:1e-9")!]
    let reduced = engine.direction(
      try gradients.directions(.kfacExactReduce, damping)[0].scaled)
    let least = oracle.gamma(oracle.naturalGradient)
    #expect(oracle.gamma(reduced) <= least * (1 + 1e-6))
    let expanded = engine.direction(try gradients.directions(.kfacExact, damping)[0].scaled)
    #expect(oracle.gamma(expanded) > least * 1.001)
  }

  /// From one gradient alone all of them are U V^T.
  @Test func oneSampleMakesMatrixMethodsThePolarFactor() throws {
    let oracle = DenseOracle(
      Problem(
        Case(
          "positions", input: [5, 3],
          linear("a", 3, 4) + #", {"type": "tanh"}, "# + linear("b", 4, 3),
          trainable: ["a.weight"], samples: 1, seed: 8)))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    let polar = engine.direction(try gradients.directions(.muonPolar, [])[0].scaled)
    for (method, dampings) in [
      (UpdateMethod.shampoo, []), (.klShampoo, []), (.soap, [Damping("0")!]),
    ] {
      let found = engine.direction(try gradients.directions(method, dampings)[0].scaled)
      // Eigenvalues of G G^T over 1e6 times 1e-16, to a quarter.
      #expect(mismatchUpToScale(found, polar, tolerance: 1e-9) == nil, "\(method)")
    }
  }

  /// Half of the entries are clipped, whatever the scale of h.
  @Test func sophiaClipsItsShare() throws {
    let oracle = DenseOracle(
      Problem(Case("mlp", input: [3], mlp, samples: 5)))
    let (engine, gradients) = try batch(
      oracle, draws: oracle.problem.drawnLabels(2, seed: 3), Double.self)
    let found = engine.direction(try gradients.directions(.sophia, [])[0].scaled)
    let present = found.filter { $0 != 0 }
    let clipped = present.count { abs($0) == 1 }
    #expect(found.allSatisfy { abs($0) <= 1 })
    // Above the median, and the median itself.
    #expect(abs(clipped - present.count / 2) <= 1)
  }
}
