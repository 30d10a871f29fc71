import Curvature
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import Training

extension LogitGradient {
  /// The labels of cross-entropy that were drawn.
  var oracleLabels: OracleLabels {
    guard case .softmax(let labels, _, _) = self else { preconditionFailure("cross-entropy") }
    return .classes(labels.map { Int($0) })
  }
}

/// What a mini-batch becomes, against dense loops: the mean gradient, and the solves for EF, iEF
/// and SF with matrices written out.
struct DirectionTests {
  static let names = ["mlp", "positions, few features", "tied linear", "cnn", "norms"]

  private func direction<S: EngineScalar>(
    _ settings: OptimizerSettings, _ problem: Problem, _: S.Type
  ) throws -> (found: [Double], sampled: [LogitGradient]) {
    let engine = try EngineProblem(problem, S.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    let result = Vector<Double>(count: linearization.parameterCount)
    try BatchDirection.write(settings, linearization, output, seed: 5, step: 3, to: result)
    return (
      engine.unscrambled(result.array), output.sampledGradients(draws: 2, seed: 5, batch: 3)
    )
  }

  @Test(arguments: names)
  func baselinesGetTheMeanGradient(_ name: String) throws {
    for test in cases where test.name == name {
      let oracle = DenseOracle(Problem(test))
      let count = scoredPositions(oracle.problem)
      let expected = oracle.gradient.map { $0 / count }
      for kind in [OptimizerKind.sgd, .adam, .adamw, .adafactor, .transformersAdafactor] {
        let settings = OptimizerSettings(kind)
        let double = try direction(settings, oracle.problem, Double.self).found
        #expect(mismatch(double, expected, tolerance: 1e-12) == nil, "\(test)")
        let single = try direction(settings, oracle.problem, Float.self).found
        // Layers of a few dozen terms in single precision.
        #expect(mismatch(single, expected, tolerance: 1e-5) == nil, "\(test)")
      }
    }
  }

  private func scoredPositions(_ problem: Problem) -> Double {
    guard case .classes(let labels) = problem.labels else {
      return Double(problem.samples * problem.positions)
    }
    return Double(labels.count { $0 >= 0 })
  }

  /// Algorithms 1 and 2 on the mean loss: the share of a sample, its gradient and that of its logits,
  /// is divided by the number of scored positions, and lambda stays.
  @Test(arguments: names)
  func meanLossDividesGradients(_ name: String) throws {
    for test in cases where test.name == name {
      let oracle = DenseOracle(Problem(test))
      let count = scoredPositions(oracle.problem)
      let rows = oracle.perSampleGradients.map { $0.map { $0 / count } }
      var matrix = oracle.gram(rows)
      for n in rows.indices { matrix[n][n] += 1e-3 }
      let shares = oracle.squares.map { $0 / (count * count) }
      for (kind, target) in [(OptimizerKind.ef, oracle.ones), (.ief, shares)] {
        var settings = OptimizerSettings(kind)
        settings.reduction = .mean
        settings.damping = Damping("1e-3")!
        let found = try direction(settings, oracle.problem, Double.self).found
        let expected = oracle.combine(rows, DenseOracle.solve(matrix, target))
        // The same systems as below, in other units.
        #expect(
          mismatch(found, expected, tolerance: 1e-10) == nil, "\(kind.rawValue), \(test)")
        settings.damping = Damping("rel:1e-3")!
        let relative = try direction(settings, oracle.problem, Double.self).found
        settings.reduction = .sum
        let power = kind == .ef ? -1.0 : 1
        let summed = try direction(settings, oracle.problem, Double.self).found
        #expect(
          mismatch(relative.map { $0 * pow(count, power) }, summed, tolerance: 1e-13) == nil)
      }
    }
  }

  /// `(Ghat^T Ghat / W^2 + lambda I) d = g / W` for W scored positions.
  @Test(arguments: ["mlp", "positions, few features"])
  func meanLossDividesSampledGradients(_ name: String) throws {
    let oracle = DenseOracle(Problem(try #require(cases.first { $0.name == name })))
    let count = scoredPositions(oracle.problem)
    var settings = OptimizerSettings(.sf)
    settings.reduction = .mean
    settings.isNormalized = false
    settings.damping = Damping("1e-3")!
    settings.monteCarloSamples = 2
    let (found, sampled) = try direction(settings, oracle.problem, Double.self)
    let rows = oracle.sampledGradients(sampled.map(\.oracleLabels)).map { $0.map { $0 / count } }
    var left = found.map { 1e-3 * $0 }
    for row in rows {
      let factor = dot(row, found) / 2
      for i in left.indices { left[i] += factor * row[i] }
    }
    #expect(mismatch(left, oracle.gradient.map { $0 / count }, tolerance: 1e-10) == nil)
  }

  @Test(arguments: names)
  func naturalStepsAreDenseSolves(_ name: String) throws {
    for test in cases where test.name == name {
      let oracle = DenseOracle(Problem(test))
      for (kind, target) in [(OptimizerKind.ef, oracle.ones), (.ief, oracle.squares)] {
        var settings = OptimizerSettings(kind)
        settings.damping = Damping("1e-2")!
        let found = try direction(settings, oracle.problem, Double.self).found
        // K + lambda I has a condition number of some 1e4 here.
        #expect(
          mismatch(found, oracle.weightedGradients(target, lambda: 1e-2), tolerance: 1e-10) == nil,
          "\(kind.rawValue), \(test)")
      }
    }
  }

  /// `(Ghat^T Ghat + lambda I) d = g`, the factor 1 / lambda included unless the step's length is
  /// set anyway.
  @Test func sampledFisherSolvesItsSystem() throws {
    let oracle = DenseOracle(Problem(try #require(cases.first { $0.name == "mlp" })))
    var settings = OptimizerSettings(.sf)
    settings.damping = Damping("0.01")!
    settings.monteCarloSamples = 2
    let normalized = try direction(settings, oracle.problem, Double.self).found
    settings.isNormalized = false
    let (found, sampled) = try direction(settings, oracle.problem, Double.self)
    let rows = oracle.sampledGradients(sampled.map(\.oracleLabels))
    var left = found.map { 0.01 * $0 }
    for row in rows {
      let factor = dot(row, found) / 2
      for i in left.indices { left[i] += factor * row[i] }
    }
    #expect(mismatch(left, oracle.gradient, tolerance: 1e-10) == nil)
    #expect(mismatch(normalized.map { $0 / 0.01 }, found, tolerance: 1e-10) == nil)
  }

  @Test func scheduleFallsToZeroInEqualSteps() {
    let linear = (0..<4).map { LearningRateSchedule.linear.rate(2, step: $0, of: 4) }
    #expect(linear == [2, 1.5, 1, 0.5])
    #expect((0..<4).allSatisfy { LearningRateSchedule.constant.rate(2, step: $0, of: 4) == 2 })
  }

  /// Counts against the oracle's logits, ties and unscored positions included.
  @Test func accuracyCountsScoredDecisions() throws {
    for test in cases
    where ["mlp", "mlp, unscored sample", "positions", "soft labels"].contains(test.name) {
      let problem = Problem(test)
      let oracle = DenseOracle(problem)
      let engine = try EngineProblem(problem, Double.self)
      let found = Accuracy(
        Labels(problem.labels), loss: Loss(rawValue: problem.loss)!, engine.linearize())
      var expected = Accuracy()
      for n in 0..<problem.samples {
        for o in 0..<problem.positions {
          let z = oracle.logits[n][o * problem.classes..<(o + 1) * problem.classes]
          switch problem.labels {
          case .classes(let labels):
            let label = labels[n * problem.positions + o]
            if label < 0 { continue }
            expected.total += 1
            if z.firstIndex(of: z.max()!)! - z.startIndex == label { expected.correct += 1 }
          case .real(let targets) where problem.loss == "bce":
            for (c, value) in z.enumerated() {
              let place = (n * problem.positions + o) * problem.classes + c
              expected.total += 1
              if (value > 0) == (targets[place] > 0.5) { expected.correct += 1 }
            }
          case .real(let targets) where problem.loss == "cross_entropy":
            let first = (n * problem.positions + o) * problem.classes
            let shares = Array(targets[first..<first + problem.classes])
            expected.total += 1
            if z.firstIndex(of: z.max()!)! - z.startIndex == shares.firstIndex(of: shares.max()!) {
              expected.correct += 1
            }
          case .real: continue
          }
        }
      }
      #expect(found == expected, "\(test)")
    }
  }
}
