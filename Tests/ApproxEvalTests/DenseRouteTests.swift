import Checkpoints
import Curvature
import Foundation
import HessianFree
import TensorModule
import TestSupport
import Testing

@testable import ApproxEval

/// The dense reference by the rows of B and by its columns.
struct DenseRouteTests {
  /// With more columns than rows too, where R has zeros below the last row; `tokens_ignore` and the recurrent
  /// networks are not of full rank.
  @Test(arguments: GoldenTests.small)
  func bothRoutesHaveOneSolution(_ name: String) throws {
    let problem: BatchProblem<Double> = try fixtureProblem(name)
    let (rows, columns) = (
      try DenseReference(problem, memory: 1 << 30),
      try DenseReference(problem, by: .columns, memory: 1 << 30)
    )
    for damping in [0, 1e-3] {
      let (a, b) = (
        try rows.solve(damping: damping, Double.self),
        try columns.solve(damping: damping, Double.self)
      )
      // Entries of B differ by rounding, in x times a condition number of up to 1e7, and gamma is of second order in
      // that; the damped solution moves gamma in first order.
      let tolerance = damping == 0 ? 1e-12 : 1e-9
      #expect(mismatch(b.record.gamma, a.record.gamma, tolerance: tolerance) == nil, "\(damping)")
      let (x, y) = (a.direction, b.direction)
      #expect(
        mismatch(problem.norm(y), problem.norm(x), tolerance: 1e-8) == nil, "\(damping)")
      #expect(b.record.status == .exact && b.record.kind == .dense)
      let text = b.record.explanation.description
      #expect(text.contains("by its columns and their triangular factor"))
      #expect(
        text.replacing(", by its columns and their triangular factor", with: "")
          .prefix { $0 != "," } == a.record.explanation.description.prefix { $0 != "," })
      // Under damping all take part.
      if damping == 0 { #expect(rank(b) == rank(a)) }
      #expect((a.record.leastGamma == nil) == (b.record.leastGamma == nil))
      for record in [a.record, b.record] {
        #expect(record.leastGamma ?? 0 <= record.gamma * (1 + 1e-12))
      }
    }
  }

  private func rank(_ solution: ReferenceSolution<Double>) -> Substring? {
    solution.record.explanation.description.firstMatch(of: /rank (\d+)/)?.1
  }

  /// Not the engine's own derivatives: the oracle's singular values of its own B.
  @Test(arguments: ["mlp_tanh", "mse_mlp", "tokens_ignore", "toy_logistic", "cnn_small"])
  func columnsGiveTheOraclesSolution(_ name: String) throws {
    let file = try CheckpointFile.open(fixture("golden/\(name).bin"))
    let oracle = DenseOracle(try Problem(file))
    let problem: BatchProblem<Double> = try fixtureProblem("golden/" + name)
    let found = try DenseReference(problem, by: .columns, memory: 1 << 30)
      .solve(damping: 0, Double.self)
    let expected = oracle.naturalGradient
    #expect(mismatch(found.record.gamma, oracle.gamma(expected), tolerance: 1e-10) == nil)
    // That of least norm: where B has not full rank, others have the same gamma.
    #expect(
      mismatch(problem.norm(found.direction), dot(expected, expected).squareRoot(), tolerance: 1e-8)
        == nil)
  }

  // MARK: - Decoders with few trainable weights

  /// Soft prompts, and LoRA beside rows of embeddings: 24 weights with 312 logits, 72 with 260, 48 with 156.
  private static let decoders = ["gpt2_prompt", "llama_trained_tokens", "t5_prompt"]

  private func options(_ name: String) -> EvaluationOptions {
    var options = EvaluationOptions()
    options.adapter = fixture("hf_double/\(name)/adapter")
    options.dataFile = fixture("hf_double/\(name)/data.safetensors")
    options.batchSize = 4
    options.batches = 1
    options.reference = .dense
    options.cgGap = 0
    return options
  }

  private func reference(
    _ name: String, pool: WorkerPool = WorkerPool(threads: 2),
    change: (inout EvaluationOptions) -> Void = { _ in }
  ) throws -> ReferenceDirection {
    var options = options(name)
    options.threads = pool.threads
    change(&options)
    return try Evaluation(options, pool: pool).reference(
      checkpoint: fixture("hf_double/\(name)/base"))
  }

  @Test(arguments: decoders, [0, 0.1])
  func smallAdaptersAreSolvedByColumns(_ name: String, damping: Double) throws {
    // LSQR in double, without an end but rounding, squares no condition number either.
    let iterated = try reference(name) {
      ($0.reference, $0.precision, $0.cgDamping) = (.lsqr, .float64, damping)
      ($0.cgIterations, $0.cgTolerance) = (300, 1e-12)
    }
    for precision in [Precision.float32, .float64] {
      let found = try reference(name) {
        ($0.precision, $0.cgDamping) = (precision, damping)
      }
      #expect(found.record.kind == .dense && found.record.status == .exact, "\(found.record)")
      #expect(found.record.explanation.description.contains("by its columns"))
      // In single precision gamma is that of a direction that was rounded, and its products.
      let tolerance = precision == .float64 ? 1e-6 : 1e-4
      let ratio = found.record.gamma / iterated.record.gamma
      #expect(abs(ratio - 1) <= tolerance, "\(precision): \(ratio - 1), \(iterated.record)")
    }
  }

  @Test func threadsDoNotChangeABit() throws {
    func run(_ threads: Int) throws -> [Double] {
      let pool = SharedWork.pool(threads)
      let record = try reference("llama_trained_tokens", pool: pool).record
      #expect((pool.sharedCalls > 0) == (threads > 1))
      return [record.gamma, record.residual]
    }
    let one = try run(1)
    for threads in SharedWork.threads.dropFirst() { #expect(try run(threads) == one) }
  }

  /// `auto` may end sooner, where something else is proved; what is proved is so of all directions, and of this one.
  @Test(arguments: decoders)
  func automaticChoiceIsAsGood(_ name: String) throws {
    let found = try reference(name) {
      ($0.reference, $0.cgGap) = (.auto, 1e-3)
    }
    #expect(found.record.isConverged, "\(found.record)")
    let exact = try reference(name)
    #expect(found.record.gamma <= exact.record.gamma * (1 + 1e-3))
  }

  /// 24 tangents are predicted to be there before conjugate gradients, which are stopped after one iteration here.
  @Test func automaticChoiceTurnsToColumns() throws {
    let found = try reference("gpt2_prompt") {
      ($0.reference, $0.cgGap, $0.cgIterations) = (.auto, 1e-3, 1)
    }
    #expect(found.record.kind == .dense && found.record.status == .exact, "\(found.record)")
    let reason = try #require(found.record.choice).description
    #expect(reason.contains("predicted operations") && reason.contains("dense by the columns of B"))
    #expect(found.record.explanation.description.contains("by its columns"))
  }

  // MARK: - Costs

  private func costs(_ name: String, _ samples: Int) throws -> [FactorCosts] {
    let checkpoint = try LoadedCheckpoint(
      path: fixture("hf_double/\(name)/base"), options: options(name))
    let needs = BatchNeeds<Double>(
      checkpoint.program, samples: samples, threads: 2, budget: .max)
    return FactorCosts.all(
      needs, ProductCounts(checkpoint.program, samples: samples, scalar: 8))
  }

  @Test func columnsAreTakenWhereTheyAreFewer() throws {
    let all = try costs("gpt2_prompt", 4)
    #expect(all.map(\.route) == [.rows, .columns])
    #expect(all[1].operations < all[0].operations)
    // 52 logits for 224 weights.
    #expect(try costs("t5_q_v", 4).map(\.route) == [.rows])
    // The memory of columns does not grow with the batch, but for what its passes take.
    let large = try costs("gpt2_prompt", 4000)
    #expect(large[1].memory.value < large[0].memory.value / 2)
  }

  /// What is asked for before anything is formed may not depend on the machine.
  @Test func memoryIsNoMatterOfThreads() throws {
    let checkpoint = try LoadedCheckpoint(
      path: fixture("hf_double/llama_trained_tokens/base"), options: options("llama_trained_tokens")
    )
    let found = [1, 2, 7].map { threads in
      let needs = BatchNeeds<Double>(
        checkpoint.program, samples: 64, threads: threads, budget: .max)
      return FactorCosts.all(
        needs, ProductCounts(checkpoint.program, samples: 64, scalar: 8)
      ).map(\.memory)
    }
    #expect(found[0].count == 2 && found.allSatisfy { $0 == found[0] })
  }

  @Test func whatFitsIsTaken() throws {
    let checkpoint = try LoadedCheckpoint(
      path: fixture("hf_double/gpt2_prompt/base"), options: options("gpt2_prompt"))
    let needs = BatchNeeds<Double>(
      checkpoint.program, samples: 4000, threads: 2, budget: .max)
    let counts = ProductCounts(checkpoint.program, samples: 4000, scalar: 8)
    let all = FactorCosts.all(needs, counts)
    func route(_ memory: ByteCount) -> FactorRoute {
      FactorCosts.best(needs, counts, memory: memory).route
    }
    #expect(route(all[0].memory) == (all[0].operations < all[1].operations ? .rows : .columns))
    #expect(route(all[1].memory) == .columns && route(0) == .columns)
  }
}
