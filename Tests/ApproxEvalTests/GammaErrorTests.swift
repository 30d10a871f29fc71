import Checkpoints
import Foundation
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// The promise on every gamma: `|gamma / exact - 1| <= max(gamma_error, 1e-3)`, and that the estimate
/// says something.
struct GammaErrorTests {
  /// Small networks at which single precision has failed, or might: more samples than parameters,
  /// repeated samples, labels that contradict each other, networks that are sure.
  private static func problem(_ index: Int) -> Problem {
    index < cases.count ? Problem(cases[index]) : special[index - cases.count]()
  }

  private static let all = 0..<cases.count + special.count

  private static let special: [@Sendable () -> Problem] = [
    { Problem(Case("linear", input: [2], linear("a", 2, 3), samples: 30, seed: 3)) },
    { Problem(Case("linear", input: [3], linear("a", 3, 2), loss: "mse", samples: 20, seed: 4)) },
    { repeated([1, 0, 1, 2, 0, 1]) },
    { repeated([1, 0, 2, 2, 0, 1]) },
    { contradicting(samples: 5, pair: true) },
    { sure(4) },
    { sure(12) },
  ]

  /// The same input twice, with these labels.
  private static func repeated(_ labels: [Int]) -> Problem {
    var problem = Problem(Case("mlp", input: [3], mlp, samples: 6, seed: 5))
    problem.inputs[2] = problem.inputs[0]
    problem.labels = .classes(labels)
    return problem
  }

  /// Weights so much larger.
  private static func sure(_ scale: Double) -> Problem {
    var problem = Problem(Case("mlp", input: [3], mlp, samples: 6, seed: 6))
    for (name, values) in problem.parameters {
      problem.parameters[name] = values.map { $0 * scale }
    }
    return problem
  }

  /// Two classes, and as a pair the same input with either label: gradients are antiparallel, so
  /// that K is singular and yet no row is a duplicate.
  private static func contradicting(samples: Int, pair: Bool) -> Problem {
    var problem = Problem(
      Case("linear", input: [8], linear("a", 8, 2), samples: samples, seed: 7))
    if pair { problem.inputs[1] = problem.inputs[0] }
    problem.labels = .classes((0..<samples).map { $0 % 2 })
    return problem
  }

  private static let dampings = [Damping("rel:1e-7")!, Damping("rel:1e-2")!, Damping("0")!]

  private func options(
    _ methods: [UpdateMethod], _ dampings: [Damping] = dampings
  ) -> EvaluationOptions {
    var options = EvaluationOptions()
    options.methods = methods
    options.dampings = dampings
    options.reference = .none
    return options
  }

  /// In one precision, with estimates in place of what a comparison would find.
  private func estimated<S: EngineScalar>(
    _ path: String, _ options: EvaluationOptions, _: S.Type
  ) throws -> BatchResult {
    let evaluation = Evaluation(options)
    let checkpoint = try LoadedCheckpoint(path: path, options: options)
    let source = try evaluation.source(checkpoint)
    let budget = try evaluation.budget(checkpoint, source, .score(updates: []), S.self)
    return try BatchScorer<S>(evaluation, checkpoint, source, budget).score(0)
  }

  @Test(arguments: all)
  func singlePrecisionKeepsThePromise(_ index: Int) throws {
    try requirePromise(Self.problem(index), seed: UInt64(index + 40))
  }

  /// Every label is drawn too, so that SF cancels down to lambda; embeddings answer with no kernel.
  @Test(arguments: [("tokens by tables", 93), ("table of tokens", 94), ("table of tokens", 101)])
  func cancellingSumsOfTablesKeepThePromise(_ name: String, _ seed: UInt64) throws {
    try requirePromise(Problem(cases.first { $0.name == name }!), seed: seed)
  }

  private func requirePromise(_ problem: Problem, seed: UInt64) throws {
    let draws = problem.drawnLabels(2, seed: seed)
    let file = try checkpoint(problem, draws: draws)
    let methods = UpdateMethod.named.filter { ![.ng, .gn].contains($0) }
    let single = try estimated(file.path, options(methods), Float.self)
    let double = try estimated(file.path, options(methods), Double.self)
    for (score, exact) in zip(single.scores, double.scores) {
      // A gradient of zero has no gamma in either.
      guard exact.gamma.isFinite, exact.gamma > 0, !exact.isMarked else { continue }
      let error = try #require(score.gammaError)
      #expect(
        abs(score.gamma / exact.gamma - 1) <= max(error, 1e-3),
        "\(score.method) at \(score.damping ?? "-"): \(score.gamma), exact \(exact.gamma)")
    }
  }

  /// The same against the oracle, which shares no code with the engine, for the methods of the paper.
  @Test(arguments: all)
  func bothPrecisionsKeepThePromiseAgainstTheOracle(_ index: Int) throws {
    let problem = Self.problem(index)
    let oracle = DenseOracle(problem)
    let draws = problem.drawnLabels(2, seed: UInt64(index + 40))
    let file = try checkpoint(problem, draws: draws)
    let options = options([.sgd, .ef, .ief, .sf], [Damping("rel:1e-4")!])
    let results = [
      try estimated(file.path, options, Float.self), try estimated(file.path, options, Double.self),
    ]
    for (result, floor) in zip(results, [1e-3, 1e-9]) {
      for score in result.scores {
        let lambda = score.lambda ?? 0
        let direction =
          switch score.method {
          case "sgd": oracle.gradient
          case "ef": oracle.weightedGradients(oracle.ones, lambda: lambda)
          case "ief": oracle.weightedGradients(oracle.squares, lambda: lambda)
          default: oracle.sampledFisher(draws, lambda: lambda)
          }
        let exact = oracle.gamma(direction)
        guard exact.isFinite, exact > 0, let error = score.gammaError else { continue }
        // The oracle eliminates in double on matrices with condition numbers of 1e4.
        #expect(
          abs(score.gamma / exact - 1) <= max(error, floor),
          "\(score.method): \(score.gamma), oracle \(exact)")
      }
    }
  }

  /// An estimate that marked everything would keep the promise too.
  @Test func wellConditionedRowsAreNotMarked() throws {
    let problem = Problem(Case("mlp", input: [3], mlp, samples: 4, seed: 9))
    let file = try checkpoint(problem, draws: problem.drawnLabels(1, seed: 2))
    // No damping is part of Shampoo's powers: four samples leave their matrices singular but for rounding.
    // That they keep the promise is `singlePrecisionKeepsThePromise`.
    let undamped = ["shampoo", "shampoo@2", "kl-shampoo"]
    let methods = UpdateMethod.named.filter {
      ![.ng, .gn].contains($0) && !undamped.contains($0.name)
    }
    let single = try estimated(file.path, options(methods, [Damping("rel:1")!]), Float.self)
    for score in single.scores {
      let error = try #require(score.gammaError)
      #expect(error < 1e-4 && error > 1e-9, "\(score.method): \(error)")
    }
  }

  /// What errors of directions do is measured where samples are enough to tell: a bound would mark methods that
  /// lift small singular values wherever they have some.
  @Test(arguments: [1.0, 3.0])
  func methodsThatLiftSmallSingularValuesAreNotMarked(_ scale: Double) throws {
    var problem = Problem(
      Case(
        "wide", input: [40],
        linear("a", 40, 60) + #", {"type": "gelu"}, "# + linear("b", 60, 50)
          + #", {"type": "tanh"}, "# + linear("c", 50, 10), samples: 24, seed: 3))
    for (name, values) in problem.parameters {
      problem.parameters[name] = values.map { $0 * scale }
    }
    let file = try checkpoint(problem, draws: [])
    let options = options(
      [.muon, .muonPolar, .shampoo, .shampooSquared, .soap, .klShampoo], [Damping("rel:1e-7")!])
    let single = try estimated(file.path, options, Float.self)
    let double = try estimated(file.path, options, Double.self)
    for (score, exact) in zip(single.scores, double.scores) {
      let error = try #require(score.gammaError)
      let found = abs(score.gamma / exact.gamma - 1)
      #expect(found <= max(error, 1e-3), "\(score.method): \(found) is more than \(error)")
      // Saturated units are where estimates of any kind fall short, and leave entries that are nothing but
      // rounding, which steps entry by entry lift.
      if scale == 1 {
        #expect(!score.isMarked && found <= error, "\(score.method): \(error), found \(found)")
      }
    }
  }

  // MARK: - Which precision

  /// Batches with the two inputs that nearly agree are done again, the others are not.
  @Test func autoRepeatsExactlyTheMarkedBatches() throws {
    var problem = Self.contradicting(samples: 8, pair: true)
    // An eigenvalue of K of 1e-8: the two ask d for opposite changes, and get them.
    problem.inputs[1][0] = Double(Float(problem.inputs[1][0] + 1e-4))
    let file = try checkpoint(problem, draws: problem.drawnLabels(1, seed: 2))
    var options = options([.sgd, .ef, .ief], [Damping("rel:1e-10")!])
    options.batchSize = 5
    options.batches = 12
    func results(_ precision: Precision) throws -> [BatchResult] {
      options.precision = precision
      let evaluation = Evaluation(options)
      let checkpoint = try LoadedCheckpoint(path: file.path, options: options)
      let scoring = try BatchScoring(
        evaluation, checkpoint, try evaluation.source(checkpoint), smallBatch: 0)
      return try (0..<12).map { try scoring.score($0) }
    }
    let single = try results(.float32)
    let double = try results(.float64)
    let auto = try results(.auto)
    let marked = single.map(\.hasMark)
    #expect(marked.contains(true) && marked.contains(false), "\(marked)")
    for (batch, isMarked) in marked.enumerated() {
      #expect(auto[batch].isRepeated == isMarked)
      #expect(auto[batch].precision == (isMarked ? .float64 : .float32))
      let source = isMarked ? double[batch] : single[batch]
      #expect(auto[batch].scores.map(\.gamma) == source.scores.map(\.gamma))
      #expect(auto[batch].scores.map(\.gammaError) == source.scores.map(\.gammaError))
      #expect(!auto[batch].hasMark)
    }
    // Without the memory for a second attempt the marks stay.
    options.memory =
      MemoryPlanner(
        try LoadedCheckpoint(path: file.path, options: options), samples: 5,
        options: options.inPrecision(Float.self), .score(updates: [])
      ).best().plan.total
    let poor = try results(.auto)
    #expect(poor.allSatisfy { $0.precision == .float32 && !$0.isRepeated })
    #expect(poor.map(\.hasMark) == marked)
  }

  @Test func smallBatchesAreDoneInDouble() throws {
    var options = EvaluationOptions()
    let path = fixture("golden/mlp_tanh.bin")
    let result = try Evaluation(options).score(checkpoint: path)[0]
    #expect(result.precision == .float64 && !result.isRepeated)
    options.precision = .float64
    let double = try Evaluation(options).score(checkpoint: path)[0]
    #expect(result.scores.map(\.gamma) == double.scores.map(\.gamma))
    // In single precision their errors are measured.
    options.precision = .float32
    let single = try Evaluation(options).score(checkpoint: path)[0]
    #expect(single.precision == .float32)
    for (score, exact) in zip(single.scores, double.scores) where score.method != "ng" {
      let found = 1.01 * abs(score.gamma / exact.gamma - 1) + exact.gammaError!
      #expect(score.gammaError == found)
    }
  }

  /// Conjugate gradients of a small batch run in single precision; what they find is scored in double,
  /// and rows are those of double precision alone.
  @Test func aReferenceThatSinglePrecisionFindsIsProvedInDouble() throws {
    var options = EvaluationOptions()
    let path = fixture("digits/epoch-40.bin")
    let result = try Evaluation(options).score(checkpoint: path)[0]
    options.precision = .float64
    let double = try Evaluation(options).score(checkpoint: path)[0]
    options.precision = .float32
    // Rows of drawn labels would be part of the same products, whose shapes decide the last bits.
    options.methods = [.sgd]
    let single = try Evaluation(options).score(checkpoint: path)[0]
    #expect(result.precision == .float64 && !result.isRepeated)
    #expect(result.trace.map(\.gamma) == single.trace.map(\.gamma))
    #expect(result.trace.map(\.gamma) != double.trace.map(\.gamma))
    let reference = try #require(result.reference)
    #expect(reference.status == .converged)
    #expect(reference.gamma <= (1 + options.cgGap) * result.gammaBound)
    // The same direction in another precision: what single precision has made of its gamma.
    let other = try #require(single.reference?.gamma)
    #expect(abs(reference.gamma / other - 1) < 1e-5)
    func rows(_ result: BatchResult) -> [Double] {
      result.scores.filter { $0.method != "ng" }.map(\.gamma)
    }
    #expect(rows(result) == rows(double))
    #expect(result.scores.last?.gamma == reference.gamma)
    #expect(!result.hasMark)
  }

  /// A tensor that is the whole network has the error of the whole direction.
  @Test func rowsOfLayersHaveErrors() throws {
    let layer =
      #"{"type": "linear", "name": "a", "in_features": 3, "out_features": 2, "bias": false}"#
    let problem = Problem(Case("one tensor", input: [3], layer, loss: "cross_entropy"))
    let file = try checkpoint(problem, draws: [])
    var options = options([.sgd, .ef, .ief], [Damping("rel:1e-4")!])
    options.precision = .float64
    options.perLayer = true
    let result = try Evaluation(options).score(checkpoint: file.path)[0]
    let errors = result.layers.filter { $0.kind == .tensor }.map(\.gammaError)
    #expect(errors.count == 3)
    for (error, score) in zip(errors, result.scores) {
      // The same sums in another order.
      #expect(abs(try #require(error) / score.gammaError! - 1) < 1e-9)
    }
  }

  /// Numbers beyond single precision alone are no error where there is a choice.
  @Test func numbersBeyondSinglePrecisionAreDoneInDouble() throws {
    var problem = Problem(Case("linear", input: [3], linear("a", 3, 2), loss: "mse"))
    problem.parameters["a.bias"] = [1e60, 1]
    let file = try checkpoint(problem, draws: [])
    var options = options([.sgd])
    options.precision = .float32
    #expect(throws: CheckpointError.self) {
      try estimated(file.path, options, Float.self)
    }
    options.precision = .auto
    let evaluation = Evaluation(options)
    let loaded = try LoadedCheckpoint(path: file.path, options: options)
    for smallBatch in [0, 1e9] {
      let scoring = try BatchScoring(
        evaluation, loaded, try evaluation.source(loaded), smallBatch: smallBatch)
      let result = try scoring.score(0)
      #expect(result.precision == .float64 && result.isRepeated == (smallBatch == 0))
    }
  }

  /// Only where single precision is why a direction is missing.
  @Test(arguments: [("1e60", true), ("rel:1.7e308", false)])
  func directionsBeyondSinglePrecisionAreSoughtInDouble(
    damping: String, isRepeated: Bool
  ) throws {
    var options = EvaluationOptions()
    options.reference = .none
    options.methods = [.truncated(iterations: 1)]
    options.dampings = [Damping(damping)!]
    let evaluation = Evaluation(options)
    let path = fixture("golden/mlp_trained.bin")
    let checkpoint = try LoadedCheckpoint(path: path, options: options)
    let result = try BatchScoring(
      evaluation, checkpoint, evaluation.source(checkpoint), smallBatch: 0
    ).score(0)
    #expect(result.isRepeated == isRepeated)
    #expect((result.scores[0].defect == .overflow) == !isRepeated)
  }

  /// What a precision holds between batches is made once where both have room for theirs; results are the
  /// same up to what each row says of itself.
  @Test func bothPrecisionsStayWhereThereIsRoom() throws {
    var options = EvaluationOptions()
    (options.batchSize, options.batches) = (100, 2)
    let path = fixture("digits/epoch-40.bin")
    let checkpoint = try LoadedCheckpoint(path: path, options: options)
    func scored(
      _ options: EvaluationOptions, keepsBoth: Bool
    ) throws -> (scoring: BatchScoring, scores: [Score]) {
      let evaluation = Evaluation(options)
      let scoring = try BatchScoring(evaluation, checkpoint, evaluation.source(checkpoint))
      let first = try scoring.score(0)
      let spaces = (scoring.single?.workspace, scoring.double?.workspace)
      let scores = try first.scores + scoring.score(1).scores
      if keepsBoth {
        let single = try #require(spaces.0)
        let double = try #require(spaces.1)
        #expect(scoring.single?.workspace === single && scoring.double?.workspace === double)
      }
      return (scoring, scores)
    }
    let rich = try scored(options, keepsBoth: true)
    #expect(rich.scoring.single != nil && rich.scoring.double != nil)
    var exact = options.inPrecision(Double.self)
    exact.threads = max(exact.threads, 4)
    options.memory =
      MemoryPlanner(checkpoint, samples: 100, options: exact, .score(updates: [])).best().plan.total
    let poor = try scored(options, keepsBoth: false)
    #expect(poor.scoring.single == nil && poor.scoring.double != nil)
    #expect(rich.scores.map(\.method) == poor.scores.map(\.method))
    for (a, b) in zip(rich.scores, poor.scores) {
      // With less room the reference has fewer ways to be found: it may be that much above the least.
      let slack = a.role == .reference ? 1e-3 : max(a.gammaError ?? 0, b.gammaError ?? 0)
      #expect(abs(a.gamma / b.gamma - 1) <= slack, "\(a.method)")
    }
  }

  // MARK: - Files

  private func checkpoint(
    _ problem: Problem, draws: [OracleLabels]
  ) throws -> TemporaryCheckpoint {
    let model = OracleModel(problem.json)
    let weighting = problem.weighting
    var settings: [String: String] = [:]
    if weighting.smoothing > 0 { settings["label_smoothing"] = "\(weighting.smoothing)" }
    settings["class_weights"] = weighting.classes.map { "\($0)" }
    settings["pos_weight"] = weighting.positives.map { "\($0)" }
    return try TemporaryCheckpoint(
      model: problem.json, loss: problem.loss, trainable: problem.trained.map(\.name),
      settings: settings
    ) { writer in
      for parameter in model.parameters {
        writer.add(
          "params." + parameter.name, shape: parameter.shape,
          Vector(problem.parameters[parameter.name]!))
      }
      let shape = [problem.samples] + model.inputShape
      if model.tokenBound == nil {
        writer.add("batch.inputs", shape: shape, Vector(problem.inputs.flatMap { $0 }))
      } else {
        writer.add(
          "batch.inputs", shape: shape, integers: problem.inputs.flatMap { $0.map { Int64($0) } })
      }
      add("batch.labels", [], [problem.labels])
      if let all = weighting.samples {
        // Of outputs where the loss has them, else of positions.
        let step = problem.loss == "cross_entropy" ? problem.classes : 1
        let values = all.flatMap { row in stride(from: 0, to: row.count, by: step).map { row[$0] } }
        writer.add(
          "batch.weights",
          shape: [problem.samples]
            + (step == 1 ? problem.outputShape : problem.outputShape.dropLast()),
          Vector(values))
      }
      if !draws.isEmpty { add("batch.sampled_labels", [draws.count], draws) }

      func add(_ name: String, _ first: [Int], _ labels: [OracleLabels]) {
        let positions = problem.positions > 1 ? [problem.positions] : []
        let shape = first + [problem.samples] + positions
        var classes: [Int64] = []
        var targets: [Double] = []
        for labels in labels {
          switch labels {
          case .classes(let own): classes += own.map { Int64($0) }
          case .real(let own): targets += own
          }
        }
        if targets.isEmpty {
          writer.add(name, shape: shape, integers: classes)
        } else {
          writer.add(name, shape: shape + [problem.classes], Vector(targets))
        }
      }
    }
  }
}
