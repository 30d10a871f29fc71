import Checkpoints
import TensorModule
import TestSupport
import Testing
import Updates

@testable import ApproxEval

/// What a checkpoint needs more than the options allow, `nil` if they allow it.
private func shortage(_ options: EvaluationOptions, checkpoint: String) throws -> MemoryShortage? {
  let count = Result { () throws(EvaluationError) in
    try Evaluation(options).batchCount(checkpoint: checkpoint)
  }
  if case .failure(.memory(let shortage)) = count { return shortage }
  _ = try count.get()
  return nil
}

/// The least memory, in steps of a tenth, with which a checkpoint can be scored.
func leastMemory(_ options: EvaluationOptions, checkpoint: String) throws -> Int {
  var options = options
  options.memory = 1 << 14
  while try shortage(options, checkpoint: checkpoint) != nil {
    options.memory += options.memory / 10
  }
  return options.memory
}

@Suite struct MemoryPlanTests {
  private func options(_ methods: [UpdateMethod] = [.sgd, .ef, .ief, .sf]) -> EvaluationOptions {
    var options = EvaluationOptions()
    options.methods = methods
    options.reference = .none
    options.threads = 1
    return options
  }

  private func shortage(
    _ options: EvaluationOptions, _ name: String = "digits/epoch-10.bin"
  ) throws -> MemoryShortage? {
    try ApproxEvalTests.shortage(options, checkpoint: fixture(name))
  }

  @Test func countsStayAtTheLargestInsteadOfOverflowing() {
    let huge = ByteCount(.max)
    #expect(huge + 1 == huge && huge * 2 == huge && ByteCount(huge, of: Double.self) == huge)
    #expect(ByteCount(3) - 5 == 0 && ByteCount(-7) == 0)
    #expect((3 * ByteCount(4) + 2).value == 14)
  }

  @Test func theWorstMomentIsOneOfTheOrder() {
    var plan = MemoryPlan()
    plan.keepForAllBatches("a", 10)
    plan.during([("b", 5)])
    plan.keep("c", 2)
    #expect(plan.total == 15 && plan.bytes(of: "b") == 5 && plan.bytes(of: "c") == 0)
    plan.grow("c", to: 4)
    plan.keepForAllBatches("a", 10)
    #expect(plan.total == 15 && plan.lasting == 10)
    // What takes what it finds finds what is never taken beside it from then on.
    plan.reserve("d", 1)
    #expect(plan.room(of: 100) == 86)
    plan.during([("e", 30)])
    #expect(plan.total == 45 && plan.room(of: 100) == 56)
    #expect(plan.largest == .init(name: "e", bytes: 30))
  }

  /// `[N, N]` in double: 6400 x 8 x 160^2 would be 1.3 GB for 50 draws.
  @Test func manyDrawsAreRefusedBeforeAnythingIsRead() throws {
    var options = options([.sf])
    // The checkpoint's own batch has the labels of one draw.
    options.dataFile = fixture("digits/digits.safetensors")
    options.memory = 200_000_000
    options.monteCarloSamples = [200]
    let found = try #require(try shortage(options))
    #expect(found.isChoice && found.needed > options.memory && found.allowed == options.memory)
    #expect(found.largest?.name.contains("Gram") == true)
    // Every remedy is one.
    let draws = try #require(
      found.remedies.map(\.description).first { $0.hasPrefix("mc samples ") }
        .flatMap { Int($0.dropFirst(11)) })
    options.monteCarloSamples = [draws]
    #expect(try shortage(options) == nil)
    options.monteCarloSamples = [draws + 1]
    #expect(try shortage(options) != nil)
    options.monteCarloSamples = [200]
    let size = try #require(
      found.remedies.map(\.description).first { $0.hasPrefix("batch size ") }
        .flatMap { Int($0.dropFirst(11)) })
    options.batchSize = size
    #expect(try shortage(options) == nil)
  }

  @Test func theAmountThatIsNamedIsEnough() throws {
    for methods: [UpdateMethod] in [[.sgd], [.ef, .blockEF], [.kfac, .diagonalEF, .ng]] {
      var options = options(methods)
      options.memory = 1000
      let found = try #require(try shortage(options))
      #expect(!found.isChoice)
      options.memory = found.needed
      #expect(try shortage(options) == nil, "\(methods)")
    }
  }

  /// SOAP's and Shampoo's are several times as large as the parameters.
  @Test(arguments: ["sgd", "adam", "soap", "shampoo"])
  func statesOfOptimisersAreCountedWithTheirSteps(_ name: String) throws {
    let checkpoint = fixture("data/optimizer/checkpoint.bin")
    let state = fixture("data/optimizer/\(name).pt")
    var options = options([.sgd])
    options.memory = 1000
    let plain = try #require(try ApproxEvalTests.shortage(options, checkpoint: checkpoint)).needed
    options.optimizerState = state
    let found = try #require(try ApproxEvalTests.shortage(options, checkpoint: checkpoint))
    let file = try TensorArchive.open(state).tensors.values.total(\.residentBytes)
    let count = try LoadedCheckpoint(path: checkpoint, options: options).program.parameterCount
    // Mean gradient and step in double, the direction in single precision.
    #expect(found.needed >= plain + file.value + count * (2 * 8 + 4))
    options.memory = found.needed
    #expect(try Evaluation(options).score(checkpoint: checkpoint)[0].scores.count == 2)
  }

  /// What is too large only with a state is too large by choice, and leaving it out is a way.
  @Test(arguments: [Setting.optimizerState, .updates])
  func updatesAreAChoice(_ setting: Setting) throws {
    let checkpoint = fixture("data/optimizer/checkpoint.bin")
    var options = options([.sgd])
    options.precision = .float32
    options.memory = 1000
    options.memory = try #require(
      try ApproxEvalTests.shortage(options, checkpoint: checkpoint)
    ).needed
    let file = try TemporaryCheckpoint(model: "{}") { writer in
      for (name, shape) in [
        ("0.weight", [4, 3]), ("0.bias", [4]), ("2.weight", [3, 4]), ("2.bias", [3]),
      ] {
        for update in 0..<100 {
          writer.add(
            "updates.u\(update).\(name)", shape: shape,
            Vector([Double](repeating: 1, count: shape.reduce(1, *))))
        }
      }
    }
    if setting == .updates {
      options.updateFiles = [file.path]
    } else {
      options.optimizerState = fixture("data/optimizer/shampoo.pt")
    }
    let found = try #require(try ApproxEvalTests.shortage(options, checkpoint: checkpoint))
    #expect(found.isChoice && found.remedies.contains("no \(setting)"), "\(found)")
    options.memory = 1000
    #expect(try ApproxEvalTests.shortage(options, checkpoint: checkpoint)?.isChoice == false)
  }

  /// One Gram matrix of 33,000 samples is 8.7 GB.
  @Test func withoutAMethodThatSolvesThereIsNoGramMatrix() throws {
    let checkpoint = try LoadedCheckpoint(path: fixture("digits/epoch-10.bin"), options: options())
    func total(_ methods: [UpdateMethod]) -> Int {
      MemoryPlanner(
        checkpoint, samples: 33_000, options: options(methods), .score(updates: [])
      ).best().plan.total
    }
    #expect(total([.sgd, .diagonalEF, .adam]) < 1_000_000_000)
    #expect(total([.sgd, .ef]) > 8 * 33_000 * 33_000)
  }

  /// Norms and products with the sum are those of the whole matrix.
  @Test func normsAloneAreThoseOfTheMatrix() throws {
    for precision in Precision.allCases {
      var options = options([.sgd])
      options.precision = precision
      let norms = try Evaluation(options).score(checkpoint: fixture("golden/cnn_small.bin"))[0]
      options.methods = [.sgd, .ef]
      let whole = try Evaluation(options).score(checkpoint: fixture("golden/cnn_small.bin"))[0]
      #expect(mismatch(norms.gradientNormRatio, whole.gradientNormRatio, tolerance: 1e-12) == nil)
      #expect(norms.scores[0].gamma == whole.scores[0].gamma)
    }
  }

  /// Weights, soft and smoothed labels are arrays beside or in place of the class labels.
  @Test func whatTheLossReadsIsCounted() throws {
    let (samples, classes) = (1000, 5)
    func bytes(
      of settings: [String: String] = [:], areSoft: Bool = false, areWeighted: Bool = false
    ) throws -> Int {
      let file = try TemporaryCheckpoint(
        model: #"{"type": "sequential", "input_shape": [1], "layers": [{"type": "linear", "#
          + #""name": "a", "in_features": 1, "out_features": 5, "bias": false}]}"#,
        settings: settings
      ) { writer in
        writer.add("params.a.weight", shape: [classes, 1], Vector<Double>(count: classes))
        writer.add("batch.inputs", shape: [samples, 1], Vector<Double>(count: samples))
        if areSoft {
          let shares = [Double](repeating: 1 / Double(classes), count: samples * classes)
          writer.add("batch.labels", shape: [samples, classes], Vector(shares))
        } else {
          writer.add(
            "batch.labels", shape: [samples], integers: [Int64](repeating: 1, count: samples))
        }
        if areWeighted {
          writer.add(
            "batch.weights", shape: [samples], Vector([Double](repeating: 2, count: samples)))
        }
      }
      var memory = BatchMemory<Float>(
        try LoadedCheckpoint(path: file.path, options: options()), samples: samples,
        options: options(), budget: 0)
      memory.addBatch()
      return memory.plan.total
    }
    let plain = try bytes()
    // In the file, as they are kept, and those of the loss.
    #expect(try bytes(areWeighted: true) >= plain + 3 * 8 * samples)
    // A gradient of all classes.
    #expect(try bytes(of: ["label_smoothing": "0.1"]) >= plain + 8 * samples * classes)
    // In the file, as they are kept, and a gradient.
    #expect(try bytes(areSoft: true) >= plain + 8 * samples * (3 * classes - 1))
    #expect(try bytes(of: ["class_weights": "[1, 2, 3, 4, 5]"]) > plain)
  }

  @Test func amountsAreRoundedUp() {
    #expect(memoryAmount(3_123_000_000) == "3.2GB")
    #expect(memoryAmount(3_000_000) == "3MB")
    #expect(memoryAmount(3_000_001) == "3.1MB")
    #expect(memoryAmount(7) == "0.1kB")
  }
}
