import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// What a table and its files say beside the numbers, and in place of those that do not exist.
struct NoteTests {
  /// `gamma nan` with exit code 0 said nothing of either.
  @Test func aGammaThatDoesNotExistSaysWhy() throws {
    let model = { (outputs: Int) in
      #"{"type": "sequential", "input_shape": [1], "layers": [{"type": "linear", "#
        + #""name": "a", "in_features": 1, "out_features": \#(outputs), "bias": false}]}"#
    }
    let single = try TemporaryCheckpoint(model: model(1)) { writer in
      writer.add("params.a.weight", shape: [1, 1], Vector([0.5]))
      writer.add("batch.inputs", shape: [2, 1], Vector([1.0, 2]))
      writer.add("batch.labels", shape: [2], integers: [0, 0])
    }
    let fitted = try TemporaryCheckpoint(model: model(2)) { writer in
      writer.add("params.a.weight", shape: [2, 1], Vector([0, -1e4]))
      writer.add("batch.inputs", shape: [1, 1], Vector([1.0]))
      writer.add("batch.labels", shape: [1], integers: [0])
    }
    for (file, words) in [
      (single, "cross_entropy of a single logit is zero"),
      (fitted, "every sample is fitted exactly"),
    ] {
      let report = try report(file.path)
      let text = Self.unwrapped(report.text)
      #expect(text.contains("The gradient is zero: " + words), "\(text)")
      #expect(!text.contains("nan"))
      #expect(report.notes.contains { $0.contains(words) })
      let scores = report.scores
      for row in scores.rows {
        let cells = Dictionary(uniqueKeysWithValues: zip(scores.columns, row))
        #expect(cells["gamma"] == .empty && cells["no_gamma"] == .text("zero-gradient"))
      }
      #expect(!report.tables.contains { $0.name != "cg" && $0.csv.contains("nan") })
      let summary = report.summary
      let cells = Dictionary(uniqueKeysWithValues: zip(summary.columns, summary.rows[0]))
      #expect(cells["gamma_mean"] == .empty && cells["batches_without_gamma"] == .integer(1))
    }
  }

  /// A layer that is used twice and saved as two copies is another network; nothing told.
  @Test func equalLayersAreNoted() throws {
    let layers = ["0", "1", "2"].map { name in
      #"{"type": "linear", "name": "\#(name)", "in_features": 2, "out_features": 2}"#
    }
    let weights: [[Double]] = [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 5]]
    func text(_ weights: [[Double]], trainable: String = "[\"*\"]") throws -> String {
      let file = try TemporaryCheckpoint(
        model: #"{"type": "sequential", "input_shape": [2], "layers": ["#
          + layers.joined(separator: ",") + "]}", settings: ["trainable": trainable]
      ) { writer in
        for (name, weight) in weights.enumerated() {
          writer.add("params.\(name).weight", shape: [2, 2], Vector(weight))
          writer.add("params.\(name).bias", shape: [2], Vector([0.0, 0]))
        }
        writer.add("batch.inputs", shape: [2, 2], Vector([1.0, 2, -1, 0.5]))
        writer.add("batch.labels", shape: [2], integers: [0, 1])
      }
      return Self.unwrapped(try report(file.path).text)
    }
    #expect(
      try text(weights).contains("Equal to the last bit: 0.weight, 1.weight. They are scored"))
    // The sign of zero is a bit too; constant weights are initialisations; frozen ones cannot differ.
    #expect(!(try text([[1, 2, 3, 0], [1, 2, 3, -0.0], [1, 2, 3, 5]])).contains("Equal"))
    #expect(!(try text([[1, 1, 1, 1], [1, 1, 1, 1], [1, 2, 3, 5]])).contains("Equal"))
    #expect(!(try text(weights, trainable: "[\"2.*\"]")).contains("Equal"))
  }

  /// Weights are compared before their shapes are checked.
  @Test func weightsWithoutNumbersAreToldAsSuch() throws {
    let file = try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [2], "layers": [{"type": "linear", "#
        + #""name": "a", "in_features": 2, "out_features": 2, "bias": false}]}"#
    ) { writer in
      writer.add("params.a.weight", shape: [0, 2], Vector<Double>(count: 0))
    }
    let options = EvaluationOptions()
    let error = #expect(throws: CheckpointError.self) {
      _ = try LoadedCheckpoint(path: file.path, options: options)
    }
    #expect(error?.problem == .shapeMismatch(found: [0, 2], expected: [2, 2]))
  }

  /// PEFT trains a copy of T5's shared table that its forward pass never reads.
  @Test func parametersThatNothingReadsAreNoted() throws {
    let folder = fixture("hf_double/t5_saves_shared") + "/"
    var options = EvaluationOptions()
    options.adapter = folder + "adapter"
    options.dataFile = folder + "data.safetensors"
    options.batches = 1
    options.reference = .none
    let evaluation = Evaluation(options)
    let description = try evaluation.describe(checkpoint: folder + "base")
    #expect(description.trainableParameters == 272)
    #expect(description.parameters.filter { $0.status == .unused }.map(\.count) == [104])
    let report = Report([
      Report.Entry(description, try evaluation.score(checkpoint: folder + "base"))
    ])
    #expect(
      Self.unwrapped(report.text).contains(
        "PEFT trains 104 of the P parameters without reading them "
          + "(shared.modules_to_save.weight): their gradient is zero"))
  }

  // MARK: - Pieces

  private func report(_ path: String) throws -> Report {
    var options = EvaluationOptions()
    options.precision = .float64
    options.perLayer = true
    let evaluation = Evaluation(options)
    return Report([
      Report.Entry(
        try evaluation.describe(checkpoint: path), try evaluation.score(checkpoint: path))
    ])
  }

  private static func unwrapped(_ text: String) -> String {
    text.replacing("\n  ", with: " ").replacing("\n", with: " ")
  }
}
