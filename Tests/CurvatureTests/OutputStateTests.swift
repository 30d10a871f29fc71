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
      let found = output.gradient(forSampled: Labels(labels), linearization: linearization)
      let expected = (0..<oracle.samples).flatMap {
        DenseOracle.sampledLogitGradient(oracle.problem, oracle.logits[$0], labels, sample: $0)
      }
      #expect(
        mismatch(written(found, output, linearization), expected, tolerance: 1e-13) == nil)
    }
  }

  /// u and H of the oracle, which everything is compared with, are derivatives of its loss.
  @Test(arguments: cases.filter { !$0.weights.isEmpty || $0.name == "mlp" })
  func gradientAndHessianAreDerivativesOfTheLoss(_ test: Case) throws {
    let problem = Problem(test)
    let oracle = DenseOracle(problem)
    for n in 0..<problem.samples {
      let z = oracle.logits[n]
      let h = oracle.hessian(n)
      for i in z.indices {
        let step = 1e-5
        func at(_ shift: Double) -> (loss: Double, gradient: [Double]) {
          var moved = z
          moved[i] += shift
          return DenseOracle.logitGradient(problem, moved, sample: n)
        }
        let (ahead, behind) = (at(step), at(-step))
        // Truncation is of the order of step^2, rounding of 1e-16 / step.
        let slope = (ahead.loss - behind.loss) / (2 * step)
        #expect(abs(slope - oracle.logitGradients[n][i]) < 1e-9, "u[\(i)] of sample \(n)")
        for j in z.indices {
          let second = (ahead.gradient[j] - behind.gradient[j]) / (2 * step)
          #expect(abs(second - h[i][j]) < 1e-9, "H[\(i), \(j)] of sample \(n)")
        }
      }
    }
  }

  /// A sample of weight two is the sample twice, one of weight zero is left out.
  @Test(arguments: ["cross_entropy", "mse", "bce"])
  func weightsCountSamples(_ loss: String) throws {
    var twice = Problem(Case("mlp", input: [3], mlp, loss: loss, samples: 4))
    twice.inputs[3] = twice.inputs[0]
    switch twice.labels {
    case .classes(var all):
      all[3] = all[0]
      twice.labels = .classes(all)
    case .real(var all):
      for c in 0..<3 { all[9 + c] = all[c] }
      twice.labels = .real(all)
    }
    var weighted = twice
    weighted.weighting.samples = [2, 1, 1, 0].map { [Double](repeating: $0, count: 3) }
    let states = try [twice, weighted].map { problem in
      let engine = try EngineProblem(problem, Double.self)
      let linearization = engine.linearize()
      let output = engine.output(linearization)
      let product = Vector<Double>(count: linearization.parameterCount)
      let v = Vector((0..<product.count).map { Double($0 % 5) - 2 })
      var values = [output.totalLoss, output.meanLoss, output.gammaBound]
      for metric in [OutputMetric.fisher, .identity] {
        _ = try FisherOperator(linearization, output, metric: metric).apply(v, into: product)
        values += product.array
      }
      return values
    }
    #expect(mismatch(states[1], states[0], tolerance: 1e-13) == nil)
  }

  /// Two logits 0 and -t and a label of the first with smoothing s: with q the probability of the
  /// second, u = (s / 2 - q) (1, -1), H = q (1 - q) (1, -1; -1, 1) and w^2 = (s / 2 - q)^2 / (q (1 - q)).
  @Test(arguments: [0.0, 1, 46, 300, 600])
  func smoothedLabelsOfASureNetworkAreExact(_ gap: Double) throws {
    var problem = Problem(
      Case(
        "sure", input: [1],
        #"{"type": "linear", "name": "a", "in_features": 1, "#
          + #""out_features": 2, "bias": false}"#, samples: 1))
    problem.inputs = [[1]]
    problem.parameters["a.weight"] = [0, -gap]
    problem.labels = .classes([0])
    problem.weighting.smoothing = 0.25
    problem.weighting.samples = [[3, 3]]
    let engine = try EngineProblem(problem, Double.self)
    let linearization = engine.linearize()
    let output = engine.output(linearization)
    let (q, rest) = (exp(-gap) / (1 + exp(-gap)), 1 / (1 + exp(-gap)))
    let u = 3 * (0.125 - q)
    #expect(
      mismatch(
        written(output.gradient, output, linearization), [u, -u], tolerance: 1e-14)
        == nil)
    // A few roundings, and that of q, which is of its own size.
    #expect(
      mismatch(output.gammaBound, 1 / (u * u / (3 * q * rest)).squareRoot(), tolerance: 1e-13)
        == nil)
    #expect(
      mismatch(
        output.totalLoss, 3 * (log1p(exp(-gap)) + 0.125 * gap), tolerance: 1e-14) == nil)
    let (quadratic, slope) = halves([0.25, -0.75], output, linearization)
    #expect(mismatch(quadratic, 3 * q * rest, tolerance: 1e-14) == nil)
    #expect(mismatch(slope, u, tolerance: 1e-14) == nil)
  }

  /// What estimates of rounding take of the outputs, with everything that multiplies or spreads labels:
  /// traces of H, slopes sample by sample, and which drawn rows are the true ones.
  @Test(arguments: [
    Case("mlp", input: [3], mlp, samples: 4, weights: [.classes, .smoothing, .samples]),
    Case("mlp", input: [3], mlp, samples: 4, weights: [.softLabels, .samples]),
    Case("mlp", input: [3], mlp, samples: 4, weights: [.samples]),
    Case("mlp", input: [3], mlp, samples: 4),
    Case("mlp", input: [3], mlp, loss: "mse", samples: 4, weights: [.classes, .elements]),
    Case("mlp", input: [3], mlp, loss: "bce", samples: 4, weights: [.positives, .elements]),
  ])
  func sizesOfSamplesCarryWeights(_ test: Case) throws {
    let problem = Problem(test)
    let oracle = DenseOracle(problem)
    let engine = try EngineProblem(problem, Double.self)
    let linearization = engine.linearize()
    let output = engine.output(linearization)
    let traces = (0..<4).map { n in
      oracle.hessian(n).enumerated().reduce(0) { $0 + $1.element[$1.offset] }
    }
    #expect(mismatch(output.hessianTraces, traces, tolerance: 1e-13) == nil)
    for (norm, trace) in zip(output.hessianNorms, traces) { #expect(norm <= trace * (1 + 1e-13)) }

    let size = linearization.logitCount
    let q = Vector((0..<4 * size).map { Double($0 % 7) - 3 })
    let u = written(output.gradient, output, linearization)
    var slopes = [Double](repeating: 0, count: 4)
    for chunk in linearization.schedule.chunks {
      slopes.withUnsafeMutableBufferPointer {
        output.writeGradientDots(
          output.gradient, chunk: chunk, q.pointer + chunk.first * size,
          to: $0.baseAddress! + chunk.first)
      }
    }
    for n in 0..<4 {
      let entries = n * size..<(n + 1) * size
      let (slope, terms) = entries.reduce((0.0, 0.0)) {
        ($0.0 + u[$1] * q[$1], $0.1 + abs(u[$1] * q[$1]))
      }
      #expect(abs(slopes[n] - slope) <= 1e-14 * terms)
    }

    guard case .classes(let labels) = problem.labels else { return }
    let drawn = output.gradient(
      forSampled: .classes(labels.map { Int64($0) }), linearization: linearization)
    for n in 0..<4 {
      let entries = n * size..<(n + 1) * size
      // How the rest of a probability is summed differs in its last digit.
      let other = written(drawn, output, linearization)
      let isSame =
        mismatch(Array(u[entries]), Array(other[entries]), tolerance: 1e-14) == nil
      #expect(output.areEqual(output.gradient, drawn, sample: n) == isSame)
      #expect(output.areEqual(drawn, drawn, sample: n))
    }
  }

  /// Logits whose exponentials leave the range of double: nothing is NaN, and a bound that cannot be
  /// expressed is zero, which claims nothing.
  @Test(
    arguments: [750.0, 1419, 1500, 1e5, 1e300], [[0.0], [1], [0.5]])
  func binaryLossAtAnyLogitHasNoNaN(_ size: Double, labels: [Double]) throws {
    for z in [size, -size] {
      var problem = Problem(
        Case(
          "sure", input: [1],
          #"{"type": "linear", "name": "a", "in_features": 1, "#
            + #""out_features": 1, "bias": false}"#, loss: "bce", samples: 1))
      problem.inputs = [[1]]
      problem.parameters["a.weight"] = [z]
      problem.labels = .real(labels)
      for weighting in [nil, [[2.0]]] {
        problem.weighting.samples = weighting
        problem.weighting.positives = weighting == nil ? nil : [3]
        let engine = try EngineProblem(problem, Double.self)
        let linearization = engine.linearize()
        let output = engine.output(linearization)
        let isMissed = labels[0] == 0.5 || (labels[0] == 1) == (z < 0)
        #expect(output.gammaBound == (isMissed ? 0 : .infinity))
        #expect(!output.totalLoss.isNaN)
        #expect(output.totalLoss > 0 || !isMissed)
        let weights = output.rootWeights(position: 0, class: 0)[0]
        #expect(!weights.isNaN)
        let draw = output.sampledGradients(draws: 1, seed: 1, batch: 0)[0]
        for gradient in [output.gradient, draw] {
          #expect(!written(gradient, output, linearization)[0].isNaN)
        }
      }
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
    #expect(output.positionWeight == 0)
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

  /// `q^T H q` and `u . q` of one sample.
  private func halves<S: EngineScalar>(
    _ q: [S], _ output: OutputState<S>, _ linearization: Linearization<S>
  ) -> (quadratic: Double, slope: Double) {
    let chunk = linearization.schedule.chunks[0]
    return (
      output.multiply(.fisher, chunk: chunk, q),
      output.gradientDot(output.gradient, chunk: chunk, q)
    )
  }

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
