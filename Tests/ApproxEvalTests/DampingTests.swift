import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// Dampings and inputs at the ends of what numbers can say: every row has a gamma or a reason, and
/// nothing traps.
struct DampingTests {
  private static let methods: [UpdateMethod] =
    UpdateMethod.named + [.truncated(iterations: 1), .truncated(iterations: 3)]
  private static let dampings = [
    "0", "5e-324", "1e-308", "1", "1e308", "1.7e308", "rel:5e-324", "rel:1e-300", "rel:1",
    "rel:1e300", "rel:1.7e308",
  ].map { Damping($0)! }

  @Test(arguments: ["cross_entropy", "mse", "bce"], Precision.allCases)
  func everyRowHasAGammaOrAReason(_ loss: String, _ precision: Precision) throws {
    for scale in [1e-160, 1e-100, 1e-30, 1, 1e20, 1e100, 1e160] {
      // Beyond single precision the file is refused.
      if precision == .float32 && scale > 1e38 { continue }
      for weight in [1, 1e-300, 1 / scale] where precision == .float64 || weight < 1e38 {
        let file = try checkpoint(loss: loss, scale: scale, weight: weight)
        for reference in ReferenceMethod.all {
          try check(file.path, precision, reference, "\(loss) \(scale) \(weight) \(reference)")
        }
      }
    }
  }

  private func check(
    _ path: String, _ precision: Precision, _ reference: ReferenceMethod, _ label: String
  ) throws {
    var options = EvaluationOptions()
    options.precision = precision
    options.reference = reference
    options.methods = Self.methods
    options.dampings = Self.dampings
    options.monteCarloSamples = [1, 3]
    options.cgIterations = 5
    options.threads = 1
    options.perLayer = true
    guard let result = try scored(path, options) else { return }
    let variants = Self.methods.reduce(0) { sum, method in
      sum + (method.needs.isDamped ? Self.dampings.count : 1) * (method.needs.isSampled ? 2 : 1)
    }
    #expect(result.scores.count == variants + (reference == .none ? 0 : 1), "\(label)")
    for score in result.scores {
      let row = "\(label): \(score.method) \(score.damping ?? "")"
      #expect(score.gamma.isNaN == (score.defect != nil), "\(row)")
      #expect(score.lambda?.isFinite != false, "\(row)")
      if score.defect == .overflow { #expect(score.fisherQuadratic.isNaN, "\(row)") }
    }
  }

  /// `nil` where nothing can be scored: the logits, or the square of the gradient, are no numbers.
  private func scored(_ path: String, _ options: EvaluationOptions) throws -> BatchResult? {
    let result = Result { () throws(EvaluationError) in
      try Evaluation(options).score(checkpoint: path)
    }
    if case .failure(let error) = result, isBeyondNumbers(error) { return nil }
    return try result.get()[0]
  }

  private func isBeyondNumbers(_ error: EvaluationError) -> Bool {
    if case .nonFiniteLogits = error { return true }
    guard case .batch(let failure) = error, case .nonFinite(.rightHandSide, _, _) = failure.cause
    else { return false }
    return true
  }

  /// lambda itself is no number, and the other rows are what they are without it.
  @Test func aDampingBeyondNumbersLeavesTheOtherRowsAlone() throws {
    var options = EvaluationOptions()
    options.precision = .float64
    options.reference = .none
    options.methods = [.ef, .blockEF, .diagonalEF, .ng]
    // Two dampings share a decomposition, one has a factorisation of its own.
    options.dampings = [Damping("rel:1e-3")!, Damping("rel:1e-2")!]
    let path = fixture("golden/mlp_trained.bin")
    let usual = try Evaluation(options).score(checkpoint: path)[0].scores
    options.dampings.append(Damping("rel:1.7e308")!)
    let evaluation = Evaluation(options)
    let result = try evaluation.score(checkpoint: path)[0]
    let all = result.scores
    // How many directions share a pass has a part in the rounding of each.
    let others = all.filter { $0.damping != "rel:1.7e308" }.map(\.gamma)
    #expect(mismatch(others, usual.map(\.gamma), tolerance: 1e-12) == nil)
    for score in all where score.damping == "rel:1.7e308" {
      #expect(score.defect == .overflow && score.lambda == nil, "\(score.method)")
    }
    // In the table gamma is an empty cell, and another cell says why.
    let table = Report([Report.Entry(try evaluation.describe(checkpoint: path), [result])]).scores
    for (score, row) in zip(all, table.rows) {
      let cells = Dictionary(uniqueKeysWithValues: zip(table.columns, row))
      #expect((cells["gamma"] == .empty) == (score.defect == .overflow))
      #expect(cells["no_gamma"] == (score.defect == .overflow ? .text("overflow") : .empty))
    }
  }

  /// Two layers for two classes or outputs, three samples.
  private func checkpoint(
    loss: String, scale: Double, weight: Double
  ) throws -> TemporaryCheckpoint {
    let layer = #"{"type": "linear", "in_features": 2, "out_features": 2, "name": "#
    return try TemporaryCheckpoint(
      model: #"{"type": "sequential", "input_shape": [2], "layers": ["# + layer
        + #""a"}, {"type": "tanh"}, "# + layer + #""b"}]}"#, loss: loss
    ) { writer in
      for name in ["a", "b"] {
        writer.add(
          "params.\(name).weight", shape: [2, 2],
          Vector([0.7, -0.3, 0.2, 0.9].map { $0 * weight }))
        writer.add("params.\(name).bias", shape: [2], Vector([0.1 * weight, -0.2 * weight]))
      }
      writer.add(
        "batch.inputs", shape: [3, 2], Vector([0.5, -1, 0.25, 0.75, -0.5, 1].map { $0 * scale }))
      if loss == "cross_entropy" {
        writer.add("batch.labels", shape: [3], integers: [0, 1, 0])
      } else {
        writer.add("batch.labels", shape: [3, 2], Vector([0.0, 1, 1, 0, 1, 1]))
      }
    }
  }
}
