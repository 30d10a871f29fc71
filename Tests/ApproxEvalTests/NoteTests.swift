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
      let inspection = try Inspection(checkpoint: file.path)
      let report = try report(file.path)
      for note in inspection.description.allNotes {
        #expect(report.notes.contains { $0.hasSuffix(note.description) })
        #expect(inspection.json.document.contains(note.description))
      }
      #expect(inspection.description.allNotes.isEmpty == !report.text.contains("Equal"))
      return Self.unwrapped(report.text)
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
    let inspection = try Inspection(checkpoint: folder + "base", options: options)
    #expect(inspection.description.allNotes == report.entries[0].description.allNotes)
    #expect(inspection.description.allNotes.count == 1)
  }

  // MARK: - Labels and samples

  /// A model that is sure draws the true labels, and SF is EF up to those that differ; nothing told.
  @Test func sampledLabelsThatAreTheTrueOnesAreCounted() throws {
    let samples = 20
    func report(
      wrong: Int, settings: [String: String] = [:], draws: [Int64]? = nil
    ) throws -> Report {
      let file = try TemporaryCheckpoint(
        model: #"{"type": "sequential", "input_shape": [3], "layers": [{"type": "linear", "#
          + #""name": "a", "in_features": 3, "out_features": 3}]}"#, settings: settings
      ) { writer in
        // Logits of 16 for the class that the input names.
        writer.add("params.a.weight", shape: [3, 3], Vector([16.0, 1, 0, 0, 16, 1, 1, 0, 16]))
        writer.add("params.a.bias", shape: [3], Vector([0.0, 0, 0]))
        let classes = (0..<samples).map { $0 % 3 }
        let inputs = classes.enumerated().flatMap { place, own in
          (0..<3).map { $0 == own ? 1 + Double(place) / 40 : 0.0 }
        }
        writer.add("batch.inputs", shape: [samples, 3], Vector(inputs))
        writer.add(
          "batch.labels", shape: [samples],
          integers: classes.enumerated().map { Int64($0 < wrong ? ($1 + 1) % 3 : $1) })
        if let draws { writer.add("batch.sampled_labels", shape: [1, samples], integers: draws) }
      }
      return try self.report(file.path)
    }
    func gamma(_ method: String, _ report: Report) throws -> Double {
      try #require(report.entries[0].results[0].scores.first { $0.method == method }).gamma
    }
    let fitted = try report(wrong: 0)
    #expect(fitted.entries[0].results[0].sampledLabels == .init(changed: 0, all: samples))
    // The same rows, solved with in another form.
    #expect(abs(try gamma("sf", fitted) / gamma("ef", fitted) - 1) < 1e-6)
    #expect(
      Self.unwrapped(fitted.text).contains(
        "None of 20 sampled labels differs from the true ones: sf is ef here. Other draws give other "
          + "directions; mc samples takes more of them."), "\(fitted.text)")
    let table = fitted.batches
    let cells = Dictionary(uniqueKeysWithValues: zip(table.columns, table.rows[0]))
    #expect(cells["sampled_labels"] == .integer(20))
    #expect(cells["sampled_labels_changed"] == .integer(0))

    // A wrong label is as good as never drawn.
    let wrong = try report(wrong: 2)
    #expect(
      Self.unwrapped(wrong.text).contains(
        "2 of 20 sampled labels differ from the true ones, and by these alone sf differs from ef."),
      "\(wrong.text)")
    #expect(abs(try gamma("sf", wrong) / gamma("ef", wrong) - 1) > 0.1)
    #expect(wrong.notes.contains { $0.contains("2 of 20 sampled labels differ") })
    #expect(!(try report(wrong: 3).text.contains("sampled labels")), "more than a tenth")
    // What is drawn weighs the root of what a label weighs.
    let weighted = try report(wrong: 1, settings: ["class_weights": "[1, 2, 1]"])
    #expect(
      Self.unwrapped(weighted.text).contains(
        "1 of 20 sampled labels differs from the true ones: sf depends on few of them."))
    let stored = try report(wrong: 0, draws: (0..<samples).map { Int64($0 % 3) })
    let words = Self.unwrapped(stored.text)
    #expect(words.contains("sf is ef here.") && !words.contains("Other draws"), "no more to take")
  }

  /// Images in 0..255 for a network that was trained on [0, 1] were scored without a word.
  @Test func bytesThatNobodyHasScaledAreNoted() throws {
    let linear =
      #"{"type": "linear", "name": "a", "in_features": 4, "out_features": 2, "bias": false}"#
    func text(
      _ bytes: [UInt8], layers: String = linear, shape: [Int] = [4], type: DType = .u8
    ) throws -> (String, [String]) {
      let file = try TemporaryCheckpoint(
        model: #"{"type": "sequential", "input_shape": \#(shape), "layers": [\#(layers)]}"#
      ) { writer in
        writer.add(
          "params.a.weight", shape: [2, 4], Vector([0.01, 0.02, -0.01, 0, 0.01, -0.02, 0.03, 0]))
        if type == .u8 {
          writer.add("batch.inputs", dtype: type, shape: [2] + shape, data: Data(bytes))
        } else {
          writer.add("batch.inputs", shape: [2] + shape, Vector(bytes.map(Double.init)))
        }
        writer.add("batch.labels", shape: [2], integers: [0, 1])
        if layers.contains("batch_norm2d") {
          for (name, value) in [("running_mean", 100.0), ("running_var", 50)] {
            writer.add("params.n.\(name)", shape: [1], Vector([value]))
          }
        }
      }
      let own = try report(file.path)
      let twice = Report(own.entries + own.entries)
      #expect(twice.text.components(separatedBy: "unsigned bytes").count <= 2, "once for both")
      return (Self.unwrapped(own.text), own.notes)
    }
    let image: [UInt8] = [0, 10, 200, 255, 3, 4, 5, 6]
    let note =
      "inputs holds unsigned bytes, scored as the numbers that they are, up to 255. If the network was "
      + "trained on scaled inputs, such as x / 255, all of this is about another network: write the data "
      + "as it was given them, in float32."
    let (words, notes) = try text(image)
    #expect(words.contains(note), "\(words)")
    #expect(notes.contains { $0.hasSuffix(note) })
    #expect(
      try text(image, layers: #"{"type": "flatten"}, "# + linear, shape: [1, 2, 2]).0
        .contains(note), "in another shape")
    // Yes and no; numbers of the network's own type; a network that scales them.
    #expect(try !text([0, 1, 1, 0, 1, 1, 0, 0]).0.contains("unsigned bytes"))
    #expect(try !text(image, type: .f64).0.contains("unsigned bytes"))
    let scaled =
      #"{"type": "batch_norm2d", "name": "n", "num_features": 1, "affine": false}, "#
      + #"{"type": "flatten"}, "# + linear
    #expect(try !text(image, layers: scaled, shape: [1, 2, 2]).0.contains("unsigned bytes"))
  }

  /// "at most 4.9e+30 % above the least possible" told nobody what to do.
  @Test func aBoundThatBoundsNothingIsNotTold() throws {
    func text(bound: Double, estimate: Double?) throws -> String {
      var own = try report(fixture("golden/toy_logistic.bin")).entries[0]
      own.results[0].gammaBound = 1 / (1 + bound)
      own.results[0].reference?.gamma = 1
      own.results[0].reference?.status = .notConverged
      own.results[0].reference?.leastGammaEstimate = estimate.map { 1 / (1 + $0) }
      return Self.unwrapped(own.text)
    }
    #expect(
      try text(bound: 0.5, estimate: 0.25).contains(
        "Its gamma is at most 50 % above the least possible, by estimate 25 %."))
    // An estimate from the same solve is no better.
    let unknown = try text(bound: 4.9e28, estimate: 0.38)
    #expect(
      unknown.contains(
        "How far its gamma is above the least possible is not known: compare methods by their gammas, "
          + "and by no efficiency.") && !unknown.contains("e+") && !unknown.contains("38 %"))
  }

  /// How many samples an option had left out stood nowhere, nor which methods it does not concern.
  @Test func duplicatesAreCounted() throws {
    let file = try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [2], "layers": [{"type": "linear", "#
        + #""name": "a", "in_features": 2, "out_features": 3}]}"#
    ) { writer in
      writer.add("params.a.weight", shape: [3, 2], Vector([0.5, 1, -1, 0.25, 0.125, -0.5]))
      writer.add("params.a.bias", shape: [3], Vector([0.0, 0, 0]))
      // The last two are the first two.
      writer.add(
        "batch.inputs", shape: [5, 2], Vector([1.0, 2, -1, 0.5, 0.25, 3, 1, 2, -1, 0.5]))
      writer.add("batch.labels", shape: [5], integers: [0, 1, 2, 0, 1])
      writer.add("batch.sampled_labels", shape: [1, 5], integers: [0, 1, 2, 2, 1])
    }
    var options = EvaluationOptions()
    options.dropDuplicates = 0.999
    options.methods = [.ef, .sf, .adam, .ekfac]
    let evaluation = Evaluation(options)
    let report = Report([
      Report.Entry(
        try evaluation.describe(checkpoint: file.path), try evaluation.score(checkpoint: file.path))
    ])
    #expect(
      report.entries[0].results[0].duplicates == DuplicateCount(samples: 2, sampled: 1, draws: 5))
    #expect(
      Self.unwrapped(report.text).contains(
        "drop duplicates leaves 2 of 5 samples out of the solves of ef, and 1 of 5 sampled "
          + "gradients out of those of sf. All samples count for adam."), "\(report.text)")
    let table = report.batches
    let cells = Dictionary(uniqueKeysWithValues: zip(table.columns, table.rows[0]))
    #expect(cells["duplicates"] == .integer(2) && cells["sampled_duplicates"] == .integer(1))
  }

  /// It was said to overflow: "use precision float64".
  @Test(arguments: [Precision.float32, .float64])
  func aNegativeVarianceIsNamed(_ precision: Precision) throws {
    let file = try TemporaryCheckpoint(
      model:
        #"{"type": "sequential", "input_shape": [2, 1, 1], "layers": [{"type": "batch_norm2d", "#
        + #""name": "n", "num_features": 2}, {"type": "flatten"}]}"#
    ) { writer in
      writer.add("params.n.weight", shape: [2], Vector([1.0, 1]))
      writer.add("params.n.bias", shape: [2], Vector([0.0, 0]))
      writer.add("params.n.running_mean", shape: [2], Vector([0.0, -1]))
      writer.add("params.n.running_var", shape: [2], Vector([0.0, -0.5]))
      writer.add("batch.inputs", shape: [1, 2, 1, 1], Vector([1.0, 2]))
      writer.add("batch.labels", shape: [1], integers: [0])
    }
    var options = EvaluationOptions()
    options.precision = precision
    let error = #expect(throws: EvaluationError.self) {
      try Evaluation(options).score(checkpoint: file.path)
    }
    #expect(
      error?.description == """
        entry 1 is -0.5, expected a number that is at least 0
          at \(file.path), tensor params.n.running_var
          It is a variance: the file is damaged, or its statistics are in the wrong places.
        """)
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
