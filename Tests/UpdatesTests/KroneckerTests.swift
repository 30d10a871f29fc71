import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// The K-FAC family where theorems, or other ways to the same numbers, say what it is.
struct KroneckerTests {
  static let methods: [UpdateMethod] = [.kfac, .ekfac, .iekfac]
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
    let found = try gradients.directions(.kfac, [Damping("0")!, Damping("0.01")!])
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
    let direction = try gradients.directions(.kfac, [Damping("rel:1e-9")!])[0]
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
    let dampings = [Damping("0.01")!, Damping("rel:1e-6")!]
    let kronecker = try gradients.directions(.ekfac, dampings)
    let exact = try gradients.directions(.blockEF, dampings)
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
        let direction = try gradients.directions(method, [Damping("1e-3")!])[0]
        #expect(
          mismatch(
            engine.direction(direction.scaled),
            denseFormulas[method.name]!.direction(oracle, labels, 1e-3),
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
      let dampings = [Damping("rel:1e-5")!]
      return try KroneckerTests.methods.flatMap { method in
        let (found, calls) = try SharedWork.calls(pool) {
          try gradients.directions(method, dampings)
        }
        #expect((calls > 0) == (threads > 1), "\(method.name), \(threads) threads")
        return found[0].scaled.vector.array
      }
        + gradients.directions(.blockSF, dampings)[0].scaled.vector.array
        + gradients.directions(.adam, dampings)[0].scaled.vector.array
    }
    for other in directions.dropFirst() { #expect(directions[0] == other) }
  }

  @Test func withoutDampingTheSolutionOfLeastNormIsTaken() throws {
    let oracle = DenseOracle(Problem(Case("mlp", input: [3], mlp, samples: 2)))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    let found = try gradients.directions(.ekfac, [Damping("0")!, Damping("rel:1e-9")!])
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
