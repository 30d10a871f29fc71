import Curvature
import TensorModule
import TestSupport
import Testing

@testable import Updates

/// Directions that are never formed: every number that is asked of one is that of the vector it
/// stands for, over the case list, whichever form the engine would choose.
struct CombinationTests {
  static let dampings = ["0.1", "rel:1e-2", "rel:1e-5"].map { Damping($0)! }

  @Test(arguments: cases + [tiedRows])
  func combinationsAreTheirVectorsInDouble(_ test: Case) throws {
    // Weights of up to 1e5 that cancel in the vector, and in the kernels in another order: five
    // digits of the fifteen.
    try check(test, Double.self, tolerance: 1e-10)
  }

  @Test(arguments: cases + [tiedRows])
  func combinationsAreTheirVectorsInSingle(_ test: Case) throws {
    // At a damping of 1e-2 weights of up to 1e2 cancel in the formed vector: 1e2 times 1e-6.
    try check(test, dampings: Array(Self.dampings.prefix(2)), Float.self, tolerance: 1e-4)
  }

  private func check<S: EngineScalar>(
    _ test: Case, dampings: [Damping] = dampings, _: S.Type, tolerance: Double
  ) throws {
    let problem = Problem(test)
    let engine = try EngineProblem(problem, S.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    let sampled = problem.drawnLabels(1, seed: test.seed &+ 700).map {
      output.gradient(forSampled: Labels($0), linearization: linearization)
    }
    let gradients = BatchGradients(
      linearization, output, sampled: sampled, usesCombinations: true)
    var directions = [Direction(form: gradients.gradientForm)]
    for method in [UpdateMethod.ef, .ief] {
      directions += try gradients.directions(method, dampings)
    }
    directions += try gradients.directions(.sf, dampings)
    let combinations = directions.compactMap { direction -> Combination<S>? in
      if case .combination(let combination) = direction.form { return combination }
      return nil
    }
    // All but SF with at least as many draws as parameters.
    #expect(combinations.count >= 1 + 2 * dampings.count)

    let size = linearization.logitCount
    let count = linearization.samples * size
    var tangents = combinations.map { _ in [Double](repeating: .nan, count: count) }
    gradients.perSample.jvp(
      combinations.map(\.weights), inDouble: combinations.map(\.cancels)
    ) { chunk, q in
      for r in combinations.indices {
        for i in 0..<chunk.count * size {
          tangents[r][chunk.first * size + i] = Double(q[r * chunk.count * size + i])
        }
      }
    }
    let vectors = combinations.map { $0.vector() }
    let expected = linearization.jvps(vectors.map(\.vector))
    for (r, combination) in combinations.enumerated() {
      let vector = engine.direction(vectors[r])
      let scale = vectors[r].scale / combination.scale
      #expect(
        mismatch(tangents[r], expected[r].map { $0 * scale }, tolerance: tolerance) == nil,
        "jvp of direction \(r)")
      let norm = dot(vector, vector).squareRoot()
      // From w^T K w, in which squares of weights cancel: of 1e5 at this damping, 1e10 times 1e-16.
      #expect(mismatch(combination.norm, norm, tolerance: max(tolerance, 1e-6)) == nil, "norm \(r)")
      // <d, d'> = y . J d' with the gradient and with the direction before.
      for s in [0, max(r - 1, 0)] {
        let found =
          dot(combination.cotangent.array, tangents[s]) * combination.scale * combinations[s].scale
        let other = engine.direction(vectors[s])
        let terms = norm * dot(other, other).squareRoot()
        let sizes =
          dot(combination.cotangent.array.map(abs), tangents[s].map(abs)) * combination.scale
          * combinations[s].scale
        #expect(
          mismatch([found], [dot(vector, other)], tolerance: tolerance, scale: max(terms, sizes))
            == nil, "inner product of \(r) and \(s)")
      }
    }
  }

  /// Wide models get combinations, others vectors.
  @Test func theCheaperFormIsChosen() throws {
    func prefers(_ test: Case) throws -> Bool {
      try EngineProblem(Problem(test), Float.self).linearize().prefersCombinations
    }
    #expect(try prefers(Case("wide", input: [40], linear("a", 40, 30) + "," + linear("b", 30, 3))))
    #expect(try !prefers(Case("narrow", input: [3], mlp, samples: 5)))
    // Rows outnumber inputs.
    #expect(
      try !prefers(
        Case("batch", input: [40], linear("a", 40, 30) + "," + linear("b", 30, 3), samples: 100)))
  }
}
