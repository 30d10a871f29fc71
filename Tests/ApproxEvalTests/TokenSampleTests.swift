import Checkpoints
import Curvature
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// Every scored position as a sample of its own, against dense Jacobians, against autograd, and against
/// the batch in which each sequence stands once for each of its positions.
struct TokenSampleTests {
  /// Positions mixed by a norm over all of them, so that a token's loss reaches the rows of others; ragged labels,
  /// all losses, and rows that do not meet.
  static let mixed = [
    Case("mixing", input: [3, 4], mixing, samples: 3),
    Case("mixing", input: [3, 4], mixing, samples: 3, ignores: true),
    Case("mixing", input: [3, 4], mixing, loss: "mse", samples: 2),
    Case("mixing", input: [3, 4], mixing, loss: "bce", samples: 2),
    Case(
      "mixing, head frozen", input: [3, 4], mixing, trainable: ["a.weight", "a.bias"],
      samples: 3, ignores: true),
    Case(
      "positions", input: [3, 8],
      linear("a", 8, 2) + #", {"type": "gelu"}, "# + linear("b", 2, 3), samples: 4, ignores: true),
    Case(
      "tied embedding", input: [3],
      embedding("e", 6, 3) + #", {"type": "tanh"}, "#
        + #"{"type": "linear", "name": "e", "in_features": 3, "out_features": 6, "bias": false}"#,
      ignores: true),
  ]

  private static let mixing =
    linear("a", 4, 5) + #", {"type": "gelu"}, {"type": "layer_norm", "name": "n", "#
    + #""normalized_shape": [3, 5], "eps": 0.1}, "# + linear("b", 5, 4)
    + #", {"type": "tanh"}, "# + linear("h", 4, 4)

  // MARK: - Against dense Jacobians

  /// Per token g, u and the gradients of drawn labels, by their definitions.
  private struct DenseTokens {
    var gradients: [[Double]] = []
    var logitGradients: [[Double]] = []
    var sampled: [[Double]] = []

    init(_ oracle: DenseOracle, draws: [OracleLabels]) {
      let (problem, classes) = (oracle.problem, oracle.problem.classes)
      let drawn = draws.map { labels in
        (0..<oracle.samples).map {
          DenseOracle.sampledLogitGradient(problem, oracle.logits[$0], labels, sample: $0)
        }
      }
      var rows: [(n: Int, entries: Range<Int>)] = []
      for n in 0..<oracle.samples {
        for o in 0..<problem.positions {
          if case .classes(let labels) = problem.labels, labels[n * problem.positions + o] < 0 {
            continue
          }
          rows.append((n, o * classes..<(o + 1) * classes))
        }
      }
      func gradient(_ n: Int, _ u: [Double], _ entries: Range<Int>) -> [Double] {
        oracle.vjp(n, u.indices.map { entries.contains($0) ? u[$0] : 0 })
      }
      for (n, entries) in rows {
        let u = oracle.logitGradients[n]
        gradients.append(gradient(n, u, entries))
        logitGradients.append(Array(u[entries]))
      }
      for us in drawn {
        for (n, entries) in rows { sampled.append(gradient(n, us[n], entries)) }
      }
    }

    func weighted(_ target: [Double], lambda: Double) -> [Double] {
      var k = gradients.map { row in gradients.map { dot(row, $0) } }
      for n in k.indices { k[n][n] += lambda }
      return combined(gradients, DenseOracle.solve(k, target))
    }

    /// By the P x P matrix itself.
    func sampledFisher(draws: Int, lambda: Double) -> [Double] {
      let count = gradients[0].count
      let g = combined(gradients, gradients.map { _ in 1 })
      var matrix = [[Double]](repeating: [Double](repeating: 0, count: count), count: count)
      for row in sampled {
        for i in 0..<count {
          for j in 0..<count { matrix[i][j] += row[i] * row[j] / Double(draws) }
        }
      }
      for i in 0..<count { matrix[i][i] += lambda }
      return DenseOracle.solve(matrix, g).map { $0 * lambda }
    }

    private func combined(_ rows: [[Double]], _ weights: [Double]) -> [Double] {
      var sum = [Double](repeating: 0, count: rows[0].count)
      for (row, weight) in zip(rows, weights) {
        for p in sum.indices { sum[p] += weight * row[p] }
      }
      return sum
    }
  }

  @Test(arguments: mixed) func gradientsAndDirectionsAreThoseOfTokens(_ test: Case) throws {
    let folder = try TestFolder()
    let problem = Problem(test)
    try problem.write(to: folder.path("x.bin"))
    var options = EvaluationOptions()
    options.sample = .token
    options.precision = .float64
    let evaluation = Evaluation(options)
    let checkpoint = try LoadedCheckpoint(path: folder.path("x.bin"), options: options)
    let source = try evaluation.source(checkpoint)
    let budget = try evaluation.budget(checkpoint, source, .score(updates: []), Double.self)
    let batch = try evaluation.problem(checkpoint, batch: 0, budget, Double.self)
    let samples = batch.samples()
    let draws = problem.drawnLabels(2, seed: 4)
    let oracle = DenseOracle(problem)
    let dense = DenseTokens(oracle, draws: draws)
    #expect(samples.rows?.count == dense.gradients.count)
    // What the labels of the sequences are, token by token.
    let sampled = draws.map { labels in
      let whole = batch.output.gradient(
        forSampled: Labels(labels), linearization: batch.linearization)
      return samples.tokens(of: whole)
    }
    let gradients = samples.gradients(sampled: sampled, dropDuplicates: nil, isSolved: true)
    // Sums of some hundred products with roundings of 1e-16.
    let tolerance = 1e-10
    #expect(mismatch(samples.output.totalLoss, batch.output.totalLoss, tolerance: tolerance) == nil)
    #expect(
      mismatch(
        samples.output.gradientNorms, dense.logitGradients.map { dot($0, $0).squareRoot() },
        tolerance: tolerance) == nil)
    let norms = (dense.gradients + dense.sampled).map { dot($0, $0).squareRoot() }
    #expect(
      mismatch(norms.indices.map { gradients.gram.norm($0) }, norms, tolerance: tolerance) == nil)
    for i in dense.gradients.indices {
      for j in dense.gradients.indices {
        let wanted = dot(dense.gradients[i], dense.gradients[j])
        #expect(abs(gradients.gram[i, j] - wanted) <= tolerance * norms[i] * norms[j])
      }
    }
    let engine = try EngineProblem(problem, Double.self)
    let context = DirectionContext(gradients)
    let squares = dense.logitGradients.map { dot($0, $0) }
    let lambda = 1e-2
    for (method, wanted) in [
      (UpdateMethod.ef, dense.weighted(squares.map { _ in 1 }, lambda: lambda)),
      (.ief, dense.weighted(squares, lambda: lambda)),
      (.sf, dense.sampledFisher(draws: 2, lambda: lambda)),
    ] {
      let found = try method.directions(context, dampings: [Damping("0.01")!])[0]
      // Condition numbers of some 1e3.
      #expect(
        mismatchUpToScale(engine.direction(found.scaled), wanted, tolerance: 1e-9) == nil,
        "\(method.name)")
    }
    #expect(
      mismatchUpToScale(
        engine.direction(gradients.gradient), oracle.gradient, tolerance: tolerance) == nil)
  }

  // MARK: - Against autograd

  /// Decoders and encoders with attention: Gram matrices and gammas of the batch whose samples are the tokens.
  @Test(arguments: ["gpt2_full", "mistral_window", "bert_untied"])
  func languageModelsAgreeWithAutograd(_ name: String) throws {
    struct Expected: Decodable {
      struct Row: Decodable {
        let method: String
        let damping: Double?
        let gamma: Double
        let norm: Double
      }
      let loss: Double
      let gradientNorm: Double
      let perSampleGradientNorm: [Double]
      let scores: [Row]
    }
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    let folder = fixture("hf_double/\(name)")
    let expected = try decoder.decode(
      Expected.self,
      from: Data(contentsOf: URL(fileURLWithPath: folder + "/expected_tokens.json")))
    var options = EvaluationOptions()
    options.sample = .token
    if FileManager.default.fileExists(atPath: folder + "/adapter") {
      options.adapter = folder + "/adapter"
    }
    options.dataFile = folder + "/data.safetensors"
    options.dampings = [Damping("0.0001")!, Damping("0.1")!]
    (options.precision, options.threads) = (.float64, 1)
    let result = try Evaluation(options).score(checkpoint: folder + "/base")[0]
    let norms = expected.perSampleGradientNorm
    #expect(result.samples == norms.count && result.drawn == 4)
    // As of sequences (`HuggingFaceTests`).
    #expect(mismatch(result.loss, expected.loss, tolerance: 1e-11) == nil)
    #expect(mismatch(result.gradientNorm, expected.gradientNorm, tolerance: 1e-11) == nil)
    #expect(
      mismatch(result.gradientNormRatio, norms.max()! / norms.min()!, tolerance: 1e-10) == nil)
    for row in expected.scores {
      let found = try #require(
        result.scores.first {
          $0.method == row.method && $0.damping.map { Double($0)! } == row.damping
        })
      #expect(mismatch(found.gamma, row.gamma, tolerance: 1e-9) == nil, "\(row.method)")
      #expect(mismatch(found.updateNorm, row.norm, tolerance: 1e-9) == nil, "\(row.method)")
    }
  }

  // MARK: - Against repeated sequences

  /// All methods of the list: their directions go by nothing but the samples.
  @Test(arguments: mixed.filter { $0.loss == "cross_entropy" })
  func everyMethodIsThatOfRepeatedSequences(_ test: Case) throws {
    let folder = try TestFolder()
    let problem = Problem(test)
    try problem.write(to: folder.path("x.bin"))
    guard case .classes(let labels) = problem.labels else { preconditionFailure("classes") }
    let positions = problem.positions
    let rows = labels.indices.filter { labels[$0] >= 0 }
    let drawn = problem.drawnLabels(2, seed: 9).map { draw in
      guard case .classes(let classes) = draw else { preconditionFailure("classes") }
      return classes
    }
    func write(_ name: String, samples: [(n: Int, only: Int?)]) throws {
      var writer = SafetensorsWriter()
      let inputs = samples.flatMap { problem.inputs[$0.n] }
      let shape = [samples.count] + problem.model.inputShape
      if problem.model.tokenBound == nil {
        writer.add("inputs", shape: shape, Vector(inputs))
      } else {
        writer.add("inputs", shape: shape, integers: inputs.map { Int64($0) })
      }
      func own(_ all: [Int]) -> [Int64] {
        samples.flatMap { n, only in
          (n * positions..<(n + 1) * positions).map {
            only == nil || only == $0 ? Int64(all[$0]) : -100
          }
        }
      }
      let outputs = [samples.count] + problem.outputShape.dropLast()
      writer.add("labels", shape: outputs, integers: own(labels))
      writer.add("sampled_labels", shape: [2] + outputs, integers: drawn.flatMap(own))
      try writer.write(to: folder.path(name))
    }
    try write("whole.safetensors", samples: (0..<problem.samples).map { ($0, nil) })
    try write("tokens.safetensors", samples: rows.map { ($0 / positions, $0) })

    func score(_ data: String, _ sample: SampleKind) throws -> BatchResult {
      var options = EvaluationOptions()
      (options.sample, options.precision, options.threads) = (sample, .float64, 1)
      options.dataFile = folder.path(data)
      options.methods = UpdateMethod.named.filter {
        isOfSamples($0, isRagged: rows.count < labels.count)
      }
      options.dampings = [Damping("0.1")!, Damping("rel:1e-2")!]
      options.reference = .dense
      return try Evaluation(options).score(checkpoint: folder.path("x.bin"))[0]
    }
    let (tokens, repeated) = (
      try score("whole.safetensors", .token), try score("tokens.safetensors", .sequence)
    )
    #expect(tokens.samples == rows.count && repeated.samples == rows.count)
    #expect(tokens.sample == .token && repeated.sample == .sequence)
    #expect(tokens.sampledLabels == repeated.sampledLabels)
    #expect(tokens.scores.map(\.identity) == repeated.scores.map(\.identity))
    #expect(mismatch(tokens.gradientNormRatio, repeated.gradientNormRatio, tolerance: 1e-9) == nil)
    for (own, other) in zip(tokens.scores, repeated.scores) {
      // Two orders of sums: what they are apart is what each says it may be off by, or less.
      let tolerance = max(1e-9, 10 * ((own.gammaError ?? 0) + (other.gammaError ?? 0)))
      #expect(
        mismatch(own.gamma, other.gamma, tolerance: min(tolerance, 1e-6)) == nil,
        "\(own.identity.label)")
      #expect(mismatch(own.lambda ?? 0, other.lambda ?? 0, tolerance: 1e-9) == nil)
    }
  }

  /// Behind the last mixture a token has its own row alone, where a sequence has rows that are not scored: means
  /// over rows are the same where all are scored, and rows that are reduced are not. What is drawn for a
  /// diagonal goes by the numbers of the samples.
  private func isOfSamples(_ method: UpdateMethod, isRagged: Bool) -> Bool {
    if method == .sophia || method.name.hasSuffix("@reduce") { return false }
    let usesRows =
      method.needs.hasKroneckerProducts || method.family == "foof" || method.name == "evkfac"
    return !isRagged || !usesRows
  }

  // MARK: - One position for each sample

  @Test(arguments: ["golden/mlp_tanh", "golden/toy_logistic"])
  func samplesOfOnePositionAreTheSameToTheBit(_ name: String) throws {
    var options = EvaluationOptions()
    options.methods = [.sgd, .ef, .ief, .sf, .kfac, .blockEF, .soap]
    options.threads = 1
    let sequences = try Evaluation(options).score(checkpoint: fixture(name + ".bin"))[0]
    options.sample = .token
    let tokens = try Evaluation(options).score(checkpoint: fixture(name + ".bin"))[0]
    #expect(tokens.samples == sequences.samples && tokens.sequences == sequences.samples)
    func bits(_ result: BatchResult) -> [UInt64] {
      result.scores.flatMap { [$0.gamma.bitPattern, $0.updateNorm.bitPattern] }
    }
    #expect(bits(tokens) == bits(sequences))
    let reports = [tokens, sequences].map { result in
      Report([.init(CheckpointDescription.made, [result])]).scores.csv
    }
    #expect(reports[0].split(whereSeparator: \.isNewline)[1].hasSuffix(",token"))
    #expect(reports[1].split(whereSeparator: \.isNewline)[1].hasSuffix(",sequence"))
  }

  /// The natural gradient is that of the sequences, as are loss, bound, and scores of directions that do
  /// not go by samples; and threads change no bit.
  @Test func scoresOfADirectionDoNotDependOnIt() throws {
    let folder = try TestFolder()
    try Problem(Self.mixed[1]).write(to: folder.path("x.bin"))
    var options = EvaluationOptions()
    options.methods = [.sgd, .ng, .sign, .ef]
    options.dampings = [Damping("0.1")!]
    options.precision = .float64
    func score(_ sample: SampleKind, threads: Int) throws -> BatchResult {
      (options.sample, options.threads) = (sample, threads)
      return try Evaluation(options, pool: SharedWork.pool(threads)).score(
        checkpoint: folder.path("x.bin"))[0]
    }
    let (sequences, tokens) = (try score(.sequence, threads: 1), try score(.token, threads: 1))
    let several = try score(.token, threads: 3)
    #expect(tokens.scores.map(\.gamma) == several.scores.map(\.gamma))
    #expect(tokens.loss == sequences.loss && tokens.gammaBound == sequences.gammaBound)
    for (own, other) in zip(tokens.scores, sequences.scores) {
      if own.method == "ef" {
        #expect(mismatch(own.gamma, other.gamma, tolerance: 1e-3) != nil)
      } else {
        #expect(mismatch(own.gamma, other.gamma, tolerance: 1e-9) == nil, "\(own.method)")
      }
    }
  }
}

extension CheckpointDescription {
  /// Of what a test has scored.
  fileprivate static var made: CheckpointDescription {
    CheckpointDescription(
      path: "x.bin", model: "sequential", loss: "cross_entropy", trainableParameters: 1,
      allParameters: 1, positions: 1, classes: 1)
  }
}

private func dot(_ a: [Double], _ b: [Double]) -> Double {
  zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
}
