import GraphModule
import TensorModule
import TestSupport
import Testing

@testable import Curvature

/// Chunks and lanes: many samples give the oracle's numbers, and the same bits on any number of
/// threads.
struct DeterminismTests {
  static let models = [
    Case("mlp", input: [3], mlp),
    Case("tokens", input: [5], embedding("e", 4, 2) + #", {"type": "tanh"}, "# + linear("b", 2, 3)),
    Case(
      "convolution", input: [2, 3, 3],
      #"{"type": "conv2d", "name": "c", "in_channels": 2, "out_channels": 2, "kernel_size": 2}, "#
        + #"{"type": "softplus"}, {"type": "flatten"}, "# + linear("h", 8, 2), loss: "bce"),
  ]

  @Test(arguments: models, [1, 2, 3, 130])
  func threadsDoNotChangeABit(_ model: Case, samples: Int) throws {
    var test = model
    test.samples = samples
    let engine = try EngineProblem(Problem(test), Float.self)
    let results = try [1, 2, 3].map { try bits(engine, threads: $0) }
    #expect(results[0] == results[1], "1 and 2 threads")
    #expect(results[0] == results[2], "1 and 3 threads")
    let again = try bits(engine, threads: 3)
    #expect(results[2] == again, "3 threads twice")
  }

  @Test(arguments: models, [0, 3])
  func recomputedForwardValuesChangeOnlyRounding(_ model: Case, kept: Int) throws {
    var test = model
    let samples = 800
    test.samples = samples
    let engine = try EngineProblem(Problem(test), Double.self)
    let budget = kept * samples / 4 * ForwardStore<Double>.bytesPerSample(engine.program)
    let full = engine.linearize()
    let partial = engine.linearize(budget: budget)
    #expect(full.keptSamples == samples)
    // The chunk in work has its place within the budget.
    #expect(partial.keptSamples < kept * samples / 4 || partial.keptSamples == 0)
    #expect((partial.keptSamples > 0) == (kept > 0))
    var random = SeededGenerator(seed: 8)
    let v = engine.vector(random.normals(full.parameterCount))
    let w = random.normals(samples * full.logitCount)
    let gradients = [full, partial].map { linearization in
      linearization.perSampleGradients(draws: 1, scales: Array(repeating: 1, count: samples)) {
        linearization.writeChunk([w], $0, $1)
      }
    }
    // The same sums in another order: rounding of a few hundred terms.
    let tolerance = 1e-12
    let pairs = [
      (partial.jvps([v])[0], full.jvps([v])[0]),
      (engine.direction(partial.vjps([w])[0]), engine.direction(full.vjps([w])[0])),
      (gradients[1].gramMatrix().scaled.array, gradients[0].gramMatrix().scaled.array),
    ]
    for (found, expected) in pairs {
      #expect(mismatch(found, expected, tolerance: tolerance) == nil)
    }
  }

  private func bits(_ engine: EngineProblem<Float>, threads: Int) throws -> [[UInt64]] {
    let linearization = engine.linearize(threads: threads)
    let output = engine.output(linearization)
    var random = SeededGenerator(seed: 6)
    let v = engine.vector(random.normals(linearization.parameterCount))
    let product = Vector<Float>(count: linearization.parameterCount)
    let quadratic = try FisherOperator(linearization, output).apply(v, into: product)
    let cotangents = (0..<2).map { _ in
      random.normals(linearization.samples * linearization.logitCount)
    }
    let scales = [Double](repeating: 1, count: 2 * linearization.samples)
    let gradients = linearization.perSampleGradients(draws: 2, scales: scales) { chunk, out in
      linearization.writeChunk(cotangents, chunk, out)
    }
    let sum = gradients.weightedSums([random.normals(scales.count)])[0]
    let reals =
      [
        linearization.allLogits, [output.totalLoss, output.gammaBound, quadratic],
        output.sampleLosses, gradients.gramMatrix().scaled.array,
      ] + linearization.jvps([v])
    let vectors = [product, sum.vector] + linearization.vjps(cotangents)
    return reals.map { $0.map(\.bitPattern) }
      + vectors.map { $0.array.map { UInt64($0.bitPattern) } }
  }

  @Test(arguments: models)
  func manyChunksGiveTheOraclesNumbers(_ model: Case) throws {
    var test = model
    test.samples = 130
    let problem = Problem(test)
    let engine = try EngineProblem(problem, Double.self)
    let linearization = engine.linearize(threads: 2)
    #expect(linearization.schedule.chunks.count > 1)
    #expect(linearization.schedule.chunks.reduce(0) { $0 + $1.count } == 130)
    var random = SeededGenerator(seed: 8)
    let direction = random.normals(linearization.parameterCount)
    let expected = problem.jvp(direction)
    let found = linearization.jvps([engine.vector(direction)])[0]
    #expect(mismatch(found, expected, tolerance: 1e-12) == nil)
    // The transposed product and the rows by duality with the exact tangents.
    let cotangent = random.normals(expected.count)
    let sum = engine.direction(linearization.vjps([cotangent])[0])
    let terms = dot(cotangent.map(abs), expected.map(abs)) + dot(sum.map(abs), direction.map(abs))
    #expect(
      mismatch([dot(sum, direction)], [dot(cotangent, expected)], tolerance: 1e-12, scale: terms)
        == nil)
    let ones = [Double](repeating: 1, count: 130)
    let gradients = linearization.perSampleGradients(draws: 1, scales: ones) { chunk, out in
      linearization.writeChunk([cotangent], chunk, out)
    }
    #expect(
      mismatch(engine.direction(gradients.weightedSums([ones])[0]), sum, tolerance: 1e-12) == nil)
    let size = linearization.logitCount
    var rows: [[Double]] = []
    for n in 0..<130 {
      var row = [Double](repeating: 0, count: sum.count)
      gradients.row(n, into: &row)
      rows.append(row)
      let slice = n * size..<(n + 1) * size
      let (w, q) = (Array(cotangent[slice]), Array(expected[slice]))
      let g = engine.unscrambled(row)
      let terms = dot(w.map(abs), q.map(abs)) + dot(g.map(abs), direction.map(abs))
      #expect(
        mismatch([dot(g, direction)], [dot(w, q)], tolerance: 1e-12, scale: terms) == nil,
        "row \(n)")
    }
    let gram = gradients.gramMatrix()
    for i in stride(from: 0, to: 130, by: 13) {
      for j in stride(from: 0, to: 130, by: 7) {
        let scale = (gram[i, i] * gram[j, j]).squareRoot()
        #expect(
          mismatch([gram[i, j]], [dot(rows[i], rows[j])], tolerance: 1e-12, scale: scale) == nil)
      }
    }
  }
}
