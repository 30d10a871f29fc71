import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// The K-FAC family over the case list, against Kronecker products that are written out and
/// inverted by elimination.
struct KroneckerTests {
  static let methods: [Method] = [.kfac, .ekfac, .iekfac]
  static let dampings = ["0.1", "1e-3", "rel:1e-2", "rel:1e-4"]

  @Test(arguments: cases, methods)
  func directionsAreTheOraclesInDouble(_ test: Case, _ method: Method) throws {
    // Matrices with condition numbers of at most some 1e2 / 1e-4.
    try check(test, method, Double.self) { _ in 1e-9 }
  }

  @Test(arguments: cases, methods)
  func directionsAreTheOraclesInSingle(_ test: Case, _ method: Method) throws {
    // Rows with errors of 1e-6, multiplied by the same condition number.
    try check(test, method, Float.self) { min(1, 1e-5 * max(1, 1 / $0)) }
  }

  private func check<S: EngineScalar>(
    _ test: Case, _ method: Method, _: S.Type, tolerance: (_ relativeDamping: Double) -> Double
  ) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = method == .kfac ? oracle.problem.drawnLabels(2, seed: test.seed &+ 50) : []
    let (engine, gradients) = try batch(oracle, draws: labels, S.self)
    let directions = try KFAC.directions(
      TensorBlocks(gradients), method: method,
      dampings: KroneckerTests.dampings.map { Damping($0)! })
    let largest = method == .kfac ? oracle.largestSampled(labels) : oracle.largest
    for direction in directions {
      let damping = try #require(direction.damping)
      let lambda = try #require(direction.lambda)
      let expected = damping.isRelative ? damping.value * largest : damping.value
      #expect(mismatch(lambda, expected, tolerance: 1e-4) == nil)
      #expect(direction.method == method)
      #expect(
        mismatch(
          engine.direction(direction.scaled), oracle.kfac(method, labels, lambda: lambda),
          tolerance: tolerance(lambda / largest)) == nil, "\(method.name) at \(damping.text)")
    }
  }

  // MARK: - Theorems

  /// On one linear layer with squared error F = (sum a a^T) x I. Draws whose logit gradients are
  /// plus and minus sqrt(C) times each unit vector have exactly the expected factor B = N I: then
  /// K-FAC is F.
  @Test(arguments: [2, 4, 9])
  func oneLinearLayerWithExpectedFactorsIsTheNaturalGradient(_ inputs: Int) throws {
    let oracle = DenseOracle(
      Problem(Case("linear", input: [inputs], linear("a", inputs, 3), loss: "mse", samples: 5)))
    let classes = 3
    let labels = (0..<2 * classes).map { draw in
      OracleLabels.real(
        (0..<5 * classes).map { i in
          let z = oracle.logits[i / classes][i % classes]
          let shift = draw % classes == i % classes ? Double(classes).squareRoot() : 0
          return z + (draw < classes ? shift : -shift)
        })
    }
    let (engine, gradients) = try batch(oracle, draws: labels, Double.self)
    let found = try KFAC.directions(
      TensorBlocks(gradients), method: .kfac, dampings: [Damping("0")!, Damping("0.01")!])
    // Factors with condition numbers below 1e4.
    #expect(
      mismatch(engine.direction(found[0].scaled), oracle.naturalGradient, tolerance: 1e-9) == nil)
    var fisher = (0..<oracle.parameterCount).map { p in
      var unit = [Double](repeating: 0, count: oracle.parameterCount)
      unit[p] = 1
      return oracle.fisherProduct(unit)
    }
    for p in fisher.indices { fisher[p][p] += 0.01 }
    #expect(
      mismatch(
        engine.direction(found[1].scaled), DenseOracle.solve(fisher, oracle.gradient),
        tolerance: 1e-10) == nil)
  }

  /// As labels are drawn: with k N draws of C outputs B is off by some sqrt(C / (k N)), and the loss
  /// of efficiency is its square.
  @Test(arguments: [10, 100, 1000])
  func kfacApproachesTheNaturalGradientAsLabelsAreDrawn(_ draws: Int) throws {
    let oracle = DenseOracle(
      Problem(Case("linear", input: [3], linear("a", 3, 3), loss: "mse", samples: 5, seed: 6)))
    let engine = try EngineProblem(oracle.problem, Double.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    let gradients = BatchGradients(
      linearization, output, sampled: output.sampledGradients(draws: draws, seed: 3, batch: 0))
    let direction = try KFAC.directions(
      TensorBlocks(gradients), method: .kfac, dampings: [Damping("rel:1e-9")!])[0]
    let ratio =
      oracle.gamma(oracle.naturalGradient) / oracle.gamma(engine.direction(direction.scaled))
    #expect(ratio <= 1 + 1e-9)
    #expect(1 - ratio * ratio < 5 * 3.0 / Double(draws * 5))
  }

  /// On one datum a layer's matrix is one outer product: K-FAC is exact, and so is a block.
  @Test func oneSampleMakesBlocksAndKroneckerProductsOne() throws {
    let (engine, gradients) = try batch(
      DenseOracle(
        Problem(
          Case(
            "mlp", input: [3], mlp, trainable: ["a.weight", "b.weight"], samples: 1, seed: 8))),
      draws: [], Double.self)
    let blocks = TensorBlocks(gradients)
    let dampings = [Damping("0.01")!, Damping("rel:1e-6")!]
    let kronecker = try KFAC.directions(blocks, method: .ekfac, dampings: dampings)
    let exact = try BlockDiagonal.directions(blocks, method: .blockEF, dampings: dampings)
    for (a, b) in zip(kronecker, exact) {
      // 1e-16 over the relative damping.
      #expect(
        mismatch(engine.direction(a.scaled), engine.direction(b.scaled), tolerance: 1e-9) == nil)
    }
  }

  // MARK: - Other ways to the same numbers

  /// Rows collected in a second pass, forward values recomputed chunk by chunk.
  @Test(
    arguments: cases.filter { ["cnn", "positions, few features", "residual"].contains($0.name) })
  func rowsOfRecomputedChunksAreTheSame(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let labels = oracle.problem.drawnLabels(1, seed: 4)
    let engine = try EngineProblem(oracle.problem, Double.self)
    for budget in [Int.max, 0] {
      let linearization = engine.linearize(threads: 2, budget: budget)
      let output = engine.output(linearization)
      let gradients = BatchGradients(
        linearization, output,
        sampled: labels.map {
          output.gradient(forSampled: Labels($0), linearization: linearization)
        })
      for method in KroneckerTests.methods {
        let direction = try KFAC.directions(
          TensorBlocks(gradients), method: method, dampings: [Damping("1e-3")!])[0]
        #expect(
          mismatch(
            engine.direction(direction.scaled), oracle.kfac(method, labels, lambda: 1e-3),
            tolerance: 1e-9) == nil, "\(method.name), budget \(budget)")
      }
    }
  }

  @Test func bitsDoNotDependOnThreads() throws {
    let problem = Problem(try #require(cases.first { $0.name == "cnn" }))
    let engine = try EngineProblem(problem, Float.self)
    let directions = try SharedWork.threads.map { threads in
      let pool = SharedWork.pool(threads)
      let linearization = engine.linearize(pool: pool)
      let output = engine.output(linearization)
      let gradients = BatchGradients(
        linearization, output, sampled: output.sampledGradients(draws: 2, seed: 1, batch: 0))
      let blocks = TensorBlocks(gradients)
      let dampings = [Damping("rel:1e-5")!]
      return try KroneckerTests.methods.flatMap { method in
        let (found, calls) = try SharedWork.calls(pool) {
          try KFAC.directions(blocks, method: method, dampings: dampings)
        }
        #expect((calls > 0) == (threads > 1), "\(method.name), \(threads) threads")
        return found[0].scaled.vector.array
      }
        + BlockDiagonal.directions(blocks, method: .blockSF, dampings: dampings)[0].scaled.vector
        .array
        + Diagonal.directions(
          gradients, Diagonal.Squares(gradients, method: .adam), method: .adam, dampings: dampings)[
          0
        ]
        .scaled.vector.array
    }
    for other in directions.dropFirst() { #expect(directions[0] == other) }
  }

  @Test func withoutDampingTheSolutionOfLeastNormIsTaken() throws {
    let oracle = DenseOracle(Problem(Case("mlp", input: [3], mlp, samples: 2)))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    let found = try KFAC.directions(
      TensorBlocks(gradients), method: .ekfac, dampings: [Damping("0")!, Damping("rel:1e-9")!])
    // The limit is approached like lambda over the least eigenvalue.
    #expect(
      mismatchUpToScale(
        engine.direction(found[0].scaled), engine.direction(found[1].scaled), tolerance: 1e-4)
        == nil)
  }

  @Test func planSaysWhichTensorsHaveKroneckerProducts() throws {
    func exceptions(_ name: String, _ loss: String = "cross_entropy") throws -> [String: String] {
      let engine = try EngineProblem(
        Problem(try #require(cases.first { $0.name == name })), Double.self)
      let parameters = engine.program.graph.parameters
      return Dictionary(
        uniqueKeysWithValues: KroneckerPlan(engine.program).exact.map {
          (parameters[$0.parameter.index].name, $0.exception.rawValue)
        })
    }
    #expect(try exceptions("mlp") == [:])
    #expect(try exceptions("cnn") == [:])
    #expect(try exceptions("tied linear") == ["a.weight": "tied", "a.bias": "tied"])
    #expect(try exceptions("tied embedding") == ["e.weight": "tied"])
    #expect(try exceptions("tokens by tables") == ["e.weight": "embedding"])
    #expect(try exceptions("mlp, first bias only") == ["a.bias": "bias of a frozen weight"])
    #expect(
      try exceptions("norms, one norm only")
        == ["n.weight": "not a linear layer", "n.bias": "not a linear layer"])
    #expect(
      try exceptions("cnn in groups")
        == ["c.weight": "not a linear layer", "c.bias": "not a linear layer"])
  }
}

extension DenseOracle {
  /// `max_n K_nn`
  var largest: Double { perSampleGradients.map { dot($0, $0) }.max()! }

  func largestSampled(_ draws: [OracleLabels]) -> Double {
    sampledGradients(draws).map { dot($0, $0) }.max()! / Double(draws.count)
  }

  /// The K-FAC family by its definition.
  func kfac(_ method: Method, _ draws: [OracleLabels], lambda: Double) -> [Double] {
    var result = [Double](repeating: 0, count: parameterCount)
    let ranges = Dictionary(uniqueKeysWithValues: tensorRanges.map { ($0.name, $0.range) })
    var done: Set<String> = []
    let (factorGradients, weights) = kroneckerFactor(method, draws)
    for name in problem.model.linearLayers {
      guard let weight = ranges[name + ".weight"] else { continue }
      let solution = kroneckerSolve(
        layerRows(name), factorGradients: factorGradients, weights: weights, lambda: lambda)
      let inputs = weight.count / solution.count
      for (o, row) in solution.enumerated() {
        for i in 0..<inputs { result[weight.lowerBound + o * inputs + i] = row[i] }
        if let bias = ranges[name + ".bias"] { result[bias.lowerBound + o] = row[inputs] }
      }
      done.formUnion([name + ".weight", name + ".bias"])
    }
    for (name, range) in tensorRanges where !done.contains(name) {
      let block =
        switch method {
        case .kfac: sampledBlock(range, draws, lambda: lambda)
        case .ekfac: empiricalBlock(range, target: ones, lambda: lambda)
        default: empiricalBlock(range, target: squares, lambda: lambda)
        }
      for (i, value) in zip(range, block) { result[i] = value }
    }
    return result
  }

  private func kroneckerFactor(
    _ method: Method, _ draws: [OracleLabels]
  ) -> (gradients: [[[Double]]], weights: [[Double]]) {
    switch method {
    case .kfac:
      let drawn = draws.map { labels in
        (0..<samples).map {
          DenseOracle.sampledLogitGradient(problem, logits[$0], labels, sample: $0)
        }
      }
      let weight = 1 / Double(draws.count)
      return (drawn, draws.map { _ in [Double](repeating: weight, count: samples) })
    case .ekfac: return ([logitGradients], [ones])
    default: return ([logitGradients], [squares.map { $0 > 0 ? 1 / $0 : 0 }])
    }
  }
}
