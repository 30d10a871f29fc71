import Curvature
import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// Blocks of the Fisher matrix by conjugate gradients, as they are where their matrices are large.
struct IteratedBlockTests {
  private func directions<S: EngineScalar>(
    _ method: UpdateMethod, _ gradients: BatchGradients<S>, _ dampings: [String],
    _ solver: BlockSolver, limits: SolveLimits
  ) throws -> [Direction<S>] {
    try method.directions(
      DirectionContext(gradients, blockLimits: limits, blockSolver: solver),
      dampings: dampings.map { Damping($0)! })
  }

  /// The two ways and the definition, over weight sharing, tied tensors, low-rank
  /// changes and what factors.
  @Test(arguments: cases + [lowRank], [UpdateMethod.layerNG, .blockNG])
  func iterationsMatricesAndTheDefinitionAgree(_ test: Case, _ method: UpdateMethod) throws {
    let oracle = DenseOracle(Problem(test))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    let dampings = ["0.1", "1e-3", "rel:1e-2"]
    let limits = SolveLimits(relativeTolerance: 1e-13, maxIterations: 500)
    let iterated = try directions(method, gradients, dampings, .iterations, limits: limits)
    let formed = try directions(method, gradients, dampings, .matrices, limits: limits)
    let formula = try #require(denseFormulas[method.name])
    for (own, other) in zip(iterated, formed) {
      let lambda = try #require(own.lambda)
      #expect(lambda == other.lambda)
      // A residual of 1e-13, times the condition number of at most 1e4 that the damping leaves.
      let expected = formula.direction(oracle, [], lambda)
      #expect(mismatch(engine.direction(own.scaled), expected, tolerance: 1e-8) == nil)
      #expect(
        mismatch(engine.direction(own.scaled), engine.direction(other.scaled), tolerance: 1e-8)
          == nil)
      let solves = try #require(own.solves)
      #expect(solves.blocks > 0 && solves.residual <= 1e-12)
      #expect(other.solves == nil && other.missing == 0)
    }
  }

  @Test(arguments: (cases + [lowRank]).filter { $0.weights.isEmpty })
  func singlePrecisionAgreesToItsRounding(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    let (engine, gradients) = try batch(oracle, draws: [], Float.self)
    let found = try directions(
      .layerNG, gradients, ["rel:1e-2"], .iterations, limits: SolveLimits(maxIterations: 500))[0]
    let expected = denseFormulas["layer-ng"]!.direction(oracle, [], found.lambda!)
    // The rounding of products, times the condition number.
    #expect(mismatch(engine.direction(found.scaled), expected, tolerance: 1e-3) == nil)
  }

  /// What is said to be missing of a solve that ends early is what is, or more.
  @Test(arguments: (cases + [lowRank]).filter { $0.name != "one output" }, [1, 2, 3])
  func earlyEndsAreTold(_ test: Case, _ iterations: Int) throws {
    let oracle = DenseOracle(Problem(test))
    let (engine, gradients) = try batch(oracle, draws: [], Double.self)
    let found = try directions(
      .layerNG, gradients, ["rel:1e-2"], .iterations,
      limits: SolveLimits(relativeTolerance: 1e-10, maxIterations: iterations))[0]
    let solves = try #require(found.solves)
    let expected = denseFormulas["layer-ng"]!.direction(oracle, [], found.lambda!)
    let own = engine.direction(found.scaled)
    // In the metric of the blocks: each is `|B_b e_b|^2`.
    let missing = oracle.moduleEntries.reduce(0.0) { sum, entries in
      sum
        + oracle.root.reduce(0.0) { sum, row in
          let product = entries.reduce(0) { $0 + row[$1] * (own[$1] - expected[$1]) }
          return sum + product * product
        }
    }.squareRoot()
    if solves.unconverged == 0 {
      #expect(solves.residual <= 1e-9)
    } else {
      #expect(solves.iterations == iterations && solves.residual > 1e-10)
    }
    // The estimate takes the least Ritz value for the least eigenvalue: it can fall short by the root of their
    // ratio, which the damping keeps below ten.
    #expect(missing <= 10 * found.missing * found.scaled.scale + 1e-12 * missing)
  }

  /// Matrices where they are small, by shapes alone.
  @Test(arguments: [
    (10, 160, BlockSolver.matrices), (100, 8, .matrices), (1000, 2, .matrices),
    (1000, 160, .iterations), (32_000, 16, .iterations),
  ])
  func sizesDecide(_ classes: Int, _ samples: Int, _ expected: BlockSolver) throws {
    let test = Case(
      "many classes", input: [30], linear("a", 30, 40) + "," + linear("b", 40, classes), samples: 1)
    let program = try EngineProblem(Problem(test), Float.self).program
    let needs = BatchNeeds<Float>(program, samples: samples, threads: 2, budget: .max)
    let solver = BlockSolver(needs, program.modules.map(\.parameters), iterations: 200)
    #expect("\(solver)" == "\(expected)")
  }
}
