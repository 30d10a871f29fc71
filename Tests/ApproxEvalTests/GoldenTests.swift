import Foundation
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// The golden files: checkpoints with the values that an independent framework gives in dense
/// double-precision algebra. Every value carries its tolerances, how far it moves when logits and
/// Jacobian carry the rounding of a precision; what depends on a value has a multiple of them, as
/// in the script that belongs to the files.
@Suite(.serialized)
struct GoldenTests {
  static let small = [
    "cnn_small", "layers_1d", "layers_2d", "layers_3d", "layers_functions", "layers_recurrent",
    "layers_tokens", "mlp_tanh", "mlp_trained", "mse_mlp", "tokens_ignore", "toy_least_squares",
    "toy_logistic",
  ].map { "golden/" + $0 }
  static let digits = ["00", "01", "03", "10", "20", "40"].map { "digits/epoch-" + $0 }

  @Test func everyGoldenFileIsInTheList() throws {
    for (folder, names) in [("golden", GoldenTests.small), ("digits", GoldenTests.digits)] {
      let files = try FileManager.default.contentsOfDirectory(atPath: fixture(folder))
      let found = files.filter { $0.hasSuffix(".json") }.map { folder + "/" + $0.dropLast(5) }
      #expect(found.sorted() == names)
    }
  }

  @Test(arguments: small, Precision.allCases)
  func smallCasesAgreeWithTheDenseReference(_ name: String, precision: Precision) throws {
    try checkScores(name, precision, reference: .dense)
  }

  @Test(arguments: small, Precision.allCases)
  func conjugateGradientsFollowAlgorithm5(_ name: String, precision: Precision) throws {
    try checkConjugateGradients(name, precision)
  }

  /// The singular values of a matrix of 1600 x 3466: early and late in training.
  @Test(arguments: ["digits/epoch-03", "digits/epoch-40"])
  func digitsAgreeWithTheDenseReference(_ name: String) throws {
    try checkScores(name, .float64, reference: .dense)
  }

  @Test(arguments: digits, Precision.allCases)
  func digitsAgree(_ name: String, precision: Precision) throws {
    try checkScores(name, precision, reference: .none)
  }

  @Test(arguments: ["00", "10", "40"].map { "digits/epoch-" + $0 }, Precision.allCases)
  func digitsFollowAlgorithm5(_ name: String, precision: Precision) throws {
    try checkConjugateGradients(name, precision)
  }

  @Test(arguments: ["vit_lora", "t5_lora", "t5_prompt"], Precision.allCases)
  func huggingFaceModelsAgree(_ name: String, precision: Precision) throws {
    var options = EvaluationOptions()
    let folder = "hf/\(name)/"
    options.adapter = fixture(folder + "adapter")
    options.dataFile = fixture(folder + "data.safetensors")
    options.batchSize = try Golden(folder + "expected").perSampleGradientNorm.count
    options.batches = 1
    options.precision = precision
    try checkScores(
      folder + "expected", precision, reference: .dense, options: options,
      checkpoint: folder + "base")
  }

  /// Networks by torch.export: channels first, with transposed convolutions and positions of an image;
  /// a tied head and causal attention; core operators and residual blocks with a state_dict of their own.
  @Test(
    arguments: ["unet_pixels", "nanogpt_tied", "mlp_core_aten", "resnet"],
    [Precision.float32, .float64])
  func exportedNetworksAgree(_ name: String, precision: Precision) throws {
    let folder = "golden/exported/\(name)/"
    var options = EvaluationOptions()
    options.dataFile = fixture(folder + "data.npz")
    options.batchSize = try Golden(folder + "expected").perSampleGradientNorm.count
    options.batches = 1
    options.precision = precision
    var checkpoint = folder + "model.pt2"
    if FileManager.default.fileExists(atPath: fixture(folder + "weights.pt")) {
      options.model = fixture(checkpoint)
      checkpoint = folder + "weights.pt"
    }
    try checkScores(
      folder + "expected", precision, reference: .dense, options: options, checkpoint: checkpoint)
  }

  // MARK: - Scores

  private func checkScores(
    _ name: String, _ precision: Precision, reference: ReferenceMethod
  ) throws {
    var options = EvaluationOptions()
    options.precision = precision
    try checkScores(
      name, precision, reference: reference, options: options, checkpoint: name + ".bin")
  }

  private func checkScores(
    _ name: String, _ precision: Precision, reference: ReferenceMethod,
    options given: EvaluationOptions, checkpoint: String
  ) throws {
    let golden = try Golden(name)
    let isDouble = precision == .float64
    var options = given
    options.dampings = Set(golden.scores.compactMap(\.damping)).sorted().map { Damping("\($0)")! }
    options.reference = reference
    options.threads = 2
    let results = try Evaluation(options).score(checkpoint: fixture(checkpoint))
    #expect(results.count == 1)
    let result = results[0]
    let compare = Comparison(name: name)
    let tolerance = isDouble ? 1e-9 : 1e-4
    compare(result.loss, golden.loss, tolerance, "loss")
    compare(result.gradientNorm, golden.gradientNorm, tolerance, "gradient norm")
    // The reciprocal root of a sum of 1 / p(y), which amplifies an error of the logits.
    compare(result.gammaBound, golden.gammaBound, 10 * tolerance, "gamma bound")
    // Ratios of single samples, the smallest among them.
    let ratio = isDouble ? 1e-7 : 1e-2
    for (found, norms, what) in [
      (result.gradientNormRatio, golden.perSampleGradientNorm, "gradient norm ratio"),
      (result.logitGradientNormRatio, golden.logitGradientNorm, "logit gradient norm ratio"),
    ] where norms.min()! > 0 { compare(found, norms.max()! / norms.min()!, ratio, what) }

    let sgd = try #require(golden.scores.first { $0.method == "sgd" })
    for expected in golden.scores where expected.method != "ng" {
      let found = try #require(
        result.scores.first {
          $0.method == expected.method && $0.damping.map { Double($0)! } == expected.damping
        }, "\(expected.method)@\(expected.damping ?? .nan)")
      let own = expected.tolerance(precision)
      func check(_ value: Double?, _ wanted: Double, _ tolerance: Double, _ what: String) {
        let label = "\(expected.method)@\(expected.damping ?? 0) \(what)"
        compare(value ?? .nan, wanted, tolerance, label)
      }
      check(found.gamma, expected.gamma, own, "gamma")
      check(
        found.gammaRelativeToSGD, expected.gamma / sgd.gamma, own + sgd.tolerance(precision),
        "gamma relative to sgd")
      let low = golden.gammaBound / expected.gamma
      check(found.efficiencyLow, low * low, 2 * own + (isDouble ? 1e-9 : 1e-3), "efficiency low")
      // Along a direction of unlike errors lengths move more than the angle that gamma sees.
      let length = expected.method == "sgd" ? 10 * own : own > 1e-3 ? 0.04 : 100 * own
      if expected.method != "sf" {
        check(found.fisherQuadratic, expected.fisherQuadratic, length, "fisher quadratic")
        check(found.updateNorm, expected.norm, length, "norm")
      }
      check(
        found.cosineGradient, expected.cosineGradient, max(100 * own, 1e-6), "cosine gradient")
      if reference == .dense {
        let both = own + golden.reference.tolerance(precision)
        check(found.efficiency, expected.efficiency, 2 * both, "efficiency")
      } else {
        #expect(found.efficiency == nil)
      }
    }
    if reference == .dense {
      let ng = try #require(result.scores.last { $0.method == "ng" && $0.damping == nil })
      compare(
        ng.gamma, golden.reference.gamma, golden.reference.tolerance(precision),
        "reference gamma")
    }
    #expect(compare.count >= 4)
  }

  // MARK: - Algorithm 5

  private func checkConjugateGradients(_ name: String, _ precision: Precision) throws {
    let golden = try Golden(name)
    let isDouble = precision == .float64
    var options = EvaluationOptions()
    options.methods = [.sgd]
    options.reference = .cg
    options.cgIterations = name.hasPrefix("digits") ? 600 : 3000
    options.cgGap = 0
    options.cgTolerance = isDouble ? 1e-9 : 1e-4
    options.precision = precision
    options.threads = 2
    let result = try Evaluation(options).score(checkpoint: fixture(name + ".bin"))[0]
    let compare = Comparison(name: name)
    for expected in golden.cg.prefix(4) {
      let found = try #require(
        result.trace.first { $0.iteration == expected.iteration },
        "iteration \(expected.iteration)")
      // Below, the residual is what rounding leaves.
      if expected.relativeResidual < 1e-6 { break }
      let label = "iteration \(expected.iteration) "
      compare(found.gamma, expected.gamma, isDouble ? 1e-7 : 1e-3, label + "gamma")
      compare(
        found.relativeResidual, expected.relativeResidual, isDouble ? 1e-6 : 1e-2,
        label + "residual")
    }
    // F.2.1 of the paper, up to the rounding of a sum of squares.
    for (before, after) in zip(result.trace, result.trace.dropFirst()) {
      #expect(
        after.gamma <= before.gamma * (1 + (isDouble ? 1e-9 : 1e-4)),
        "\(name): gamma rises at iteration \(after.iteration)")
    }
    let record = try #require(result.reference)
    let own = golden.reference.tolerance(precision)
    if record.isConverged || !name.hasPrefix("digits") {
      compare(
        record.gamma, golden.reference.gamma, max(isDouble ? 1e-5 : 2e-2, 10 * own),
        "reference gamma")
    }
    // Whatever it has reached, it is above the bound and not below the least gamma.
    #expect(record.gamma >= result.gammaBound * (1 - (isDouble ? 1e-9 : 1e-3)))
    #expect(record.gamma >= golden.reference.gamma * (1 - (isDouble ? 1e-9 : 1e-3)))
  }
}

/// Compares and counts; values whose tolerance says that they are not determined are left out.
private final class Comparison {
  let name: String
  private(set) var count = 0

  init(name: String) { self.name = name }

  func callAsFunction(
    _ found: Double, _ expected: Double, _ tolerance: Double, _ what: String,
    sourceLocation: SourceLocation = #_sourceLocation
  ) {
    if tolerance > 0.05 { return }
    count += 1
    let problem = mismatch(found, expected, tolerance: tolerance)
    #expect(problem == nil, "\(name): \(what)", sourceLocation: sourceLocation)
  }
}

/// The values of a golden file, under the names in the file (there in snake case).
struct Golden: Decodable {
  struct Row: Decodable {
    let method: String
    let damping: Double?
    let gamma: Double
    let fisherQuadratic: Double
    let norm: Double
    let efficiency: Double
    let cosineGradient: Double
    let rtol64: Double
    let rtol32: Double

    func tolerance(_ precision: Precision) -> Double { precision == .float64 ? rtol64 : rtol32 }
  }
  struct Reference: Decodable {
    let gamma: Double
    let rtol64: Double
    let rtol32: Double

    func tolerance(_ precision: Precision) -> Double { precision == .float64 ? rtol64 : rtol32 }
  }
  struct Iteration: Decodable {
    let iteration: Int
    let gamma: Double
    let relativeResidual: Double
  }
  let loss: Double
  let gradientNorm: Double
  let gammaBound: Double
  let perSampleGradientNorm: [Double]
  let logitGradientNorm: [Double]
  let scores: [Row]
  let reference: Reference
  let cg: [Iteration]

  init(_ name: String) throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: fixture(name + ".json")))
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    self = try decoder.decode(Golden.self, from: data)
  }
}
