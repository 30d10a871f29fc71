import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// Ends a solve where gamma is within a thousandth of its bound.
private struct Bracket<Scalar: EngineScalar>: SolveObserver {
  let bound: Double

  func accept(_ step: SolveStep, _ x: Vector<Scalar>) -> ObserverStop? {
    step.terms.gamma > 1.001 * bound
      ? nil : ObserverStop(label: "bracket", description: "Within a thousandth.")
  }
}

extension ModelTerms {
  fileprivate var gamma: Double { norm / abs(linear) }
}

/// Algorithm 5 on pairs `[y, J J^T y]` against Algorithm 5 on the vectors that they stand for.
struct LogitFisherTests {
  /// With at least as many parameters as logits; `J J^T` is regular as far as rows allow.
  static let wide = [
    Case(
      "wide mlp", input: [30], linear("a", 30, 12) + #", {"type": "tanh"}, "# + linear("b", 12, 3)),
    Case(
      "wide mlp", input: [30], linear("a", 30, 12) + #", {"type": "tanh"}, "# + linear("b", 12, 3),
      loss: "mse", samples: 4),
    Case(
      "wide mlp", input: [30], linear("a", 30, 12) + #", {"type": "tanh"}, "# + linear("b", 12, 3),
      loss: "bce", samples: 4),
    Case(
      "wide mlp without biases of the first layer", input: [30],
      linear("a", 30, 12) + #", {"type": "tanh"}, "# + linear("b", 12, 3),
      trainable: ["a.weight", "b.weight", "b.bias"], samples: 5, ignores: true),
  ]

  @Test(arguments: cases + wide + [tiedRows])
  func productsAndInnerProductsAreThoseOfTheVectors(_ test: Case) throws {
    let engine = try EngineProblem(Problem(test), Double.self)
    let linearization = engine.linearize(threads: 2)
    let output = engine.output(linearization)
    let matrix = LogitFisherOperator(linearization, output)
    let half = matrix.dimension / 2
    var random = SeededGenerator(seed: test.seed &+ 800)
    let cotangents = [random.normals(half), random.normals(half)]
    let pairs = cotangents.map { Vector($0 + [Double](repeating: 0, count: half)) }
    let vectors = linearization.vjps(cotangents)
    let tangents = linearization.jvps(vectors)
    for (pair, tangent) in zip(pairs, tangents) {
      try matrix.settle(pair)
      // Some hundred roundings of terms that are at most ten times the largest result.
      #expect(mismatch(Array(pair.array[half...]), tangent, tolerance: 1e-12) == nil)
    }
    let product = Vector<Double>(count: matrix.dimension)
    let quadratic = try matrix.apply(pairs[0], into: product)
    let explicit = Vector<Double>(count: linearization.parameterCount)
    let expected = try FisherOperator(linearization, output).apply(vectors[0], into: explicit)
    #expect(mismatch(quadratic, expected, tolerance: 1e-11) == nil)
    let formed = linearization.vjps([Array(product.array[..<half])])[0]
    #expect(
      mismatch(
        formed.array, explicit.array, tolerance: 1e-11, scale: explicit.array.map(abs).max()!)
        == nil)
    let operations = matrix.space()
    let dots = [
      operations.dot(pairs[0], pairs[1]), operations.dot(pairs[1], pairs[0]),
    ]
    let scale = dot(vectors[0].array, vectors[0].array) + dot(vectors[1].array, vectors[1].array)
    let exact = dot(vectors[0].array, vectors[1].array)
    #expect(mismatch(dots, [exact, exact], tolerance: 1e-12, scale: scale) == nil)
  }

  /// The same iterates, gamma by gamma, and the same solution; in the engine's precision both reach
  /// the same least gamma.
  @Test(arguments: wide)
  func tracesAreThoseOfTheVectors(_ test: Case) throws {
    func solve<S: EngineScalar>(_: S.Type) throws -> (
      explicit: SolveResult<S>, paired: SolveResult<Double>, formed: [Double]
    ) {
      let engine = try EngineProblem(Problem(test), S.self)
      let linearization = engine.linearize(threads: 2)
      let output = engine.output(linearization)
      let ones = [Double](repeating: 1, count: linearization.samples)
      func write<T: EngineScalar>(_ chunk: Schedule.Chunk, _ out: UnsafeMutablePointer<T>) {
        ones.withUnsafeBufferPointer {
          output.write(output.gradient, chunk: chunk, units: $0.baseAddress!, to: out)
        }
      }
      let gradient = Vector<S>(count: linearization.parameterCount)
      linearization.vjp(into: [gradient]) { write($0, $1) }
      let solver = ConjugateGradient(SolveLimits(relativeTolerance: 1e-6, maxIterations: 40))
      let explicit = try solver.solve(
        FisherOperator(linearization, output), rhs: gradient,
        into: Vector(count: gradient.count),
        workspace: .init(VectorOperations(pool: linearization.pool, count: gradient.count)),
        observer: Bracket<S>(bound: output.gammaBound))
      let matrix = LogitFisherOperator(linearization, output)
      let b = Vector<Double>(count: matrix.dimension)
      for chunk in linearization.schedule.chunks {
        write(chunk, b.pointer + chunk.first * linearization.logitCount)
      }
      let workspace = ConjugateGradient.Workspace(matrix.space())
      let paired = try solver.solve(
        matrix, rhs: b, into: Vector(count: b.count), workspace: workspace,
        observer: Bracket<Double>(bound: output.gammaBound))
      let x = matrix.combination(paired.x, scale: 1, norm: workspace.operations.norm(paired.x))
      let formed = x.vector()
      let vector = formed.vector.array.map { Double($0) * formed.scale }
      #expect(mismatch(x.norm, dot(vector, vector).squareRoot(), tolerance: 1e-5) == nil)
      return (explicit, paired, vector)
    }
    let exact = try solve(Double.self)
    #expect(exact.paired.stop.label == exact.explicit.stop.label)
    #expect(exact.paired.iterations == exact.explicit.iterations)
    #expect(exact.paired.terms.gamma.isFinite)
    for (found, expected) in zip(exact.paired.steps, exact.explicit.steps) {
      // Rounding grows with the condition number, up to 1e5 here, in either.
      #expect(mismatch(found.terms.gamma, expected.terms.gamma, tolerance: 1e-9) == nil)
      #expect(
        abs(found.relativeResidual - expected.relativeResidual)
          <= 1e-8 + 1e-6 * expected.relativeResidual)
    }
    #expect(mismatch(exact.formed, exact.explicit.x.array, tolerance: 1e-6) == nil)
    let single = try solve(Float.self)
    // gamma is stationary at the solution: its error is the square of that of the iterate.
    #expect(mismatch(single.paired.terms.gamma, exact.explicit.terms.gamma, tolerance: 1e-3) == nil)
    for (later, earlier) in zip(single.paired.steps.dropFirst(), single.paired.steps) {
      // By F.2.1 gamma never rises; by more than rounding, a step is taken back.
      #expect(later.terms.gamma <= earlier.terms.gamma * (1 + 1e-4))
    }
  }

  @Test func threadsDoNotChangeABit() throws {
    let test = Self.wide[0]
    let results = try SharedWork.threads.map { threads in
      let engine = try EngineProblem(Problem(test), Float.self)
      let linearization = engine.linearize(pool: SharedWork.pool(threads))
      let matrix = LogitFisherOperator(linearization, engine.output(linearization))
      var random = SeededGenerator(seed: 9)
      let pair = Vector(random.normals(matrix.dimension))
      try matrix.settle(pair)
      return pair.array.map(\.bitPattern)
    }
    for other in results.dropFirst() { #expect(results[0] == other) }
  }
}
