import ApproxEval
import Checkpoints
import Foundation
import TestSupport
import Testing
import Training
import Updates

/// Whole runs of the library.
struct RunTests {
  struct Fixture: Decodable {
    struct Settings: Decodable {
      let lr: Double
      let damping: Double?
      let schedule: String
      let normalize: Bool
    }
    struct Run: Decodable {
      let optimizer: String
      let settings: Settings
      let losses: [Double]
      let after: [[String: [Double]]]
      let finalLoss: Double
    }
    let model: String
    let shapes: [String: [Int]]
    let inputs: [Double]
    let labels: [Int64]
    let start: [String: [Double]]
    let steps: Int
    let runs: [Run]

    static let whole: Fixture = try! read("training/runs.json")

    /// Writes start.bin and data.safetensors.
    func write(to folder: Folder) throws {
      var checkpoint = SafetensorsWriter(metadata: ["format": "approx-eval/1", "model": model])
      for (name, values) in start { add("params." + name, shapes[name]!, values, &checkpoint) }
      try checkpoint.write(to: folder.path("start.bin"))
      var data = SafetensorsWriter()
      add("inputs", [labels.count, inputs.count / labels.count], inputs, &data)
      data.add("labels", shape: [labels.count], integers: labels)
      try data.write(to: folder.path("data.safetensors"))
    }

    private func add(
      _ name: String, _ shape: [Int], _ values: [Double], _ writer: inout SafetensorsWriter
    ) {
      writer.add(
        name, dtype: .f64, shape: shape,
        data: values.map(\.bitPattern.littleEndian).withUnsafeBytes { Data($0) })
    }
  }

  /// Full batches, whose order is of no account: every parameter after every step, and the losses,
  /// from PyTorch's autograd and dense solves.
  @Test(arguments: 0..<7)
  func parametersAfterEachStepAreTorchs(_ index: Int) throws {
    let fixture = Fixture.whole
    #expect(fixture.runs.count == 7)
    let expected = fixture.runs[index]
    let folder = try Folder()
    try fixture.write(to: folder)
    var settings = OptimizerSettings(try #require(OptimizerKind(rawValue: expected.optimizer)))
    settings.learningRate = expected.settings.lr
    settings.schedule = try #require(LearningRateSchedule(rawValue: expected.settings.schedule))
    settings.isNormalized = expected.settings.normalize
    if let damping = expected.settings.damping { settings.damping = Damping("\(damping)")! }
    var options = TrainingOptions(settings, dataFile: folder.path("data.safetensors"))
    options.epochs = fixture.steps
    options.batchSize = fixture.labels.count
    options.precision = .float64
    options.threads = 2
    let result = try TrainingRun(checkpoint: folder.path("start.bin"), options: options)
      .run(into: folder.path("run"))
    #expect(result.steps.count == fixture.steps && result.epochs.count == fixture.steps + 1)
    // Condition numbers of K + lambda I of up to 1e7, in double, three times over.
    let tolerance = 1e-8
    for (step, parameters) in expected.after.enumerated() {
      #expect(
        mismatch(result.steps[step].loss, expected.losses[step], tolerance: tolerance) == nil)
      #expect(
        mismatch(result.epochs[step].training.loss, expected.losses[step], tolerance: tolerance)
          == nil)
      let file = try CheckpointFile.open(
        folder.path("run/" + (try #require(result.epochs[step + 1].checkpoint))))
      #expect(file.epoch == step + 1 && file.step == step + 1)
      for (name, values) in parameters {
        let found = try file.parameter(name).vector(of: Double.self).array
        #expect(
          mismatch(found, values, tolerance: tolerance) == nil,
          "\(expected.optimizer), step \(step + 1), \(name)")
      }
    }
    let last = try #require(result.epochs.last)
    #expect(mismatch(last.training.loss, expected.finalLoss, tolerance: tolerance) == nil)
  }

  private func digits(
    _ kind: OptimizerKind, _ change: (inout TrainingOptions) -> Void = { _ in }
  ) throws -> TrainingRun {
    var options = TrainingOptions(
      OptimizerSettings(kind), dataFile: fixture("digits/digits.safetensors"))
    options.epochs = 1
    options.batchSize = 100
    options.threads = 1
    change(&options)
    return try TrainingRun(checkpoint: fixture("digits/epoch-00.bin"), options: options)
  }

  /// Every byte but those of the clock.
  @Test(arguments: OptimizerKind.allCases)
  func runsHaveTheSameBitsForEveryNumberOfThreads(_ kind: OptimizerKind) throws {
    let folder = try Folder()
    for threads in SharedWork.threads {
      let pool = SharedWork.pool(threads)
      try digits(kind) {
        $0.threads = threads
        $0.validation = .share(0.1)
      }.run(into: folder.path("\(threads)"), pool: pool)
      // More than one call in each of the 17 steps.
      #expect(threads == 1 || pool.sharedCalls > 17)
    }
    for other in SharedWork.threads.dropFirst() {
      for file in ["epoch-00.bin", "epoch-01.bin"] {
        #expect(try folder.data("1/" + file) == folder.data("\(other)/\(file)"))
      }
      for table in ["steps", "epochs"] {
        #expect(try folder.table("1", table) == folder.table("\(other)", table))
      }
    }
  }

  @Test func seedDecidesOrderAndSplit() throws {
    let folder = try Folder()
    for (name, seed) in [("a", UInt64(1)), ("b", 1), ("c", 2)] {
      let run = try digits(.sgd) {
        $0.seed = seed
        $0.validation = .share(0.25)
      }
      // 1797 / 4 = 449.25
      #expect(run.validationSamples == 449 && run.trainingSamples == 1348)
      #expect(run.stepsPerEpoch == 14)
      try run.run(into: folder.path(name))
    }
    #expect(try folder.table("a", "steps") == folder.table("b", "steps"))
    #expect(try folder.table("a", "steps") != folder.table("c", "steps"))
  }

  /// A start at epoch 0 that is the source, and a last step with what is left.
  @Test func epochsCoverTheDataOnce() throws {
    let folder = try Folder()
    let result = try digits(.adam) { $0.epochs = 2 }.run(into: folder.path("run"))
    #expect(result.steps.map(\.samples).suffix(18).reduce(0, +) == 1797)
    #expect(result.steps.count == 36 && result.steps.last?.samples == 97)
    #expect(result.epochs.map(\.step) == [0, 18, 36])
    let start = try CheckpointFile.open(folder.path("run/epoch-00.bin"))
    let source = try CheckpointFile.open(fixture("digits/epoch-00.bin"))
    for (name, tensor) in source.parameters {
      #expect(
        try start.parameter(name).vector(of: Float.self).array
          == tensor.vector(of: Float.self).array)
    }
    #expect(result.epochs[2].training.loss < result.epochs[0].training.loss)
    #expect(try #require(result.epochs[2].training.accuracy) > 0.3)
  }

  /// Without --data: the checkpoint carries the batch that score would draw first.
  @Test func checkpointsAreScoredWithTheBatchTheyCarry() throws {
    let folder = try Folder()
    try digits(.adam).run(into: folder.path("run"))
    var options = EvaluationOptions()
    options.reference = .none
    options.threads = 1
    let own = try Evaluation(options).score(checkpoint: folder.path("run/epoch-01.bin"))
    options.dataFile = fixture("digits/digits.safetensors")
    options.batches = 1
    let drawn = try Evaluation(options).score(checkpoint: folder.path("run/epoch-01.bin"))
    #expect(own[0].samples == 160)
    #expect(own[0].epoch == 1 && own[0].step == 18)
    #expect(own[0].loss == drawn[0].loss)
  }

  @Test func onlyTheTrainableChangeAndTheRestStaysAsItIs() throws {
    let folder = try Folder()
    try digits(.sgd) {
      $0.trainable = ["fc3.*"]
      $0.precision = .float64
      $0.carriedSamples = 0
    }.run(into: folder.path("run"))
    let file = try CheckpointFile.open(folder.path("run/epoch-01.bin"))
    let source = try CheckpointFile.open(fixture("digits/epoch-00.bin"))
    #expect(file.batch.isEmpty)
    #expect(file.trainable.map(\.pattern) == ["fc3.*"])
    for (name, tensor) in source.parameters {
      let found = try file.parameter(name)
      let isTrained = name.hasPrefix("fc3.")
      #expect(found.dtype == (isTrained ? .f64 : .f32))
      #expect(
        try isTrained
          != (found.vector(of: Double.self).array == tensor.vector(of: Double.self).array))
    }
  }

  /// A checkpoint counts on: in double, where nothing is rounded between the runs, and for an optimiser without
  /// a state, two runs of two epochs are one of four, bit for bit.
  @Test(arguments: [OptimizerKind.sgd, .sf]) func runsCountOn(_ kind: OptimizerKind) throws {
    let folder = try Folder()
    try Fixture.whole.write(to: folder)
    func options(_ epochs: Int) -> TrainingOptions {
      var options = TrainingOptions(
        OptimizerSettings(kind), dataFile: folder.path("data.safetensors"))
      options.optimizer.schedule = .constant
      options.precision = .float64
      options.epochs = epochs
      options.saveEvery = 3
      options.batchSize = 2
      options.threads = 1
      return options
    }
    let start = folder.path("start.bin")
    let whole = try TrainingRun(checkpoint: start, options: options(4))
    try whole.run(into: folder.path("whole"))
    try TrainingRun(checkpoint: start, options: options(2)).run(into: folder.path("first"))
    let second = try TrainingRun(
      checkpoint: folder.path("first/epoch-02.bin"), options: options(2))
    #expect(second.firstEpoch == 2 && second.firstStep == 8 && second.steps == 8)
    let result = try second.run(into: folder.path("second"))
    #expect(result.epochs.map(\.epoch) == [2, 3, 4] && result.epochs.map(\.step) == [8, 12, 16])
    // Its first and its last epoch, and those that are asked for.
    #expect(
      TrainingRun.checkpoints(in: folder.path("second")) == [2, 3, 4].map { "epoch-0\($0).bin" })
    #expect(try folder.data("second/epoch-04.bin") == folder.data("whole/epoch-04.bin"))
    #expect(
      try folder.table("second", "steps").dropFirst() == folder.table("whole", "steps").suffix(8))
    // A number that nothing can follow.
    var writer = SafetensorsWriter(
      metadata: try CheckpointFile.open(start).archive.metadata.merging(["epoch": "\(Int.max)"]) {
        $1
      })
    for (name, tensor) in try CheckpointFile.open(start).archive.tensors {
      writer.add(name, tensor)
    }
    try writer.write(to: folder.path("last.bin"))
    let error = try #require(throws: EvaluationError.self) {
      try TrainingRun(checkpoint: folder.path("last.bin"), options: options(1))
    }
    #expect(error.description.hasPrefix("the epoch is \(Int.max), expected"))
  }

  @Test func savesEveryFewEpochsAndTheLast() throws {
    let folder = try Folder()
    let result = try digits(.sgd) {
      $0.epochs = 5
      $0.saveEvery = 2
      $0.batchSize = 1797
    }.run(into: folder.path("run"))
    #expect(
      TrainingRun.checkpoints(in: folder.path("run")) == [0, 2, 4, 5].map { "epoch-0\($0).bin" })
    #expect(
      result.epochs.map(\.checkpoint) == [
        "epoch-00.bin", nil, "epoch-02.bin", nil, "epoch-04.bin", "epoch-05.bin",
      ])
  }

  /// Cancelled in the middle of the second epoch.
  @Test func whatIsFinishedIsKeptWhenARunIsCancelled() throws {
    let folder = try Folder()
    var steps = 0
    let result = try digits(.adam) { $0.epochs = 3 }.run(
      into: folder.path("run"),
      observing: { if case .step = $0 { steps += 1 } }, isCancelled: { steps == 23 })
    #expect(result.isInterrupted && result.steps.count == 23)
    #expect(
      try folder.content("run") == ["epoch-00.bin", "epoch-01.bin", "epochs.csv", "steps.csv"])
    #expect(try folder.table("run", "steps").count == 24)
    #expect(try folder.table("run", "epochs").count == 3)
  }

  @Test func divergenceIsToldWithItsStepAndKeepsWhatIsThere() throws {
    let folder = try Folder()
    let run = try digits(.sgd) { $0.optimizer.learningRate = 1e38 }
    do {
      try run.run(into: folder.path("run"))
      Issue.record("1e38 times a gradient is not beyond single precision")
    } catch EvaluationError.diverged(let step, _, let lastEpoch, _) {
      #expect(step >= 1 && step <= 3)
      #expect(lastEpoch == 0)
      #expect(try folder.content("run").contains("epoch-00.bin"))
      #expect(try folder.table("run", "steps").count == step)
    }
  }

  /// E2 of the paper on the digits: with steps of one length, which only the direction tells apart,
  /// the training losses are in the order iEF, SGD, SF, EF. Each is at least a fifth below the next
  /// here; over 40 epochs it is half.
  @Test func exactMethodsEndInTheOrderOfThePaper() throws {
    let folder = try Folder()
    let losses = try [OptimizerKind.ief, .sgd, .sf, .ef].map { kind in
      let result = try digits(kind) {
        $0.optimizer.learningRate = 0.3
        $0.optimizer.schedule = .linear
        $0.optimizer.isNormalized = true
        $0.epochs = 10
        $0.batchSize = 32
        $0.saveEvery = 10
        $0.threads = 2
      }.run(into: folder.path(kind.rawValue))
      return try #require(result.epochs.last).training.loss
    }
    for (better, worse) in zip(losses, losses.dropFirst()) {
      #expect(better < 0.8 * worse, "\(losses)")
    }
  }

  /// A sample whose labels are all -100 would make a mini-batch without a loss.
  @Test func unscoredSamplesTakeNoPart() throws {
    let folder = try Folder()
    var fixture = Fixture.whole
    fixture = Fixture(
      model: fixture.model, shapes: fixture.shapes, inputs: fixture.inputs,
      labels: [-100] + fixture.labels.dropFirst(), start: fixture.start, steps: 1, runs: [])
    try fixture.write(to: folder)
    var options = TrainingOptions(
      OptimizerSettings(.ief), dataFile: folder.path("data.safetensors"))
    options.batchSize = 1
    options.epochs = 1
    let result = try TrainingRun(checkpoint: folder.path("start.bin"), options: options)
      .run(into: folder.path("run"))
    #expect(result.steps.count == 6)
  }
}

/// A folder that lives as long as the value.
final class Folder {
  private let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent(
      "training-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func path(_ name: String) -> String { url.appendingPathComponent(name).path }

  func data(_ name: String) throws -> Data {
    try Data(contentsOf: url.appendingPathComponent(name))
  }

  func content(_ name: String) throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: path(name)).sorted()
  }

  /// Lines of a CSV file without the last column, the time.
  func table(_ folder: String, _ name: String) throws -> [String] {
    try String(contentsOfFile: path("\(folder)/\(name).csv"), encoding: .utf8)
      .components(separatedBy: "\r\n").dropLast()
      .map { $0.components(separatedBy: ",").dropLast().joined(separator: ",") }
  }
}
