import Checkpoints
import Foundation
import GraphModule
import TensorModule
import TestSupport
import Testing

@testable import ApproxEval
@testable import Curvature

/// Frozen weights in 16 bits stay in their file, and every number is that of the same weights in 32 bits.
@Suite struct FrozenWeightTests {
  /// A fixture, and what trains where no adapter says it.
  private static let cases: [String: [String]] = [
    "llama_longrope": [], "llama_scaled_tied": ["*norm*"], "gpt2_full": ["*ln_*", "*.bias"],
    "vit_query_value": [], "t5_q_v": [], "gemma2_full": ["*q_proj*"], "roberta_lora": [],
  ]

  /// Tied tables in both roles, weights that files have transposed, heads on the other side of attention,
  /// convolutions and norms, which are widened.
  @Test(arguments: cases.keys.sorted(), [DType.f16, .bf16])
  func numbersAreThoseOfWidenedWeights(_ name: String, _ dtype: DType) throws {
    let folder = try TestFolder()
    let (half, single) = (folder.path("half"), folder.path("single"))
    try write(name, dtype, to: half)
    try write(name, dtype, widened: true, to: single)
    for precision in [Precision.float32, .float64] {
      let expected = try results(name, single, precision, threads: 1)
      for threads in [1, 2, 3] {
        let found = try results(name, half, precision, threads: threads)
        #expect(found == expected, "\(precision), \(threads) threads")
      }
    }
    let options = try options(name, .float64, threads: 1)
    for (path, isHalf) in [(half, true), (single, false)] {
      let checkpoint = try LoadedCheckpoint(path: path, options: options)
      let inPlace = try checkpoint.parameters(Double.self).numbers.filter {
        if case .halves = $0.content { true } else { false }
      }
      #expect(!inPlace.isEmpty == isHalf)
    }
  }

  /// Weights leave memory between operations: a matter of time and memory alone.
  @Test(arguments: ["llama_longrope", "llama_scaled_tied", "gpt2_full"])
  func weightsMayLeaveMemoryInBetween(_ name: String) throws {
    let folder = try TestFolder()
    let path = folder.path("half")
    try write(name, .bf16, to: path)
    let evaluation = Evaluation(try options(name, .float32, threads: 2))
    let checkpoint = try LoadedCheckpoint(path: path, options: evaluation.options)
    let task = MemoryTask.score(updates: [])
    var budget = try evaluation.budget(checkpoint, evaluation.source(checkpoint), task, Float.self)
    #expect(!budget.releasesPages)
    let logits = try [false, true].map { releases in
      budget.releasesPages = releases
      let problem = try evaluation.problem(checkpoint, batch: 0, budget, Float.self)
      let gradient = problem.gradient()
      return problem.linearization.schedule.chunks.flatMap { chunk in
        (0..<chunk.count * problem.linearization.logitCount).map {
          problem.linearization.logits(chunk)[$0]
        }
      } + gradient.array
    }
    #expect(logits[0] == logits[1])
  }

  /// What stays in the file is no memory of ours, and the pages of the file need not stay either.
  @Test func plansCountWhatIsAllocated() throws {
    let folder = try TestFolder()
    let (half, single) = (folder.path("half"), folder.path("single"))
    try write("llama_longrope", .bf16, to: half)
    try write("llama_longrope", .bf16, widened: true, to: single)
    var options = try options("llama_longrope", .float64, threads: 1)
    func planner(_ path: String) throws -> (MemoryPlanner, LoadedCheckpoint) {
      let checkpoint = try LoadedCheckpoint(path: path, options: options)
      let samples = try #require(options.batchSize)
      return (
        MemoryPlanner(checkpoint, samples: samples, options: options, .score(updates: [])),
        checkpoint
      )
    }
    let (wide, _) = try planner(single)
    let (narrow, checkpoint) = try planner(half)
    #expect(checkpoint.countInHalves > 0)
    let plan = narrow.best().plan
    #expect(
      wide.best().plan.bytes(of: "parameters") - plan.bytes(of: "parameters")
        == 8 * checkpoint.countInHalves)
    // A little less than all: pages go first.
    options.memory = plan.total - 1
    let choice = try planner(half).0.best()
    #expect(choice.releasesPages && choice.plan.total <= options.memory)
    #expect(choice.plan.bytes(of: "pages of files") < plan.bytes(of: "pages of files"))
  }

  @Test func numbersThatAreNotFiniteAreNamed() throws {
    let folder = try TestFolder()
    let path = folder.path("half")
    try write("llama_longrope", .bf16, to: path) { name, values in
      if name == "model.layers.1.mlp.up_proj.weight" { values[5] = .infinity }
    }
    let options = try options("llama_longrope", .float32, threads: 1)
    let checkpoint = try LoadedCheckpoint(path: path, options: options)
    let error = #expect(throws: CheckpointError.self) {
      _ = try checkpoint.parameters(Float.self)
    }
    #expect(error?.location.tensor == "model.layers.1.mlp.up_proj.weight")
    // No other precision helps: the file has it.
    #expect(error?.hint == "NaN means that the run had diverged.")
    guard case .unexpectedValue("entry 5", _, _)? = error?.problem else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  // MARK: - Files

  /// The base model of a fixture with its numbers rounded to 16 bits, in these or in 32.
  private func write(
    _ name: String, _ dtype: DType, widened: Bool = false, to path: String,
    changing change: (String, inout [Float]) -> Void = { _, _ in }
  ) throws {
    let base = fixture("hf_double/\(name)/base")
    try FileManager.default.createDirectory(
      atPath: path, withIntermediateDirectories: true)
    try FileManager.default.copyItem(
      atPath: base + "/config.json", toPath: path + "/config.json")
    var writer = SafetensorsWriter(metadata: ["format": "pt"])
    for (name, tensor) in try ModelDirectory.open(base).tensors {
      guard tensor.dtype.isFloatingPoint else {
        writer.add(name, tensor)
        continue
      }
      var values = try tensor.vector(of: Float.self).array
      change(name, &values)
      let bits = values.map { dtype == .f16 ? halfBits($0) : UInt16($0.bitPattern >> 16) }
      if widened {
        let wide = Vector<Float>(count: bits.count)
        bits.withUnsafeBytes {
          Kernels.convert(
            dtype == .f16 ? .float16 : .bfloat16, $0.baseAddress!, wide.pointer, count: bits.count)
        }
        writer.add(name, shape: tensor.shape, wide)
      } else {
        writer.add(
          name, dtype: dtype, shape: tensor.shape, data: bits.withUnsafeBytes { Data($0) })
      }
    }
    try writer.write(to: path + "/model.safetensors")
  }

  /// A number below 65,504, rounded towards zero.
  private func halfBits(_ x: Float) -> UInt16 {
    let (sign, bits) = (UInt16(x.sign == .minus ? 0x8000 : 0), x.magnitude.bitPattern)
    let exponent = Int(bits >> 23) - 127 + 15
    return exponent < 1 ? sign : sign | UInt16(exponent) << 10 | UInt16(bits >> 13 & 0x3ff)
  }

  private func results(
    _ name: String, _ path: String, _ precision: Precision, threads: Int
  ) throws -> [[Double]] {
    let result = try Evaluation(
      options(name, precision, threads: threads), pool: SharedWork.pool(threads)
    ).score(checkpoint: path)[
      0]
    return [[result.loss, result.gradientNorm, result.gammaBound]]
      + result.scores.map { [$0.gamma, $0.cosineGradient, $0.fisherQuadratic, $0.updateNorm] }
  }

  private func options(
    _ name: String, _ precision: Precision, threads: Int
  ) throws -> EvaluationOptions {
    var options = EvaluationOptions()
    let adapter = fixture("hf_double/\(name)/adapter")
    if FileManager.default.fileExists(atPath: adapter) { options.adapter = adapter }
    if options.adapter == nil { options.trainable = Self.cases[name]! }
    options.dataFile = fixture("hf_double/\(name)/data.safetensors")
    options.batchSize = 3
    options.batches = 1
    options.reference = .none
    options.precision = precision
    options.threads = threads
    return options
  }
}
