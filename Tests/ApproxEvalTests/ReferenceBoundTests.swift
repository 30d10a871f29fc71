import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// The bracket of a reference against every direction that there is: none has a gamma below it.
@Suite(.serialized) struct ReferenceBoundTests {
  private static let names = [
    "golden/mlp_trained", "golden/mlp_tanh", "golden/mse_mlp", "golden/cnn_small",
    "golden/tokens_ignore",
    "golden/layers_tokens", "golden/layers_functions", "golden/toy_logistic",
  ]

  /// Of all methods at five dampings; the first three solvers end within the gap or exactly, as the case has it.
  @Test(arguments: names)
  func noDirectionIsBelowTheBracket(_ name: String) throws {
    var options = EvaluationOptions()
    options.methods = UpdateMethod.named.filter { $0.name != "ng" }
    options.dampings = ["0", "rel:1e-7", "rel:1e-3", "rel:0.1", "rel:10"].map { Damping($0)! }
    options.precision = .float64
    options.cgGap = 1e-2
    for reference in [ReferenceMethod.cg, .gram, .leading, .auto] {
      options.reference = reference
      let result = try #require(
        try Evaluation(options).score(checkpoint: fixture(name + ".bin")).first)
      let own = try #require(result.reference)
      let bound = try #require(result.referenceExcess?.bound)
      var seen = 0
      for row in result.scores where row.gamma.isFinite && row.role != .reference {
        seen += 1
        // A gamma is known to its own error, and a certificate to the rounding of a sum.
        let least = own.gamma / (1 + bound) * (1 - (row.gammaError ?? 0) - 1e-9)
        #expect(row.gamma >= least, "\(reference.name): \(row.method) \(row.damping ?? "")")
      }
      #expect(seen > 100)
    }
  }

  /// Rank 96 of singular values, of which the eigenvalues of `B B^T` keep 84: 12 % of gamma.
  @Test func singularValuesFollowWhereEigenvaluesLoseSome() throws {
    let folder = "hf_double/qwen2_windows/"
    func reference(_ kind: ReferenceMethod) throws -> ReferenceRecord {
      var options = EvaluationOptions()
      options.adapter = fixture(folder + "adapter")
      options.dataFile = fixture(folder + "data.safetensors")
      options.batchSize = 3
      options.batches = 1
      options.precision = .float64
      options.reference = kind
      return try Evaluation(options).reference(checkpoint: fixture(folder + "base")).record
    }
    let (dense, gram, found) = (try reference(.dense), try reference(.gram), try reference(.auto))
    #expect(gram.gamma > 1.1 * dense.gamma)
    #expect(found.kind == .dense && found.gamma == dense.gamma, "\(found)")
    #expect(found.iterationsBefore != nil)
  }
}
