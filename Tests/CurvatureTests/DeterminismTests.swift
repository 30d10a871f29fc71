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

  /// Every form that per-sample gradients and their products take: factored rows with a kernel of the
  /// inputs, tables, rows with outer products, explicit rows, and convolutions in groups and pooled.
  static let forms =
    models
    + cases.filter {
      ["cnn of factored rows", "cnn in groups", "norms", "pooled convolutions"].contains($0.name)
    }

  @Test(arguments: forms, [1, 2, 3, 130])
  func threadsDoNotChangeABit(_ model: Case, samples: Int) throws {
    var test = model
    test.samples = samples
    let engine = try EngineProblem(Problem(test), Float.self)
    let one = try bits(engine, threads: 1)
    for threads in SharedWork.threads.dropFirst() {
      // Twice with the same number: who takes which task differs.
      for _ in 0..<2 {
        let found = try bits(engine, threads: threads)
        for (result, expected) in zip(found, one) {
          #expect(result.bits == expected.bits, "\(result.name): 1 and \(threads) threads")
          // Losses of real targets are one loop on the thread that asks. Norms alone of a small table are
          // one tile, and so are all products of few of its rows.
          let isOneTask =
            result.name == "losses" && model.loss != "cross_entropy"
            || result.name.hasPrefix("Gram matrix") && model.name == "tokens"
              && (samples < 32 || result.name == "Gram matrix, norms")
          if samples > 1 && !isOneTask {
            #expect(result.sharedCalls > 0, "\(result.name): only one of \(threads) workers ran")
          }
        }
      }
    }
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

  private struct Result {
    var name: String
    var bits: [UInt64]
    /// Calls that several workers shared.
    var sharedCalls: Int
  }

  private func bits(_ engine: EngineProblem<Float>, threads: Int) throws -> [Result] {
    let pool = SharedWork.pool(threads)
    var results: [Result] = []
    func measure<T>(_ name: String, _ body: () throws -> T, _ bits: (T) -> [UInt64]) rethrows -> T {
      let (value, calls) = try SharedWork.calls(pool, body)
      results.append(Result(name: name, bits: bits(value), sharedCalls: calls))
      return value
    }
    func bits(_ vectors: [Vector<Float>]) -> [UInt64] {
      vectors.flatMap { $0.array.map { UInt64($0.bitPattern) } }
    }
    let linearization = measure(
      "forward pass", { engine.linearize(pool: pool) }, { $0.allLogits.map(\.bitPattern) })
    let output = measure(
      "losses", { engine.output(linearization) },
      { ([$0.totalLoss, $0.gammaBound] + $0.sampleLosses).map(\.bitPattern) })
    var random = SeededGenerator(seed: 6)
    let v = engine.vector(random.normals(linearization.parameterCount))
    let product = Vector<Float>(count: linearization.parameterCount)
    _ = try measure(
      "fvp", { try FisherOperator(linearization, output).apply(v, into: product) },
      { bits([product]) + [$0.bitPattern] })
    _ = measure("jvp", { linearization.jvps([v, product]) }, { $0.joined().map(\.bitPattern) })
    let cotangents = (0..<2).map { _ in
      random.normals(linearization.samples * linearization.logitCount)
    }
    _ = measure("vjp", { linearization.vjps(cotangents) }, bits)
    let scales = [Double](repeating: 1, count: 2 * linearization.samples)
    let gradients = measure(
      "per-sample gradients",
      {
        linearization.perSampleGradients(draws: 2, scales: scales) { chunk, out in
          linearization.writeChunk(cotangents, chunk, out)
        }
      },
      { gradients in
        (0..<scales.count).flatMap { row in
          var values = [Double](repeating: 0, count: linearization.parameterCount)
          gradients.row(row, into: &values)
          return values.map(\.bitPattern)
        }
      })
    for (name, products) in [("all", GramProducts.all), ("blocks", .perBlock), ("norms", .norms)] {
      _ = measure(
        "Gram matrix, \(name)", { gradients.gramMatrix(products) },
        { $0.scaled.array.map(\.bitPattern) })
    }
    _ = measure(
      "weighted sums", { gradients.weightedSums([random.normals(scales.count)]) },
      { bits($0.map(\.vector)) })
    return results
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
