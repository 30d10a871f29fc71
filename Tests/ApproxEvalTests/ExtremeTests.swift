import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// Checkpoints at the ends of what numbers can say, through the public evaluation.
struct ExtremeTests {
  /// Every direction with a slope has gamma = exp(gap / 2) if the label is on top, exp(-gap / 2) if
  /// not: so has the bound, and every efficiency is 1.
  @Test(arguments: [1.0, 46, 100, 300], Precision.allCases)
  func sureClassifiersHaveTheirGamma(_ gap: Double, precision: Precision) throws {
    for label in [0, 1] {
      var options = EvaluationOptions()
      options.precision = precision
      options.dampings = [Damping("0")!, Damping("rel:1e-7")!]
      for reference in [ReferenceMethod.cg, .dense] {
        options.reference = reference
        let file = try checkpoint(gap: gap, label: Int64(label))
        let result = try Evaluation(options).score(checkpoint: file.path)[0]
        let expected = exp(label == 0 ? gap / 2 : -gap / 2)
        // A few products of single precision, or a direction that was rounded to it.
        let tolerance = precision == .float64 ? 1e-12 : 1e-5
        #expect(mismatch(result.gammaBound, expected, tolerance: 1e-13) == nil)
        for score in result.scores where score.method != "sf" {
          #expect(
            mismatch(score.gamma, expected, tolerance: tolerance) == nil,
            "\(score.method), label \(label), \(reference)")
          #expect(
            mismatch(score.efficiencyLow, 1, tolerance: 2 * tolerance) == nil, "\(score.method)")
        }
      }
    }
  }

  /// Three logistic outputs, the last of which misses by more than double can say: its H is nothing
  /// beside the others, and its w beyond all numbers. The exact natural gradient solves the 2 x 2
  /// system of the others, whatever the solver.
  @Test(arguments: [800.0, 1500, 1e5], Precision.allCases)
  func binaryOutputsBeyondAllNumbersLeaveTheOthersAlone(_ z: Double, precision: Precision) throws {
    let file = try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [2], "layers": [{"type": "linear", "#
        + #""name": "a", "in_features": 2, "out_features": 1, "bias": false}]}"#, loss: "bce"
    ) { writer in
      writer.add("params.a.weight", shape: [1, 2], Vector([1.0, 0]))
      writer.add("batch.inputs", shape: [3, 2], Vector([0.0, 1, 1, 0, z, 0.5]))
      writer.add("batch.labels", shape: [3, 1], Vector([1.0, 0, 0]))
    }
    // H of logits 0 and 1, and g with u = -1/2, p(1) and 1.
    let p = 1 / (1 + exp(-1.0))
    let (h, g) = ([p * (1 - p), 0.25], [p + z, -0.5 + 0.5])
    let least = 1 / (g[0] * g[0] / h[0] + g[1] * g[1] / h[1]).squareRoot()
    for reference in [ReferenceMethod.cg, .dense, .auto] {
      var options = EvaluationOptions()
      options.precision = precision
      options.reference = reference
      let result = try Evaluation(options).score(checkpoint: file.path)[0]
      let record = try #require(result.reference)
      #expect(result.gammaBound == 0)
      #expect(record.isConverged, "\(reference)")
      #expect(mismatch(record.gamma, least, tolerance: 1e-5) == nil, "\(reference)")
    }
    var options = EvaluationOptions()
    options.precision = precision
    for item in try Evaluation(options).selfCheck(checkpoint: file.path) {
      #expect(item.passed, "\(item.name): \(item.measured)")
    }
    // LSQR starts from w: it says that it cannot.
    options.reference = .lsqr
    let record = try #require(try Evaluation(options).score(checkpoint: file.path)[0].reference)
    #expect(!record.isConverged && record.explanation.description.contains("reference cg"))
  }

  /// Wrong by 1e3: p(y) is below the range of double, the loss and the gradient are not.
  @Test(arguments: Precision.allCases)
  func lossWrongByAThousandIsFinite(_ precision: Precision) throws {
    var options = EvaluationOptions()
    options.precision = precision
    options.methods = [.sgd, .ef, .ief]
    let file = try checkpoint(gap: 1000, label: 1)
    let result = try Evaluation(options).score(checkpoint: file.path)[0]
    #expect(result.loss == 1000)
    #expect(mismatch(result.gradientNorm, 2.0.squareRoot(), tolerance: 1e-6) == nil)
    // The least gamma is exp(-500); its bound may be rounded down, never up.
    #expect(result.gammaBound <= exp(-500))
    // F itself is below the range of numbers: neither reference may claim to have solved it.
    for reference in [ReferenceMethod.cg, .dense] {
      options.reference = reference
      let record = try #require(
        try Evaluation(options).score(checkpoint: file.path)[0].reference)
      #expect(!record.isConverged, "\(reference)")
      #expect(record.gamma.isNaN)
    }
  }

  @Test func directionWithoutEntriesHasNoGamma() throws {
    var options = EvaluationOptions()
    options.methods = [.update("given")]
    let file = try checkpoint(gap: 1, label: 0, update: [0, 0])
    let result = try Evaluation(options).score(checkpoint: file.path)[0]
    let score = try #require(result.scores.first { $0.method == "update:given" })
    #expect(score.gamma.isNaN)
    #expect(score.cosineGradient.isNaN)
  }

  @Test func batchWithoutLabelsIsAnError() throws {
    let file = try checkpoint(gap: 1, label: -100)
    #expect(throws: EvaluationError.self) { try Evaluation().score(checkpoint: file.path) }
  }

  /// One class: the softmax is sure of it, and nothing can be learnt.
  @Test(arguments: [ReferenceMethod.cg, .dense, .none])
  func singleClassHasNoGradient(_ reference: ReferenceMethod) throws {
    let file = try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [2], "layers": [{"type": "linear", "#
        + #""name": "a", "in_features": 2, "out_features": 1}]}"#
    ) { writer in
      writer.add("params.a.weight", shape: [1, 2], Vector([1.0, 2]))
      writer.add("params.a.bias", shape: [1], Vector([1.0]))
      writer.add("batch.inputs", shape: [3, 2], Vector([1.0, 2, 3, 4, 5, 6]))
      writer.add("batch.labels", shape: [3], integers: [0, 0, -100])
    }
    var options = EvaluationOptions()
    options.reference = reference
    let result = try Evaluation(options).score(checkpoint: file.path)[0]
    #expect(result.loss == 0)
    #expect(result.gradientNorm == 0)
    #expect(result.gammaBound == .infinity)
    #expect(result.scores.allSatisfy { $0.gamma.isNaN })
  }
}

/// sgd, ef and ief had gamma 0, the best of all, and an efficiency of NaN where the labels are so
/// wrong that all of F underflows; where only its digits do, gamma was off by whatever was left.
struct Regression_GammaOfFBelowTheRangeOfDouble {
  @Test(arguments: [720, 740, 1000.0], Precision.allCases)
  func gammaBelowRangeIsNoResult(_ gap: Double, precision: Precision) throws {
    var options = EvaluationOptions()
    options.precision = precision
    for reference in [ReferenceMethod.cg, .dense, .none] {
      options.reference = reference
      let file = try checkpoint(gap: gap, label: 1)
      let evaluation = Evaluation(options)
      let entry = Report.Entry(
        try evaluation.describe(checkpoint: file.path), try evaluation.score(checkpoint: file.path))
      for score in entry.results[0].scores where score.method != "ng" {
        #expect(score.gamma.isNaN, "\(score.method)")
        #expect(score.method == "sf" || score.defect == .underflow)
        #expect(score.efficiency == nil && score.gammaRelativeToSGD == nil)
      }
      if let record = entry.results[0].reference {
        #expect(record.gamma.isNaN && !record.isConverged)
      }
      #expect(entry.text.contains("No gamma for sgd, ef, ief"))
      #expect(Report([entry]).notes.contains { $0.contains("sgd: no gamma, as d^T F d is below") })
    }
  }
}

/// The certificate compares gamma_bound with gamma of the gradient; with a gradient of zero both
/// are NaN, and the check failed.
struct Regression_SelfCheckOfAZeroGradient {
  @Test(arguments: Precision.allCases)
  func exactFitPassesAndSaysWhatDoesNotApply(_ precision: Precision) throws {
    let file = try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [2], "layers": [{"type": "linear", "#
        + #""name": "a", "in_features": 2, "out_features": 1}]}"#, loss: "mse"
    ) { writer in
      writer.add("params.a.weight", shape: [1, 2], Vector([1.0, 2]))
      writer.add("params.a.bias", shape: [1], Vector([1.0]))
      writer.add("batch.inputs", shape: [2, 2], Vector([1.0, 2, 3, 4]))
      writer.add("batch.labels", shape: [2, 1], Vector([6.0, 12]))
    }
    var options = EvaluationOptions()
    options.precision = precision
    let evaluation = Evaluation(options)
    let items = try evaluation.selfCheck(checkpoint: file.path)
    #expect(items.allSatisfy { $0.passed })
    let skipped = items.filter { !$0.isApplicable }
    #expect(skipped.map(\.name) == ["certificate", "gamma of CG never rises"])
    #expect(skipped.allSatisfy { $0.explanation == "not applicable: the gradient is zero" })
    let entry = Report.Entry(
      try evaluation.describe(checkpoint: file.path), try evaluation.score(checkpoint: file.path))
    #expect(entry.text.contains("The gradient is zero"))
    #expect(!entry.text.contains("No gamma"))
    #expect(!entry.text.contains("(≥"))
  }

  /// The same where F underflows under a gradient that is not zero.
  @Test func underflowDoesNotApplyEither() throws {
    let file = try checkpoint(gap: 1000, label: 1)
    let items = try Evaluation().selfCheck(checkpoint: file.path)
    #expect(items.allSatisfy { $0.passed }, "\(items)")
  }
}

/// With a damping of 1e300 the reciprocal of F's diagonal was zero in single precision, and the
/// preconditioner not positive: "a bug of ours".
struct Regression_PreconditionerOfAnySize {
  @Test(arguments: [1e-12, 1, 1e12], Precision.allCases)
  func jacobiSolvesAtEveryScale(_ scale: Double, precision: Precision) throws {
    let file = try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [2], "layers": [{"type": "linear", "#
        + #""name": "a", "in_features": 2, "out_features": 1, "bias": false}]}"#, loss: "mse"
    ) { writer in
      writer.add("params.a.weight", shape: [1, 2], Vector([0.0, 0]))
      writer.add("batch.inputs", shape: [2, 2], Vector([1.0, 2, 3, -4].map { $0 * scale }))
      writer.add("batch.labels", shape: [2, 1], Vector([1.0, 1]))
    }
    var options = EvaluationOptions()
    options.precision = precision
    options.methods = [.sgd, .ng]
    options.dampings = [Damping("1e300")!]
    options.cgPreconditioner = .jacobi
    let record = try #require(try Evaluation(options).score(checkpoint: file.path)[0].reference)
    options.methods = [.sgd]
    options.reference = .dense
    let exact = try #require(try Evaluation(options).score(checkpoint: file.path)[0].reference)
    #expect(record.isConverged)
    // The gap at which conjugate gradients may stop.
    #expect(mismatch(record.gamma, exact.gamma, tolerance: options.cgGap) == nil)
  }
}

/// gamma of ef, ief and sf was NaN for logit gradients below 1e-154, whose squares in the Gram
/// matrix and in |u|^2 are no numbers.
struct Regression_GradientsWhoseSquaresUnderflow {
  /// Everything that does not depend on units must be as at a residual of 1, and lambda, norms and
  /// gamma follow the powers of the residual that they have.
  @Test(arguments: ["0", "rel:1e-3", "1e-3", "1e300"], Precision.allCases)
  func tinyResidualsKeepTheirScores(_ damping: String, precision: Precision) throws {
    func result(_ residual: Double) throws -> BatchResult {
      let file = try TemporaryCheckpoint(
        model: #"{"type": "sequential", "input_shape": [3], "layers": [{"type": "linear", "#
          + #""name": "a", "in_features": 3, "out_features": 2, "bias": false}]}"#, loss: "mse"
      ) { writer in
        writer.add("params.a.weight", shape: [2, 3], Vector([0.0, 0, 0, 0, 0, 0]))
        writer.add("batch.inputs", shape: [2, 3], Vector([1.0, 2, 0.5, 0.25, -1, 1]))
        writer.add(
          "batch.labels", shape: [2, 2], Vector([1.0, 0.5, -0.25, 2].map { $0 * residual }))
      }
      var options = EvaluationOptions()
      options.precision = precision
      options.methods = [.sgd, .ef, .ief]
      options.dampings = [Damping(damping)!]
      return try Evaluation(options).score(checkpoint: file.path)[0]
    }
    let usual = try result(1)
    for residual in [0x1p-532, 0x1p-600, 0x1p+500] {
      let tiny = try result(residual)
      #expect(mismatch(tiny.gammaBound * residual, usual.gammaBound, tolerance: 1e-13) == nil)
      #expect(mismatch(tiny.gradientNorm / residual, usual.gradientNorm, tolerance: 1e-13) == nil)
      for (score, other) in zip(tiny.scores, usual.scores) {
        #expect(!score.gamma.isNaN, "\(score.method) at \(residual)")
        // An absolute lambda means something else at another scale.
        if Double(damping).map({ $0 > 0 }) == true && score.method != "sgd" { continue }
        #expect(
          mismatch(score.gamma * residual, other.gamma, tolerance: 1e-5) == nil,
          "\(score.method) at \(residual)")
        #expect(
          mismatch([score.efficiency ?? .nan], [other.efficiency ?? .nan], tolerance: 1e-5) == nil)
      }
    }
  }

  /// A lambda that dwarfs K: d = G^T b / lambda, in its true size.
  @Test func hugeDampingKeepsTheNorm() throws {
    let file = try checkpoint(gap: 1, label: 0)
    var options = EvaluationOptions()
    options.precision = .float64
    options.methods = [.sgd, .ef]
    options.dampings = [Damping("1e30")!]
    let scores = try Evaluation(options).score(checkpoint: file.path)[0].scores
    #expect(mismatch(scores[1].updateNorm, scores[0].updateNorm / 1e30, tolerance: 1e-14) == nil)
  }
}

/// gamma was computed from `d^T F d` with the square of the direction's scale in it: 0, the best of
/// all, for entries of 1e-200, and infinite for entries of 1e200.
struct Regression_GammaOfTinyDirections {
  /// gamma ignores the scale of a direction, also where the square of the scale is out of range.
  @Test(arguments: [1e-300, 1e-200, 1e-40, 1, 1e40, 1e200, 1e300], Precision.allCases)
  func scaleOfAnUpdateDoesNotMatter(_ scale: Double, precision: Precision) throws {
    var options = EvaluationOptions()
    options.precision = precision
    options.methods = [.update("given")]
    let file = try checkpoint(gap: 1, label: 0, update: [scale, -0.5 * scale])
    let result = try Evaluation(options).score(checkpoint: file.path)[0]
    let score = try #require(result.scores.first { $0.method == "update:given" })
    let tolerance = precision == .float64 ? 1e-13 : 1e-6
    #expect(mismatch(score.gamma, exp(0.5), tolerance: tolerance) == nil)
    #expect(mismatch(score.updateNorm, 1.25.squareRoot() * scale, tolerance: tolerance) == nil)
  }
}

/// A linear classifier of two classes and one sample whose logits are `gap` apart.
private func checkpoint(
  gap: Double, label: Int64, update: [Double]? = nil
) throws -> TemporaryCheckpoint {
  try TemporaryCheckpoint(
    model: #"{"type": "sequential", "input_shape": [1], "layers": [{"type": "linear", "#
      + #""name": "a", "in_features": 1, "out_features": 2, "bias": false}]}"#
  ) { writer in
    writer.add("params.a.weight", shape: [2, 1], Vector([0, -gap]))
    writer.add("batch.inputs", shape: [1, 1], Vector([1.0]))
    writer.add("batch.labels", shape: [1], integers: [label])
    if let update { writer.add("updates.given.a.weight", shape: [2, 1], Vector(update)) }
  }
}

/// The sentence on the certificate gave gamma and its bound in the solver's own units: divided by
/// the scale of the gradient.
struct Regression_UnitsOfTheCertificate {
  @Test(arguments: [1.0, 46])
  func sentenceHasTheGammaOfTheRecord(_ gap: Double) throws {
    let file = try checkpoint(gap: gap, label: 0)
    let result = try Evaluation().score(checkpoint: file.path)[0]
    let record = try #require(result.reference)
    #expect(record.stop == "certificate")
    // The solver's own gamma, from its recurrence in single precision.
    let words = record.explanation.description.split(separator: " ")
    let gamma = try #require(Double(words[2]))
    #expect(mismatch(gamma, record.gamma, tolerance: 1e-6) == nil)
    #expect(record.explanation.description.contains("of \(result.gammaBound),"))
  }
}

/// A checkpoint on disk for as long as this value lives.
final class TemporaryCheckpoint {
  let path: String

  init(
    model: String, loss: String = "cross_entropy", trainable: [String]? = nil,
    settings: [String: String] = [:], _ add: (inout SafetensorsWriter) -> Void
  ) throws {
    path = NSTemporaryDirectory() + "/approx-eval-test-" + UUID().uuidString + ".bin"
    var metadata = ["format": "approx-eval/1", "model": model, "loss": loss]
    if let trainable { metadata["trainable"] = "\(trainable)" }
    var writer = SafetensorsWriter(metadata: metadata.merging(settings) { $1 })
    add(&writer)
    try writer.write(to: path)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
