import Foundation
import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// Losses, logit gradients, certificates and the root of H.
struct OutputStateTests {
  @Test(arguments: cases)
  func lossesGradientsAndCertificatesAreTheOraclesInDouble(_ test: Case) throws {
    try check(test, Double.self, tolerance: 1e-12)
  }

  @Test(arguments: cases)
  func lossesGradientsAndCertificatesAreTheOraclesInSingle(_ test: Case) throws {
    // Logits carry single precision, everything after them is in double.
    try check(test, Float.self, tolerance: 3e-5)
  }

  private func check<S: EngineScalar>(_ test: Case, _: S.Type, tolerance: Double) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, S.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    #expect(mismatch(output.sampleLosses, oracle.losses, tolerance: tolerance) == nil)
    #expect(mismatch(output.totalLoss, oracle.losses.reduce(0, +), tolerance: tolerance) == nil)
    let norms = oracle.squares.map { $0.squareRoot() }
    #expect(mismatch(output.gradientNorms, norms, tolerance: tolerance) == nil)
    #expect(mismatch(output.gammaBound, oracle.gammaBound, tolerance: tolerance) == nil)

    let all = oracle.logitGradients.flatMap { $0 }
    #expect(
      mismatch(written(output.gradient, output, linearization), all, tolerance: tolerance) == nil)

    // Chunks add up to d^T g = u . q.
    var random = SeededGenerator(seed: test.seed &+ 500)
    let q = Vector<S>(random.normals(all.count).map { S($0) })
    let size = linearization.logitCount
    let dots = linearization.schedule.chunks.map {
      output.gradientDot(output.gradient, chunk: $0, q.pointer + $0.first * size)
    }
    let terms = zip(all, q.array).reduce(0) { $0 + abs($1.0 * Double($1.1)) }
    #expect(
      mismatch(
        [dots.reduce(0, +)], [dot(all, q.array.map { Double($0) })], tolerance: tolerance,
        scale: terms) == nil)

    // A A^T = H and A w = u.
    let columns = (0..<size).map { k in
      column(k, output, linearization)
    }
    let weights = (0..<size).map {
      output.rootWeights(position: $0 / output.classes, class: $0 % output.classes)
    }
    for n in 0..<oracle.samples {
      let h = oracle.hessian(n)
      for a in 0..<size {
        let row = columns.map { $0[n * size + a] }
        for b in 0..<size {
          let found = dot(row, columns.map { $0[n * size + b] })
          #expect(
            mismatch([found], [h[a][b]], tolerance: tolerance, scale: 1) == nil, "H[\(a), \(b)]")
        }
        #expect(
          mismatch(
            [dot(row, weights.map { $0[n] })], [oracle.logitGradients[n][a]],
            tolerance: tolerance, scale: 1) == nil, "u[\(a)]")
      }
    }
  }

  @Test(arguments: cases)
  func gradientsOfOtherLabelsAreTheOracles(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let engine = try EngineProblem(oracle.problem, Double.self)
    let linearization = engine.linearize()
    let output = engine.output(linearization)
    for labels in oracle.problem.drawnLabels(2, seed: test.seed) {
      let found = output.gradient(for: Labels(labels), linearization: linearization)
      let expected = (0..<oracle.samples).flatMap {
        DenseOracle.logitGradient(oracle.problem, oracle.logits[$0], labels, sample: $0).gradient
      }
      #expect(
        mismatch(written(found, output, linearization), expected, tolerance: 1e-13) == nil)
    }
  }

  /// One sample, two classes, all by hand: with a gap t between the logits every direction has
  /// gamma = exp(t / 2) if the label is on top and exp(-t / 2) if not, and so has the bound.
  @Test(arguments: [0.0, 1, 46, 300, 600])
  func gammaOfASureNetworkIsExact(_ gap: Double) throws {
    try checkSure(gap, Double.self)
    try checkSure(gap, Float.self)
  }

  private func checkSure<S: EngineScalar>(_ gap: Double, _: S.Type) throws {
    var problem = Problem(
      Case(
        "sure", input: [1],
        #"{"type": "linear", "name": "a", "in_features": 1, "#
          + #""out_features": 2, "bias": false}"#, samples: 1))
    problem.inputs = [[1]]
    problem.parameters["a.weight"] = [0, -gap]
    for label in [0, 1] {
      problem.labels = .classes([label])
      let engine = try EngineProblem(problem, S.self)
      let linearization = engine.linearize()
      let output = engine.output(linearization)
      let expected = exp(label == 0 ? gap / 2 : -gap / 2)
      let chunk = linearization.schedule.chunks[0]
      let q: [S] = [0.25, -0.75]
      let quadratic = output.multiply(.fisher, chunk: chunk, q)
      let slope = output.gradientDot(output.gradient, chunk: chunk, q)
      // exp has an error of some ulps of its result for either half.
      #expect(mismatch(quadratic.squareRoot() / abs(slope), expected, tolerance: 1e-14) == nil)
      #expect(mismatch(output.gammaBound, expected, tolerance: 1e-14) == nil)
      let p = exp(-gap) / (1 + exp(-gap))
      let u = label == 0 ? p : 1 / (1 + exp(-gap))
      #expect(mismatch(output.gradientNorms[0], 2.0.squareRoot() * u, tolerance: 1e-14) == nil)
      let loss = label == 0 ? log1p(exp(-gap)) : gap + log1p(exp(-gap))
      #expect(mismatch(output.totalLoss, loss, tolerance: 1e-14) == nil)
    }
  }

  /// The same for one logistic output: w = -exp(-z / 2) for y = 1.
  @Test(arguments: [-600.0, -46, -1, 0, 3, 46, 600])
  func gammaOfASureLogisticOutputIsExact(_ z: Double) throws {
    var problem = Problem(
      Case(
        "sure", input: [1],
        #"{"type": "linear", "name": "a", "in_features": 1, "#
          + #""out_features": 1, "bias": false}"#, loss: "bce", samples: 1))
    problem.inputs = [[1]]
    problem.parameters["a.weight"] = [z]
    for y in [0.0, 1] {
      problem.labels = .real([y])
      let engine = try EngineProblem(problem, Float.self)
      let linearization = engine.linearize()
      let output = engine.output(linearization)
      let expected = y == 1 ? exp(z / 2) : exp(-z / 2)
      let q: [Float] = [0.5]
      let chunk = linearization.schedule.chunks[0]
      let quadratic = output.multiply(.fisher, chunk: chunk, q)
      let slope = output.gradientDot(output.gradient, chunk: chunk, q)
      #expect(mismatch(quadratic.squareRoot() / abs(slope), expected, tolerance: 1e-14) == nil)
      #expect(mismatch(output.gammaBound, expected, tolerance: 1e-14) == nil)
    }
  }

  @Test func batchWithoutScoredPositionsIsZeroEverywhere() throws {
    var problem = Problem(Case("unscored", input: [3], mlp, samples: 3))
    problem.labels = .classes([-100, -100, -100])
    let engine = try EngineProblem(problem, Float.self)
    let linearization = engine.linearize()
    let output = engine.output(linearization)
    #expect(output.totalLoss == 0)
    #expect(output.scoredPositions == 0)
    #expect(output.gradientNorms == [0, 0, 0])
    #expect(output.gammaBound == .infinity)
    let product = Vector<Float>(count: linearization.parameterCount)
    let v = Vector<Float>((0..<product.count).map { Float($0 + 1) })
    for metric in [OutputMetric.fisher, .identity] {
      #expect(
        try FisherOperator(linearization, output, metric: metric).apply(v, into: product) == 0)
      #expect(product.array.allSatisfy { $0 == 0 })
    }
  }

  // MARK: - Pieces

  private func written<S: EngineScalar>(
    _ gradient: LogitGradient, _ output: OutputState<S>, _ linearization: Linearization<S>
  ) -> [Double] {
    let size = linearization.logitCount
    let out = Vector<S>(count: output.samples * size)
    let units = [Double](repeating: 0.25, count: output.samples)
    for chunk in linearization.schedule.chunks {
      output.write(gradient, chunk: chunk, units: units, to: out.pointer + chunk.first * size)
    }
    return out.array.map { Double($0) / 4 }
  }

  private func column<S: EngineScalar>(
    _ k: Int, _ output: OutputState<S>, _ linearization: Linearization<S>
  ) -> [Double] {
    let size = linearization.logitCount
    let out = Vector<S>(count: output.samples * size)
    for chunk in linearization.schedule.chunks {
      output.writeRootColumn(
        position: k / output.classes, class: k % output.classes, chunk: chunk,
        to: out.pointer + chunk.first * size)
    }
    return out.array.map { Double($0) }
  }
}
