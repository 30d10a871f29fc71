import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval
@testable import Curvature

/// What files say of their loss, from metadata and arrays to gamma.
struct LossSettingsTests {
  private static let weighted = cases.filter { !$0.weights.isEmpty }

  /// The same problem written with settings in metadata, as tensors of the batch, and in a data file:
  /// L, the certificate and gamma of the gradient are the oracle's each time.
  @Test(arguments: weighted)
  func settingsGiveTheOraclesLoss(_ test: Case) throws {
    let oracle = DenseOracle(Problem(test))
    for place in Place.allCases {
      let files = try Files(oracle.problem, place)
      var options = EvaluationOptions()
      options.precision = .float64
      options.methods = [.sgd, .ief]
      options.dampings = [Damping("0.01")!]
      options.reference = .none
      options.dataFile = files.data
      options.batchSize = oracle.samples
      options.batches = 1
      let evaluation = Evaluation(options)
      let description = try evaluation.describe(checkpoint: files.checkpoint)
      #expect(!description.lossSettings.isEmpty)
      let result = try evaluation.score(checkpoint: files.checkpoint)[0]
      #expect(mismatch(result.loss, oracle.losses.reduce(0, +), tolerance: 1e-12) == nil)
      #expect(mismatch(result.gammaBound, oracle.gammaBound, tolerance: 1e-11) == nil)
      let ief = oracle.weightedGradients(oracle.squares, lambda: 0.01)
      #expect(
        mismatch(
          result.scores.map(\.gamma), [oracle.gradient, ief].map(oracle.gamma), tolerance: 1e-9)
          == nil, "\(place)")
    }
  }

  /// torch's mean: 2.0 / (w_0 + w_2) and so on, by hand.
  @Test func meanLossIsOverWeightsOfScoredPositions() throws {
    var problem = Problem(Case("mlp", input: [3], mlp, samples: 4))
    problem.labels = .classes([0, 2, -100, 1])
    func mean(_ weighting: OracleWeighting, _ labels: OracleLabels? = nil) throws -> Double {
      var problem = problem
      problem.weighting = weighting
      if let labels { problem.labels = labels }
      let engine = try EngineProblem(problem, Double.self)
      return engine.output(engine.linearize()).positionWeight
    }
    var weighting = OracleWeighting()
    #expect(try mean(weighting) == 3)
    weighting.classes = [0.5, 2, 4]
    #expect(try mean(weighting) == 0.5 + 4 + 2)
    weighting.smoothing = 0.25
    #expect(try mean(weighting) == 0.5 + 4 + 2)
    weighting.samples = [2, 1, 1, 0.5].map { [Double](repeating: $0, count: 3) }
    #expect(try mean(weighting) == 1 + 4 + 1)
    // Soft labels have no one class.
    #expect(
      try mean(weighting, .real([Double](repeating: 0.25, count: 9) + [0.25, 0.25, 0.5])) == 4.5)
  }

  @Test(arguments: weighted.filter { $0.samples == 4 })
  func packedFilesKeepTheirLoss(_ test: Case) throws {
    let files = try Files(Problem(test), .dataFile)
    var options = EvaluationOptions()
    options.dataFile = files.data
    options.batchSize = 3
    options.batches = 1
    options.reference = .none
    let expected = try Evaluation(options).score(checkpoint: files.checkpoint)[0]
    let packed = NSTemporaryDirectory() + "packed-\(UUID().uuidString).bin"
    defer { try? FileManager.default.removeItem(atPath: packed) }
    try PackedCheckpoint(checkpoint: files.checkpoint, options: options).write(to: packed)
    var own = EvaluationOptions()
    own.reference = .none
    let found = try Evaluation(own).score(checkpoint: packed)[0]
    #expect(found.loss == expected.loss && found.meanLoss == expected.meanLoss)
    #expect(found.gammaBound == expected.gammaBound)
    #expect(found.scores.map(\.gamma) == expected.scores.map(\.gamma))
  }

  /// Arrays of an npz file say what those of a safetensors file say.
  @Test func archivesOfArraysHaveWeightsToo() throws {
    let arrays = try TensorArchive.open(fixture("data/weighted.npz")).tensors
    var writer = SafetensorsWriter()
    for (name, tensor) in arrays { writer.add(name, tensor) }
    let data = NSTemporaryDirectory() + "weighted-\(UUID().uuidString).safetensors"
    defer { try? FileManager.default.removeItem(atPath: data) }
    try writer.write(to: data)
    let problem = Problem(Case("mlp", input: [3], mlp, samples: 4))
    let files = try Files(problem, .batch)
    let losses = try [fixture("data/weighted.npz"), data].map { path in
      var options = EvaluationOptions()
      options.dataFile = path
      options.reference = .none
      options.batches = 1
      return try Evaluation(options).score(checkpoint: files.checkpoint)[0].loss
    }
    #expect(losses[0] == losses[1])
    // Weights 1, 0, 2, 0.5, class weights 1, 2, 3 and a smoothing of 0.1 are not without effect.
    var options = EvaluationOptions()
    options.reference = .none
    let plain = try Evaluation(options).score(checkpoint: files.checkpoint)[0].loss
    #expect(losses[0] != plain)
  }

  /// Refused before all of it becomes numbers.
  @Test func moreClassWeightsThanAnyModelHasLogitsAreNotRead() {
    let count = 1 << 21
    let weights = StoredTensor(
      name: "class_weights", dtype: .u8, shape: [count], data: Data(count: count))
    let labels = StoredTensor(name: "labels", dtype: .u8, shape: [1], data: Data(count: 1))
    let error = #expect(throws: CheckpointError.self) {
      _ = try DataFile(path: "data", arrays: ["labels": labels, "class_weights": weights])
    }
    #expect(
      error?.problem
        == .unexpectedValue(
          "class_weights", found: "2097152 numbers", expected: "one for each logit"))
  }

  // MARK: - Transformers

  @Test(arguments: [
    ("single_label_classification", "cross_entropy"), ("multi_label_classification", "bce"),
    ("regression", "mse"),
  ])
  func problemTypesAreHonoured(_ problemType: String, loss: String) throws {
    let labels = loss == "cross_entropy" ? [0.25, 0.75] : [0, 1]
    let file = try transformer(#""problem_type": "\#(problemType)","#, labels: labels)
    defer { try? FileManager.default.removeItem(atPath: file) }
    let checkpoint = try LoadedCheckpoint(path: file, options: EvaluationOptions())
    #expect(checkpoint.loss.rawValue == loss)
    var options = EvaluationOptions()
    options.reference = .none
    #expect(try Evaluation(options).score(checkpoint: file)[0].loss > 0)
  }

  @Test(arguments: [
    // Transformers would take them for several labels at once, torch for soft ones.
    ("", "", "cross_entropy reads class numbers, or soft labels where config.json says"),
    (#""problem_type": "ranking","#, "", "\"single_label_classification\", "),
    (#""problem_type": "regression","#, "bce", "what __metadata__.loss says, bce"),
    (#""loss_type": "ForMaskedLM","#, "bce", "loss_type is \"ForMaskedLM\", expected nothing"),
  ])
  func lossesThatContradictEachOtherAreRefused(
    _ setting: String, loss: String, words: String
  ) throws {
    let file = try transformer(setting, labels: [0, 1], loss: loss)
    defer { try? FileManager.default.removeItem(atPath: file) }
    do {
      _ = try LoadedCheckpoint(path: file, options: EvaluationOptions())
      Issue.record("accepted: \(setting)")
    } catch let error as CheckpointError {
      #expect(error.description.contains(words), "\(error.description)")
    }
  }

  /// A ViT of two classes with a setting in its configuration and labels of numbers.
  private func transformer(
    _ setting: String, labels: [Double], loss: String = ""
  ) throws -> String {
    let folder = fixture("hf_double/vit_two_classes") + "/"
    let config = try String(contentsOfFile: folder + "base/config.json", encoding: .utf8)
    var metadata = [
      "format": "approx-eval/1",
      "model": #"{"type": "vit", "config": {\#(setting)\#(config.drop { $0 != "{" }.dropFirst())}"#,
    ]
    if !loss.isEmpty { metadata["loss"] = loss }
    var writer = SafetensorsWriter(metadata: metadata)
    for (name, tensor) in try ModelDirectory.open(folder + "base").tensors {
      writer.add("params." + name, tensor)
    }
    let pixels = try #require(
      try TensorArchive.open(folder + "data.safetensors").tensors["pixel_values"])
    writer.add("batch.pixel_values", pixels)
    writer.add(
      "batch.labels", shape: [pixels.shape[0], 2],
      Vector((0..<pixels.shape[0]).flatMap { _ in labels }))
    let path = NSTemporaryDirectory() + "problem-type-\(UUID().uuidString).bin"
    try writer.write(to: path)
    return path
  }
}

/// Where the settings of a loss stand.
private enum Place: String, CaseIterable {
  case metadata, batch, dataFile
}

/// A problem as files, for as long as this value lives.
private final class Files {
  let checkpoint: String
  let data: String?

  init(_ problem: Problem, _ place: Place) throws {
    let name = NSTemporaryDirectory() + "loss-settings-" + UUID().uuidString
    checkpoint = name + ".bin"
    data = place == .dataFile ? name + ".safetensors" : nil
    let weighting = problem.weighting
    var metadata = ["format": "approx-eval/1", "model": problem.json, "loss": problem.loss]
    if place == .metadata {
      if weighting.smoothing > 0 { metadata["label_smoothing"] = "\(weighting.smoothing)" }
      metadata["class_weights"] = weighting.classes.map { "\($0)" }
      metadata["pos_weight"] = weighting.positives.map { "\($0)" }
      metadata["reduction"] = "mean"
    }
    var writer = SafetensorsWriter(metadata: metadata)
    for (name, values) in problem.parameters {
      let shape = problem.model.parameters.first { $0.name == name }!.shape
      writer.add("params." + name, shape: shape, Vector(values))
    }
    var samples = SafetensorsWriter()
    let prefix = place == .dataFile ? "" : "batch."
    func add(_ name: String, _ shape: [Int], _ values: [Double]) {
      if place == .dataFile {
        samples.add(prefix + name, shape: shape, Vector(values))
      } else {
        writer.add(prefix + name, shape: shape, Vector(values))
      }
    }
    let count = problem.samples
    add("inputs", [count] + problem.model.inputShape, problem.inputs.flatMap { $0 })
    switch problem.labels {
    case .classes(let classes):
      let shape = [count] + problem.outputShape.dropLast()
      if place == .dataFile {
        samples.add("labels", shape: shape, integers: classes.map { Int64($0) })
      } else {
        writer.add("batch.labels", shape: shape, integers: classes.map { Int64($0) })
      }
    case .real(let targets): add("labels", [count] + problem.outputShape, targets)
    }
    if let all = weighting.samples {
      // Of outputs where the loss has them, else of positions.
      let step = problem.loss == "cross_entropy" ? problem.classes : 1
      let rows = all.map { row in stride(from: 0, to: row.count, by: step).map { row[$0] } }
      add(
        "weights",
        step == 1 ? [count] + problem.outputShape : [count] + problem.outputShape.dropLast(),
        rows.flatMap { $0 })
    }
    if place != .metadata {
      if weighting.smoothing > 0 { add("label_smoothing", [], [weighting.smoothing]) }
      if let classes = weighting.classes { add("class_weights", [classes.count], classes) }
      if let positives = weighting.positives { add("pos_weight", [positives.count], positives) }
    }
    try writer.write(to: checkpoint)
    if let data { try samples.write(to: data) }
  }

  deinit {
    for path in [checkpoint, data].compactMap({ $0 }) {
      try? FileManager.default.removeItem(atPath: path)
    }
  }
}
