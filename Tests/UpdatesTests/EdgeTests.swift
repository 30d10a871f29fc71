import Curvature
import Foundation
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// Where formulas cancel, overflow or lose rank.
struct EdgeTests {
  // MARK: - Sampled Fisher

  /// F of k draws is F up to a relative error of some sqrt(P / (k N)); the loss of efficiency is
  /// its square, about P / k for one-hot draws of N = 4 samples. Five times that is the error bar.
  @Test(arguments: [40, 160, 640])
  func sampledFisherApproachesTheNaturalGradient(_ draws: Int) throws {
    let oracle = DenseOracle(
      Problem(Case("linear", input: [2], linear("a", 2, 3), samples: 4, seed: 2)))
    let engine = try EngineProblem(oracle.problem, Double.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    let sampled = output.sampledGradients(draws: draws, seed: 3, batch: 0)
    let gradients = BatchGradients(linearization, output, sampled: sampled)
    let direction = try gradients.directions(.sf, [Damping("rel:1e-9")!])[0]
    let ratio =
      oracle.gamma(oracle.naturalGradient) / oracle.gamma(engine.direction(direction.scaled))
    #expect(ratio <= 1 + 1e-9)
    let bar = 5 * Double(oracle.parameterCount) / Double(draws)
    #expect(1 - ratio * ratio < bar, "efficiency \(ratio * ratio), \(draws) draws, seed 3")
  }

  // MARK: - Samples without gradients

  @Test func batchWithoutGradientGivesZeroDirections() throws {
    var problem = Problem(Case("mlp", input: [3], mlp, samples: 2))
    problem.labels = .classes([-100, -100])
    let (engine, gradients) = try batch(problem, draws: [problem.labels], Float.self)
    let dampings = ["0", "rel:1e-7", "0.1"].map { Damping($0)! }
    let directions =
      try gradients.directions(.ef, dampings)
      + gradients.directions(.ief, dampings)
      + gradients.directions(.sf, dampings)
    for direction in directions {
      #expect(engine.direction(direction.scaled).allSatisfy { $0 == 0 })
    }
  }

  // MARK: - Duplicates

  /// Two equal samples make K singular. Left out, they leave the system of the others; kept, with
  /// no damping, the solution of least norm divides their weight.
  @Test func duplicatesAreLeftOutOrShared() throws {
    var problem = Problem(Case("mlp", input: [3], mlp, samples: 4, seed: 5))
    problem.inputs[2] = problem.inputs[0]
    problem.labels = .classes([1, 0, 1, 2])
    let oracle = DenseOracle(problem)
    let kept = [0, 1, 3]
    let rows = kept.map { oracle.perSampleGradients[$0] }
    let weights = DenseOracle.solve(oracle.gram(rows), [1, 1, 1])
    let expected = oracle.combine(rows, weights)
    for cosine in [0.9999, nil] {
      let (engine, gradients) = try batch(
        problem, draws: [], Double.self, dropDuplicates: cosine)
      let direction = try gradients.directions(.ef, [Damping("0")!])[0]
      #expect(mismatch(engine.direction(direction.scaled), expected, tolerance: 1e-9) == nil)
      #expect(direction.relativeError < 1e-9)
    }
  }

  // MARK: - Sure networks

  /// Logits so far apart that samples are fitted to 1e-20 and below: K has entries of 1e-40, which
  /// single precision cannot hold, and directions must still be those of double precision.
  @Test(arguments: [1.0, 10, 40, 80])
  func wellFittedSamplesKeepTheirDigits(_ gap: Double) throws {
    var problem = Problem(Case("linear", input: [3], linear("a", 3, 3), samples: 3, seed: 4))
    problem.inputs = [[1, 0.25, 0], [0.125, 1, 0], [0, 0.25, 1]]
    problem.parameters["a.weight"] = [gap, 0, 0, 0, gap, 0, 0, 0, gap]
    problem.parameters["a.bias"] = [0, 0, 0]
    problem.labels = .classes([0, 1, 2])
    // u by hand: p_c, and minus the sum of the others at the label.
    let u = (0..<3).map { n in
      let e = problem.inputs[n].map { exp(gap * ($0 - 1)) }
      let sum = e.reduce(0, +)
      var u = e.map { $0 / sum }
      u[n] = 0
      u[n] = -u.reduce(0, +)
      return u
    }
    let x = problem.inputs
    // Rows of [W | b].
    let rows = (0..<3).map { n in u[n].flatMap { c in x[n].map { c * $0 } } + u[n] }
    let gram = rows.map { a in rows.map { dot(a, $0) } }
    func check<S: EngineScalar>(_: S.Type, _ tolerance: Double) throws {
      let (engine, gradients) = try batch(problem, draws: [], S.self)
      let found = (0..<9).map { gradients.gram[$0 / 3, $0 % 3] }
      #expect(mismatch(found, gram.flatMap { $0 }, tolerance: tolerance) == nil)
      let squares = u.map { dot($0, $0) }
      for damping in ["rel:1e-2", "0"] {
        for (method, target) in [(UpdateMethod.ef, [1.0, 1, 1]), (.ief, squares)] {
          let direction = try gradients.directions(method, [Damping(damping)!])[0]
          var k = gram
          for i in 0..<3 { k[i][i] += direction.lambda! }
          let weights = DenseOracle.solve(k, target)
          var expected = [Double](repeating: 0, count: 12)
          for (row, weight) in zip(rows, weights) {
            for p in 0..<12 { expected[p] += weight * row[p] }
          }
          #expect(
            mismatch(engine.direction(direction.scaled), expected, tolerance: tolerance) == nil,
            "\(method.name) at \(damping)")
        }
      }
    }
    // K has a condition number below 10; exp amplifies the rounding of logits of size gap.
    try check(Double.self, 1e-13 * gap)
    try check(Float.self, 1e-6 * gap)
  }
}
