import Checkpoints
import Foundation
import GraphModule
import TestSupport
import Testing

@testable import ApproxEval
@testable import Curvature

/// Causal models do not compute what is behind the last token whose successor is scored.
@Suite struct UnscoredPositionTests {
  private static let columns = 6
  /// The first columns, of which labels are left.
  private static let scored = 4

  /// Learned positions, virtual tokens in front, windows, and heads that are turned.
  @Test(arguments: [
    "gpt2_full", "gpt2_prompt", "gpt_neox_full", "mistral_window", "gemma3_full",
    "llama_trained_tokens",
  ])
  func tokensBehindTheLastScoredOneAreNotRead(_ name: String) throws {
    let folder = try TestFolder()
    let (padded, cut) = (folder.path("padded.safetensors"), folder.path("cut.safetensors"))
    try write(name, columns: Self.columns, to: padded)
    try write(name, columns: Self.scored, to: cut)
    let all = fixture("hf_double/\(name)/data.safetensors")

    let results = try [padded, cut].map { data in
      try Evaluation(options(name, data)).score(checkpoint: base(name))[0]
    }
    #expect(results[0].loss == results[1].loss)
    #expect(results[0].scores.map(\.gamma) == results[1].scores.map(\.gamma))

    let (few, many) = (try problem(name, padded), try problem(name, all))
    let (program, whole) = (few.linearization.program, many.linearization.program)
    #expect(program.operationCount == (try problem(name, cut).linearization.program).operationCount)
    #expect(program.operationCount < whole.operationCount)
    // The logits of all positions, of which these are the first: sums of a dozen terms in another order.
    let (size, length) = (few.linearization.logitCount, many.linearization.logitCount)
    #expect(size < length)
    let (found, expected) = (logits(few), logits(many))
    let (rows, classes) = (few.output.positions, few.output.classes)
    for row in 0..<few.output.samples * rows where few.output.labels[row] >= 0 {
      let (start, other) = (row * classes, row / rows * length + row % rows * classes)
      #expect(
        mismatch(
          Array(found[start..<start + classes]), Array(expected[other..<other + classes]),
          tolerance: 1e-12) == nil)
    }
  }

  /// Encoders see what is behind a token, and so does padding that sees no token before it.
  @Test(arguments: ["bert_untied", "opt_full"])
  func othersReadAllTokens(_ name: String) throws {
    let folder = try TestFolder()
    let data = folder.path("padded.safetensors")
    try write(name, columns: Self.columns, to: data)
    let program = try problem(name, data).linearization.program
    #expect(program.graph.inputs.allSatisfy { $0.shape == [Self.columns] })
  }

  // MARK: - Files

  /// The data of a fixture: the first columns, labels behind the scored ones left out.
  private func write(_ name: String, columns: Int, to path: String) throws {
    var writer = SafetensorsWriter(metadata: [:])
    let archive = try TensorArchive.open(fixture("hf_double/\(name)/data.safetensors"))
    for (name, tensor) in archive.tensors.sorted(by: { $0.key < $1.key }) {
      var rows = try tensor.integers(0..<tensor.count)
      if name == "labels" {
        for place in rows.indices where place % Self.columns >= Self.scored { rows[place] = -100 }
      }
      let taken = rows.indices.filter { $0 % Self.columns < columns }.map { rows[$0] }
      writer.add(name, shape: tensor.shape.dropLast() + [columns], integers: taken)
    }
    try writer.write(to: path)
  }

  private func base(_ name: String) -> String { fixture("hf_double/\(name)/base") }

  private func options(_ name: String, _ data: String) -> EvaluationOptions {
    var options = EvaluationOptions()
    let adapter = fixture("hf_double/\(name)/adapter")
    if FileManager.default.fileExists(atPath: adapter) { options.adapter = adapter }
    options.dataFile = data
    options.batchSize = 4
    options.batches = 1
    options.reference = .none
    options.precision = .float64
    options.threads = 2
    return options
  }

  private func problem(_ name: String, _ data: String) throws -> BatchProblem<Double> {
    let evaluation = Evaluation(options(name, data))
    let checkpoint = try LoadedCheckpoint(path: base(name), options: evaluation.options)
    let budget = try evaluation.budget(
      checkpoint, evaluation.source(checkpoint), .score(updates: []), Double.self)
    return try evaluation.problem(checkpoint, batch: 0, budget, Double.self)
  }

  private func logits(_ problem: BatchProblem<Double>) -> [Double] {
    let linearization = problem.linearization
    return linearization.schedule.chunks.flatMap { chunk in
      (0..<chunk.count * linearization.logitCount).map { linearization.logits(chunk)[$0] }
    }
  }
}
