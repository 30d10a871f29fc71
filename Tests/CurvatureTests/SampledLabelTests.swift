import Foundation
import TestSupport
import Testing

@testable import Curvature

/// Monte-Carlo labels: their distribution, and what they depend on.
struct SampledLabelTests {
  /// Counts of 4000 draws per position are binomial: within 5 standard deviations, which a correct
  /// generator leaves once in a million comparisons, and the seed is fixed.
  @Test func classesHaveTheProbabilitiesOfTheModel() throws {
    let test = Case(
      "positions", input: [2, 3], linear("a", 3, 4), samples: 3, ignores: true, seed: 7)
    let (oracle, output) = try state(test)
    let draws = 4000
    var counts = [[Int]](
      repeating: [Int](repeating: 0, count: 4), count: oracle.samples * 2)
    for gradient in output.sampledGradients(draws: draws, seed: 11, batch: 0) {
      let labels = try classes(gradient)
      for row in labels.indices where labels[row] >= 0 { counts[row][Int(labels[row])] += 1 }
    }
    guard case .classes(let known) = oracle.problem.labels else { return }
    for row in counts.indices {
      let z = oracle.logits[row / 2][row % 2 * 4..<row % 2 * 4 + 4]
      let p = DenseOracle.softmax(Array(z))
      #expect(counts[row].reduce(0, +) == (known[row] < 0 ? 0 : draws))
      for c in 0..<4 where known[row] >= 0 {
        let deviation = (Double(draws) * p[c] * (1 - p[c])).squareRoot()
        let excess = (Double(counts[row][c]) - Double(draws) * p[c]) / deviation
        #expect(abs(excess) < 5, "row \(row), class \(c): \(excess) standard deviations, seed 11")
      }
    }
  }

  /// Sampled logit gradients have mean zero and covariance H: so does SF approach NG.
  static let weighted: [Case] =
    ["cross_entropy", "mse", "bce"].map {
      Case("mlp", input: [3], mlp, loss: $0, samples: 2, seed: 3)
    } + [
      Case("mlp", input: [3], mlp, samples: 2, weights: [.classes, .smoothing, .samples], seed: 3),
      Case("mlp", input: [3], mlp, samples: 2, weights: [.classes, .samples], seed: 3),
      Case("mlp", input: [3], mlp, samples: 2, weights: [.softLabels, .samples], seed: 3),
      Case(
        "mlp", input: [3], mlp, loss: "mse", samples: 2, weights: [.classes, .samples], seed: 3),
      Case(
        "mlp", input: [3], mlp, loss: "bce", samples: 2,
        weights: [.positives, .classes, .elements],
        seed: 3),
    ]

  @Test(arguments: weighted)
  func gradientsOfDrawsHaveMeanZeroAndCovarianceH(_ test: Case) throws {
    let (oracle, output) = try state(test)
    let draws = 4000
    let gradients = output.sampledGradients(draws: draws, seed: 5, batch: 2)
    for n in 0..<2 {
      let h = oracle.hessian(n)
      let rows = gradients.map { logitGradient($0, output, sample: n) }
      for a in 0..<3 {
        let mean = rows.reduce(0) { $0 + $1[a] } / Double(draws)
        // Entries have variance H[a][a]: 5 standard errors. What has no weight is zero.
        #expect(
          abs(mean) <= 5 * (h[a][a] / Double(draws)).squareRoot(), "mean \(a), seed 5")
        for b in 0...a {
          let products = rows.map { $0[a] * $0[b] }
          let mean = products.reduce(0, +) / Double(draws)
          let square = products.reduce(0) { $0 + $1 * $1 } / Double(draws)
          let error = ((square - mean * mean) / Double(draws)).squareRoot()
          #expect(abs(mean - h[a][b]) < 5 * error + 1e-12, "H[\(a), \(b)], seed 5")
        }
      }
    }
  }

  @Test(arguments: ["cross_entropy", "mse", "bce"])
  func drawsDependOnSeedBatchAndSampleAlone(_ loss: String) throws {
    let test = Case("mlp", input: [3], mlp, loss: loss, samples: 5, seed: 3)
    let (_, one) = try state(test)
    let (_, three) = try state(test, threads: 3)
    func text(_ output: OutputState<Double>, draws: Int, seed: UInt64, batch: Int) -> [String] {
      output.sampledGradients(draws: draws, seed: seed, batch: batch).map { "\($0)" }
    }
    let drawn = text(one, draws: 3, seed: 1, batch: 4)
    #expect(drawn == text(one, draws: 3, seed: 1, batch: 4))
    #expect(drawn == text(three, draws: 3, seed: 1, batch: 4))
    #expect(Array(drawn[0..<2]) == text(one, draws: 2, seed: 1, batch: 4))
    #expect(drawn != text(one, draws: 3, seed: 2, batch: 4))
    #expect(drawn != text(one, draws: 3, seed: 1, batch: 5))
    #expect(drawn[0] != drawn[1])
  }

  /// Position by position and output by output, of those that are scored.
  @Test func changedLabelsAreThoseOfAnotherClass() throws {
    let test = Case(
      "positions", input: [2, 3], linear("a", 3, 4), samples: 3, ignores: true, seed: 7)
    let (oracle, output) = try state(test)
    let draws = output.sampledGradients(draws: 200, seed: 11, batch: 0)
    guard case .classes(let known) = oracle.problem.labels else { throw Wrong() }
    var (changed, all) = (0, 0)
    for draw in try draws.map(classes) {
      for (found, label) in zip(draw, known) where label >= 0 {
        all += 1
        if found != Int64(label) { changed += 1 }
      }
    }
    let counts = try #require(
      output.changedLabels(of: draws, truth: Labels(oracle.problem.labels)))
    #expect(counts.changed == changed && counts.all == all)
    #expect(all < 200 * known.count && changed > 0 && changed < all, "a test of all cases")

    for weights in [[], [.elements]] as [[OracleWeighting.Part]] {
      let binary = Case(
        "mlp", input: [3], mlp, loss: "bce", samples: 6, weights: weights, seed: 3)
      let (problem, state) = try state(binary)
      guard case .real(let targets) = problem.problem.labels else { throw Wrong() }
      let drawn = state.sampledGradients(draws: 4, seed: 5, batch: 1)
      var (changed, all) = (0, 0)
      for draw in drawn {
        guard case .elementwise(let u) = draw else { throw Wrong() }
        for i in targets.indices where u[i] != 0 {
          all += 1
          // p - y, with y = 1 where it is negative.
          if (u[i] < 0) != (targets[i] >= 0.5) { changed += 1 }
        }
      }
      let counts = try #require(
        state.changedLabels(of: drawn, truth: Labels(problem.problem.labels)))
      #expect(counts.changed == changed && counts.all == all)
    }
    let (_, squared) = try state(
      Case("mlp", input: [3], mlp, loss: "mse", samples: 2, seed: 3))
    #expect(
      squared.changedLabels(
        of: squared.sampledGradients(draws: 1, seed: 1, batch: 0), truth: .real([])) == nil)
  }

  // MARK: - Pieces

  private func state(
    _ test: Case, threads: Int = 1
  ) throws -> (DenseOracle, OutputState<Double>) {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, Double.self)
    return (oracle, engine.output(engine.linearize(threads: threads)))
  }

  private func classes(_ gradient: LogitGradient) throws -> [Int64] {
    guard case .softmax(let labels, _, _) = gradient else { throw Wrong() }
    return labels
  }

  private struct Wrong: Error {}

  /// u of one sample as the engine writes it.
  private func logitGradient(
    _ gradient: LogitGradient, _ output: OutputState<Double>, sample: Int
  ) -> [Double] {
    let size = output.positions * output.classes
    var u = [Double](repeating: .nan, count: size)
    let units = [Double](repeating: 1, count: output.samples)
    output.write(
      gradient, chunk: .init(number: sample, first: sample, count: 1), units: units, to: &u)
    return u
  }
}
