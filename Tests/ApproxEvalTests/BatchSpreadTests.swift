import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// Batches that share samples, or are one batch: what their deviations are, and what is said of them.
struct BatchSpreadTests {
  // MARK: - One batch

  /// Ten batches of all samples were ten times the same one, with a deviation of 1e-9.
  @Test(arguments: [Precision.float32, .float64])
  func batchesOfAllSamplesHaveNoSpreadButThatOfDraws(_ precision: Precision) throws {
    let files = try Files(samples: 6)
    var options = EvaluationOptions()
    options.precision = precision
    options.batches = 3
    let entry = try files.entry(options)
    #expect(entry.results.count == 3 && entry.isOneBatch)
    for method in ["sgd", "ef", "ief", "ng"] {
      let gammas = entry.results.map { $0.scores.first { $0.method == method }!.gamma }
      #expect(Set(gammas).count == 1, "\(method): \(gammas)")
    }
    for summary in entry.summaries {
      let isDrawn = summary.method == "sf"
      #expect((summary.gamma.standardDeviation != nil) == isDrawn, "\(summary.method)")
      #expect((summary.efficiency?.standardDeviation != nil) == isDrawn, "\(summary.method)")
    }
    let report = Report([entry])
    let note =
      "Each of the 3 batches has all 6 samples of the data: they are one batch, and what spread "
      + "there is comes from the drawn labels of sf."
    #expect(report.notes.contains(note))
    #expect(report.text.replacing("\n  ", with: " ").contains(note))
    let (summary, batches) = (report.summary, report.batches)
    for row in summary.rows {
      let cells = Dictionary(uniqueKeysWithValues: zip(summary.columns, row))
      let isEmpty = cells["gamma_std"] == .empty && cells["gamma_stderr"] == .empty
      #expect(isEmpty == (cells["method"] != .text("sf")), "\(cells)")
    }
    let cells = Dictionary(uniqueKeysWithValues: zip(batches.columns, batches.rows[0]))
    #expect(cells["data_samples"] == .integer(6))

    options.methods = [.sgd, .ef]
    let same = try files.entry(options)
    #expect(same.spreadNote?.hasSuffix("they are one batch, and batches 1 says as much.") == true)
  }

  /// Without a number of batches there is one where there is no other.
  @Test func dataOfOneBatchAreScoredOnce() throws {
    let files = try Files(samples: 6)
    var options = EvaluationOptions()
    options.dataFile = files.data
    #expect(try files.entry(options).results.count == 1)
    // As the checkpoint's own batch, which has the same samples.
    let own = try files.entry(EvaluationOptions())
    let all = try files.entry(options)
    #expect(own.results[0].scores.map(\.gamma) == all.results[0].scores.map(\.gamma))
    options.batchSize = 6
    #expect(try files.entry(options).results.count == 1)
    options.batchSize = 5
    #expect(try Evaluation(options).batchCount(checkpoint: files.checkpoint.path) == 10)
  }

  /// Labels that the file carries are the same in every batch.
  @Test func storedDrawsHaveNoSpread() throws {
    let files = try Files(samples: 6, draws: [0, 1, 2, 0, 1, 2])
    var options = EvaluationOptions()
    options.batches = 2
    let entry = try files.entry(options)
    #expect(entry.summaries.allSatisfy { $0.gamma.standardDeviation == nil })
    #expect(entry.spreadNote?.hasSuffix("batches 1 says as much.") == true)
  }

  // MARK: - Overlap

  @Test func batchesThatShareManySamplesSaySo() throws {
    let files = try Files(samples: 12)
    var options = EvaluationOptions()
    (options.batchSize, options.batches) = (8, 3)
    let entry = try files.entry(options)
    #expect(!entry.isOneBatch)
    #expect(entry.summaries.allSatisfy { $0.gamma.standardDeviation != nil })
    // 1 - sqrt(1 - 8/12)
    let note = try #require(entry.spreadNote)
    #expect(note.hasPrefix("Batches of 8 from 12 samples overlap: two of them have 67 % of their"))
    #expect(note.contains("some 42 % smaller"))
    // Said once for all checkpoints.
    let report = Report([entry, entry])
    #expect(report.notes.count { $0 == note } == 1)
    #expect(report.text.components(separatedBy: "Batches of 8 from").count == 2)
    (options.batchSize, options.batches) = (2, 3)
    #expect(try files.entry(options).spreadNote == nil, "6 of 12 samples, a sixth in each")
    options.batches = 7
    #expect(try files.entry(options).spreadNote != nil, "14 of 12 samples")
    (options.batchSize, options.batches) = (8, 1)
    #expect(try files.entry(options).spreadNote == nil, "one batch")
  }

  // MARK: - Pieces

  /// A small network with a batch of its own, and the same samples as a file of data.
  private struct Files {
    let checkpoint: TemporaryCheckpoint
    let data: String
    private let holder: DataHolder

    init(samples: Int, draws: [Int64]? = nil) throws {
      let inputs = (0..<samples * 3).map { sin(Double($0 * $0) + 1) }
      let labels = (0..<samples).map { Int64($0 * $0 % 3) }
      func add(_ prefix: String, to writer: inout SafetensorsWriter) {
        writer.add(prefix + "inputs", shape: [samples, 3], Vector(inputs))
        writer.add(prefix + "labels", shape: [samples], integers: labels)
        if let draws {
          writer.add(prefix + "sampled_labels", shape: [1, samples], integers: draws)
        }
      }
      checkpoint = try TemporaryCheckpoint(
        model: #"{"type": "sequential", "input_shape": [3], "layers": [{"type": "linear", "#
          + #""name": "a", "in_features": 3, "out_features": 5}, {"type": "tanh"}, "#
          + #"{"type": "linear", "name": "b", "in_features": 5, "out_features": 3}]}"#
      ) { writer in
        for (name, shape) in [("a.weight", [5, 3]), ("a.bias", [5]), ("b.weight", [3, 5])] {
          let count = shape.reduce(1, *)
          writer.add(
            "params." + name, shape: shape, Vector((0..<count).map { cos(Double(3 * $0 + count)) }))
        }
        writer.add("params.b.bias", shape: [3], Vector([0.1, 0, -0.1]))
        add("batch.", to: &writer)
      }
      holder = DataHolder()
      data = holder.path
      var writer = SafetensorsWriter(metadata: [:])
      add("", to: &writer)
      try writer.write(to: data)
    }

    func entry(_ options: EvaluationOptions) throws -> Report.Entry {
      let evaluation = Evaluation(options)
      return Report.Entry(
        try evaluation.describe(checkpoint: checkpoint.path),
        try evaluation.score(checkpoint: checkpoint.path))
    }
  }

  private final class DataHolder {
    let path = NSTemporaryDirectory() + "/approx-eval-test-" + UUID().uuidString + ".safetensors"

    deinit { try? FileManager.default.removeItem(atPath: path) }
  }
}
