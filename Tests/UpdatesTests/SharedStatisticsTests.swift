import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// What methods of one batch have in common is made once, and changes nothing.
struct SharedStatisticsTests {
  private static let methods: [UpdateMethod] = [
    .kfac, .foof, .ekfac, .iekfac, .eigenvalueKFAC, .muon, .muonPolar, .soap, .shampoo,
    .shampooSquared,
    .klShampoo,
  ]

  @Test(arguments: (cases + [lowRank]).filter { $0.weights.isEmpty }, [false, true])
  func directionsAreThoseOfEachMethodAlone(_ test: Case, _ isReversed: Bool) throws {
    let oracle = DenseOracle(Problem(test))
    let draws = oracle.problem.drawnLabels(1, seed: 9)
    let (_, gradients) = try batch(oracle, draws: draws, Double.self)
    let linearization = gradients.linearization
    let shared = SharedStatistics(
      Self.methods,
      BatchNeeds<Double>(
        linearization.program, samples: linearization.samples,
        threads: linearization.pool.threads, budget: linearization.budget),
      layerProgram: linearization.layerProgram)
    #expect(shared.kinds == [.matrices, .layers])
    let context = DirectionContext(gradients, shared: shared)
    for method in isReversed ? Self.methods.reversed() : Self.methods {
      let dampings = method.needs.isDamped ? [Damping("rel:1e-2")!] : []
      let own = try method.directions(context, dampings: dampings)
      let alone = try method.directions(DirectionContext(gradients), dampings: dampings)
      for (x, y) in zip(own, alone) {
        // The same sums, of rows that one pass may have made for more labels.
        let worst = mismatch(
          x.scaled.vector.array.map { $0 * x.scaled.scale },
          y.scaled.vector.array.map { $0 * y.scaled.scale }, tolerance: 1e-10)
        #expect(worst == nil, "\(method.name)")
      }
    }
  }

  /// One method shares nothing, and what is large is not kept.
  @Test func whatIsLargeOrAloneIsNotKept() throws {
    func shared(_ methods: [UpdateMethod], width: Int) throws -> SharedStatistics {
      let test = Case(
        "wide", input: [8], linear("a", 8, width) + "," + linear("b", width, 4), samples: 1)
      let engine = try EngineProblem(Problem(test), Float.self)
      let needs = BatchNeeds<Float>(engine.program, samples: 4000, threads: 2, budget: .max)
      return SharedStatistics(methods, needs, layerProgram: engine.program)
    }
    #expect(try shared([.kfac, .muon], width: 20).bytes == 0)
    #expect(try shared([.kfac, .foof], width: 20).kinds == [.layers])
    #expect(try shared([.soap, .muon], width: 20).kinds == [.matrices])
    // 4000 samples of 6000 hidden units: a basis of 4000 x 6000 numbers.
    #expect(try shared([.kfac, .foof, .soap, .muon], width: 6000).kinds == [])
  }
}
