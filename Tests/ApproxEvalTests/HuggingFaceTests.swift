import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval
@testable import Curvature

/// Hugging Face models and PEFT adapters against values that plain autograd in double precision
/// gives for them (fixtures/make_hf_cases.py).
@Suite(.serialized)
struct HuggingFaceTests {
  static let cases: [String] = {
    let files = try? FileManager.default.contentsOfDirectory(atPath: fixture("hf_double"))
    return (files ?? []).sorted()
  }()
  /// Every kind of block and adapter once.
  private static let few = [
    "vit_full", "vit_patterns", "vit_version_5", "t5_full", "t5_v1_1_full", "t5_distant",
    "t5_prompt_causal", "bert_classes", "gpt2_full", "mistral_window", "llama_longrope",
  ]

  @Test func allCasesAreThere() {
    #expect(HuggingFaceTests.cases.count == 70)
    #expect(Set(HuggingFaceTests.few).isSubset(of: HuggingFaceTests.cases))
  }

  /// Sums of some thousand products with roundings of 1e-16, through ten layers; EF, iEF and SF
  /// solve systems whose condition is at most |g_n|^2 / 1e-4, some 1e5.
  @Test(arguments: cases)
  func agreesInDouble(_ name: String) throws {
    try check(name, Double.self, .float64, tolerance: 1e-11, solved: 1e-9)
  }

  /// The same with roundings of 6e-8.
  @Test(arguments: few)
  func agreesInSingle(_ name: String) throws {
    try check(name, Float.self, .float32, tolerance: 2e-5, solved: 5e-3)
  }

  @Test(arguments: cases)
  func selfCheckPasses(_ name: String) throws {
    let items = try Evaluation(options(name, .float64)).selfCheck(checkpoint: base(name))
    for item in items {
      #expect(item.passed, "\(name): \(item.name), \(item.measured), limit \(item.limit)")
    }
  }

  /// A self-contained file with the same tensors under the names that transformers and PEFT give
  /// them.
  @Test(arguments: [
    "vit_full", "vit_version_5", "vit_adapted_biases_of_base_layer", "t5_full",
    "t5_prompt_causal", "bert_classes", "gpt2_prompt", "llama_longrope",
  ])
  func checkpointFilesAreReadLikeFolders(_ name: String) throws {
    var options = try options(name, .float64)
    let folder = try ModelDirectory.open(base(name))
    var description =
      #"{"type": "\#(name.prefix { $0 != "_" })", "config": "#
      + (try String(contentsOfFile: base(name) + "/config.json", encoding: .utf8))
    var tensors = folder.tensors
    if let path = options.adapter {
      for (name, tensor) in try AdapterDirectory.open(path).tensors { tensors[name] = tensor }
      description +=
        #", "adapter": "#
        + (try String(contentsOfFile: path + "/adapter_config.json", encoding: .utf8))
    }
    var writer = SafetensorsWriter(
      metadata: ["format": "approx-eval/1", "model": description + "}"])
    for (name, tensor) in tensors { writer.add("params." + name, tensor) }
    for (name, tensor) in try TensorArchive.open(options.dataFile!).tensors {
      writer.add("batch." + name, tensor)
    }
    let file = NSTemporaryDirectory() + "hugging-face-\(name)-\(UUID().uuidString).bin"
    try writer.write(to: file)
    defer { try? FileManager.default.removeItem(atPath: file) }
    let expected = try Expected(name)
    options.adapter = nil
    options.dataFile = nil
    options.batchSize = nil
    options.batches = nil
    let found = try Evaluation(options).score(checkpoint: file)[0]
    // As in agreesInDouble.
    #expect(mismatch(found.loss, expected.loss, tolerance: 1e-11) == nil)
    #expect(mismatch(found.gradientNorm, expected.gradientNorm, tolerance: 1e-11) == nil)
    #expect(
      mismatch(found.scores.map(\.gamma), expected.inOrder(of: found.scores), tolerance: 1e-9)
        == nil)
  }

  @Test(arguments: ["vit_full", "t5_full", "t5_prompt_causal"])
  func threadsDoNotChangeABit(_ name: String) throws {
    var options = try options(name, .float32)
    let scores = try SharedWork.threads.map { threads in
      let pool = SharedWork.pool(threads)
      options.threads = threads
      let result = try Evaluation(options, pool: pool).score(checkpoint: base(name))
      #expect((pool.sharedCalls > 0) == (threads > 1))
      return result[0].scores
    }
    for other in scores.dropFirst() {
      #expect(scores[0].map(\.gamma) == other.map(\.gamma))
      #expect(scores[0].map(\.updateNorm) == other.map(\.updateNorm))
    }
  }

  // MARK: - One case

  private func check<S: EngineScalar>(
    _ name: String, _: S.Type, _ precision: Precision, tolerance: Double, solved: Double
  ) throws {
    let expected = try Expected(name)
    let evaluation = Evaluation(try options(name, precision))
    let checkpoint = try LoadedCheckpoint(path: base(name), options: evaluation.options)
    #expect(checkpoint.description.trainableParameters == expected.trainable)
    #expect(checkpoint.description.positions == expected.columns.count)
    // Batches take the samples of a data file in an order of their own.
    let source = try evaluation.source(checkpoint)
    let order = source.samples(0)
    func ordered<Element>(_ values: [Element]) -> [Element] { order.map { values[$0] } }

    let budget = try evaluation.budget(checkpoint, source, .selfCheck, S.self)
    let problem = try evaluation.problem(checkpoint, batch: 0, budget, S.self)
    let (linearization, output) = (problem.linearization, problem.output)
    let logits = linearization.schedule.chunks.flatMap { chunk in
      (0..<chunk.count * linearization.logitCount).map {
        Double(linearization.logits(chunk)[$0])
      }
    }
    func compare(_ found: [Double], _ wanted: [Double], _ what: String) {
      let problem = mismatch(found, wanted, tolerance: tolerance)
      #expect(problem == nil, "\(name): \(what)")
    }
    compare(logits, ordered(expected.logits).flatMap { $0.flatMap { $0 } }, "logits")
    compare(output.sampleLosses, ordered(expected.perSampleLoss), "losses")
    compare(
      output.gradientNorms, ordered(expected.logitGradientNorm),
      "logit gradient norms")
    let gram = try gramMatrix(problem)
    compare(
      (0..<gram.count).map { gram.norm($0) }, ordered(expected.perSampleGradientNorm),
      "gradient norms of samples")
    compare(
      gram.scaled.array.map { $0 * gram.unit * gram.unit },
      ordered(expected.gram).flatMap { ordered($0) }, "Gram matrix")

    let result = try evaluation.score(checkpoint: base(name))[0]
    func compare(_ found: Double, _ wanted: Double, _ tolerance: Double, _ what: String) {
      let problem = mismatch(found, wanted, tolerance: tolerance)
      #expect(problem == nil, "\(name): \(what)")
    }
    compare(result.loss, expected.loss, tolerance, "loss")
    compare(result.gradientNorm, expected.gradientNorm, tolerance, "gradient norm")
    // Sums of 1 / p(y) amplify an error of the logits.
    compare(result.gammaBound, expected.gammaBound, 10 * tolerance, "gamma bound")
    for row in expected.scores {
      let label = "\(row.method)@\(row.damping ?? 0) "
      let found = try #require(
        result.scores.first {
          $0.method == row.method && $0.damping.map { Double($0)! } == row.damping
        }, "\(label)")
      let own = row.method == "sgd" ? 10 * tolerance : solved
      compare(found.gamma, row.gamma, own, label + "gamma")
      compare(found.cosineGradient, row.cosineGradient, own, label + "cosine")
      compare(found.fisherQuadratic, row.fisherQuadratic, 2 * own, label + "Fisher quadratic")
      compare(found.updateNorm, row.norm, own, label + "norm")
    }
  }

  private func gramMatrix<S: EngineScalar>(_ problem: BatchProblem<S>) throws -> GramMatrix {
    let ones = [Double](repeating: 1, count: problem.linearization.samples)
    return problem.linearization.perSampleGradients(draws: 1, scales: ones) { chunk, out in
      ones.withUnsafeBufferPointer {
        problem.output.write(
          problem.output.gradient, chunk: chunk, units: $0.baseAddress!, to: out)
      }
    }.gramMatrix()
  }

  private func base(_ name: String) -> String { fixture("hf_double/\(name)/base") }

  private func options(_ name: String, _ precision: Precision) throws -> EvaluationOptions {
    var options = EvaluationOptions()
    let adapter = fixture("hf_double/\(name)/adapter")
    if FileManager.default.fileExists(atPath: adapter) { options.adapter = adapter }
    options.dataFile = fixture("hf_double/\(name)/data.safetensors")
    options.batchSize = try Expected(name).perSampleLoss.count
    options.batches = 1
    options.dampings = [Damping("0.0001")!, Damping("0.1")!]
    options.reference = .none
    options.precision = precision
    options.threads = 1
    return options
  }
}

/// The values of a case, under the names in the file (there in snake case).
private struct Expected: Decodable {
  struct Row: Decodable {
    let method: String
    let damping: Double?
    let gamma: Double
    let fisherQuadratic: Double
    let norm: Double
    let cosineGradient: Double
  }
  let trainable: Int
  let loss: Double
  let perSampleLoss: [Double]
  /// Label columns that any sample scores.
  let columns: [Int]
  /// `[N, S, C]`
  let logits: [[[Double]]]
  let logitGradientNorm: [Double]
  let gradientNorm: Double
  let perSampleGradientNorm: [Double]
  let gram: [[Double]]
  let gammaBound: Double
  let scores: [Row]

  init(_ name: String) throws {
    let file = URL(fileURLWithPath: fixture("hf_double/\(name)/expected.json"))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    self = try decoder.decode(Expected.self, from: Data(contentsOf: file))
  }

  /// gamma of the same methods and dampings.
  func inOrder(of found: [Score]) -> [Double] {
    found.map { score in
      scores.first {
        $0.method == score.method && $0.damping == score.damping.map { Double($0)! }
      }?.gamma ?? .nan
    }
  }
}

/// Two stored names that mean one parameter: which of them counts, no file says.
@Suite struct StoredTwiceTests {
  /// Each pair of names that PEFT's wrappers and versions of Transformers bring to one.
  @Test(arguments: [
    ("classifier.weight", "classifier.modules_to_save.weight"),
    ("classifier.modules_to_save.bias", "classifier.bias"),
    ("vit.layernorm.bias", "vit.layernorm.base_layer.bias"),
  ])
  func bothNamesAreInTheError(_ first: String, _ second: String) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.copyItem(
      at: URL(fileURLWithPath: fixture("hf/vit_lora/adapter")), to: folder)
    defer { try? FileManager.default.removeItem(at: folder) }
    let stored = try TensorArchive.open(folder.path + "/adapter_model.safetensors")
    var writer = SafetensorsWriter(metadata: stored.metadata)
    for (name, tensor) in stored.tensors { writer.add(name, tensor) }
    for (index, name) in [first, second].enumerated() {
      writer.add(
        "base_model.model." + name, shape: [1], Vector<Float>([Float(index)]))
    }
    let path = folder.path + "/new.safetensors"
    try writer.write(to: path)
    #expect(rename(path, folder.path + "/adapter_model.safetensors") == 0)
    var messages: Set<String> = []
    for _ in 0..<5 {
      do {
        _ = try CheckpointSource(path: fixture("hf/vit_lora/base"), adapter: folder.path)
        Issue.record("no error was thrown")
      } catch {
        messages.insert("\(error)")
      }
    }
    #expect(messages.count == 1)
    for name in [first, second] {
      #expect(try #require(messages.first).contains("base_model.model." + name))
    }
  }
  /// In one file with the base model's parameter, of which an adapter's takes the place.
  @Test func twoOfAnAdaptersNamesInACheckpointFileAreInTheError() throws {
    let text = try String(
      contentsOfFile: fixture("hf/vit_lora/base/config.json"), encoding: .utf8)
    let path = NSTemporaryDirectory() + "stored-twice-\(UUID().uuidString).bin"
    defer { try? FileManager.default.removeItem(atPath: path) }
    func open(_ values: [Float]) throws -> CheckpointSource {
      var writer = SafetensorsWriter(
        metadata: [
          "format": "approx-eval/1", "model": #"{"type": "vit", "config": \#(text)}"#,
        ])
      let names = ["classifier", "classifier.base_layer", "classifier.modules_to_save"]
      for (name, value) in zip(names, values) {
        writer.add("params.\(name).bias", shape: [1], Vector<Float>([value]))
      }
      try writer.write(to: path)
      return try CheckpointSource(path: path)
    }
    let same = try open([1, 2, 2])
    #expect(try same.parameter("classifier.bias").vector(of: Float.self).array == [2])
    do {
      _ = try open([1, 2, 3])
      Issue.record("no error was thrown")
    } catch {
      #expect("\(error)".contains("params.classifier.base_layer.bias are both"))
      #expect("\(error)".contains("tensor params.classifier.modules_to_save.bias"))
    }
  }
}
