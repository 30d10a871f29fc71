import Checkpoints
import Foundation
import TestSupport
import Testing

/// Who guards the guards: the dense oracle of the other tests against the independent framework
/// that made the golden files. No code of the engine but the reader of files takes part.
struct OracleTests {
  @Test(arguments: [
    "mlp_tanh", "mse_mlp", "tokens_ignore", "toy_least_squares", "toy_logistic", "cnn_small",
  ])
  func oracleAgreesWithTheGoldenFiles(_ name: String) throws {
    let golden = try Golden("golden/" + name)
    let file = try CheckpointFile.open(fixture("golden/\(name).bin"))
    let oracle = DenseOracle(try Problem(file, trainable: golden.trainable))
    // Sums of some hundred terms in another order.
    let tolerance = 1e-10
    #expect(oracle.parameterCount == golden.parameters)
    #expect(mismatch(oracle.losses, golden.perSampleLoss, tolerance: tolerance) == nil)
    #expect(mismatch(oracle.gammaBound, golden.gammaBound, tolerance: tolerance) == nil)
    let gram = oracle.gram(oracle.perSampleGradients).flatMap { $0 }
    #expect(mismatch(gram, golden.gram.flatMap { $0 }, tolerance: tolerance) == nil)
    let sampled = try OracleLabels(#require(file.batch["sampled_labels"]), loss: file.loss)
    for score in golden.scores where score.method != "ng" {
      let lambda = score.damping ?? 0
      // The oracle eliminates on Ghat^T Ghat + lambda I, of rank k N < P without lambda: its digits
      // below lambda are lost. GoldenTests compare the engine itself.
      if score.method == "sf" && lambda < 1e-6 { continue }
      let direction =
        switch score.method {
        case "sgd": oracle.gradient
        case "ef": oracle.weightedGradients(oracle.ones, lambda: lambda)
        case "ief": oracle.weightedGradients(oracle.squares, lambda: lambda)
        default: oracle.sampledFisher([sampled], lambda: lambda)
        }
      // The file's own tolerance: how far the value moves with rounding.
      #expect(
        mismatch(oracle.gamma(direction), score.gamma, tolerance: score.rtol64) == nil,
        "\(score.method) at \(lambda)")
    }
    #expect(
      mismatch(
        oracle.gamma(oracle.naturalGradient), golden.reference.gamma,
        tolerance: golden.reference.rtol64) == nil)
  }

  private struct Golden: Decodable {
    struct Score: Decodable {
      let method: String
      let damping: Double?
      let gamma: Double
      let rtol64: Double
    }
    struct Reference: Decodable {
      let gamma: Double
      let rtol64: Double
    }
    let trainable: [String]?
    let parameters: Int
    let perSampleLoss: [Double]
    let gammaBound: Double
    let gram: [[Double]]
    let scores: [Score]
    let reference: Reference

    init(_ name: String) throws {
      let data = try Data(contentsOf: URL(fileURLWithPath: fixture(name + ".json")))
      let decoder = JSONDecoder()
      decoder.keyDecodingStrategy = .convertFromSnakeCase
      self = try decoder.decode(Golden.self, from: data)
    }
  }
}
