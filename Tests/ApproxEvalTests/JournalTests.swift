import Checkpoints
import Crypto
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

@Suite struct JournalTests {
  // MARK: Lines

  /// Also what is hard to write down: signed zeros, subnormal numbers, the ends of the range,
  /// infinities, and texts with every kind of character.
  @Test(arguments: 0..<40) func resultsReadBackToTheSameBits(_ seed: UInt64) throws {
    var random = MadeUp(seed: seed)
    let result = random.result(batch: Int(seed))
    let line = JournalLine.encoded(.batch(Int(seed), result))
    #expect(line.last == UInt8(ascii: "\n"))
    #expect(line.dropLast().firstIndex(of: UInt8(ascii: "\n")) == nil, "seed \(seed)")
    guard case .batch(let number, let read) = try JournalLine.decoded(line.dropLast()) else {
      Issue.record("seed \(seed): no batch")
      return
    }
    let (before, after) = (leaves(result), leaves(read))
    #expect(before.count > 100)
    #expect(before == after && number == Int(seed), "seed \(seed)")
  }

  /// Everything that a value is made of, numbers by their bits.
  private func leaves(_ value: Any, _ path: String = "") -> [String] {
    if let number = value as? Double {
      return [path + (number.isNaN ? "nan" : String(number.bitPattern))]
    }
    let children = Mirror(reflecting: value).children
    if children.isEmpty { return [path + "\(value)"] }
    return children.flatMap { leaves($0.value, path + "/" + ($0.label ?? "")) }
  }

  @Test func linesAreJSON() throws {
    var random = MadeUp(seed: 1)
    let line = JournalLine.encoded(.batch(7, random.result(batch: 3)))
    let object = try #require(try JSONSerialization.jsonObject(with: line) as? [String: Any])
    #expect(Set(object.keys) == ["sha256", "batch"])
    let batch = try #require(object["batch"] as? [String: Any])
    #expect(batch["number"] as? Int == 7)
    #expect((batch["result"] as? [String: Any])?["batch"] as? Int == 3)
  }

  /// A digit that has changed is no other result.
  @Test func everyFlippedByteIsNoticed() throws {
    var random = MadeUp(seed: 2)
    let line = JournalLine.encoded(.batch(0, random.result(batch: 0, traceRows: 1))).dropLast()
    for index in line.indices {
      var changed = Data(line)
      changed[index] ^= 1
      #expect(throws: JournalError.Defect.self, "byte \(index)") {
        try JournalLine.decoded(changed)
      }
    }
  }

  // MARK: Options

  /// An option that is added must say whether it changes numbers.
  @Test func theIdentityHasEveryOptionThatChangesNumbers() throws {
    let recorded = Set(RecordedSettings(EvaluationOptions()).keys).union([
      "threads", "direction_names",
    ])
    #expect(Mirror(reflecting: EvaluationOptions()).children.count == recorded.count)
  }

  /// Whatever the values are: a merged run's record has those of its shards to the letter.
  @Test func settingsReadBackAsTheyWere() throws {
    var options = EvaluationOptions()
    (options.dataFile, options.model, options.run) = ("a,b.npz", "\"m\"", "r\n")
    (options.loss, options.classAxis, options.task) = ("mse", -1, .causal)
    (options.adapter, options.trainable) = ("x", ["a*,b", ""])
    (options.methods, options.dampings) = ([.kfac, .sgd], [.init("0")!, .init("rel:1e-3")!])
    (options.monteCarloSamples, options.reference) = ([4, 1], .dense)
    (options.cgIterations, options.cgTolerance, options.cgGap) = (7, 1e-300, 0)
    (options.cgDamping, options.cgPreconditioner) = (200, .jacobi)
    (options.batchSize, options.batches, options.firstBatch) = (3, 4, 5)
    (options.memory, options.updateFiles) = (1 << 40, ["u,v.safetensors", "w"])
    (options.scoresStoredUpdates, options.optimizerState) = (false, "s")
    (options.parameterOrder, options.perLayer, options.sample) = ("o", true, .token)
    (options.dropDuplicates, options.seed, options.precision) = (0.1 + 0.2, .max, .float64)
    let settings = RecordedSettings(options)
    let plain = RecordedSettings(EvaluationOptions())
    for key in settings.keys { #expect(settings[key] != plain[key], "\(key) is not changed here") }
    let read = try JSONDecoder().decode(
      RecordedSettings.self, from: JSONEncoder().encode(settings))
    #expect(read == settings && read.isPossible && read.goByParameters)
    #expect(read.json.document == settings.json.document)
    #expect(read[.updates] == .texts(["u,v.safetensors", "w"]))
    #expect(read[.cgDamping] == .number(200) && read[.cgTolerance] == .number(1e-300))
    #expect(read[.seed] == .text("18446744073709551615") && read[.memory] == .integer(1 << 40))
    #expect(plain[.data] == .cell(.empty) && plain[.updates] == .list([]))
    #expect(plain.text("data") == nil && plain.text("updates") == nil && !plain.goByParameters)
  }

  /// Messages name what a user gives, and nobody gives this.
  @Test func directionsOfCheckpointsAreLeftOutByMethods() throws {
    func identity(_ storedUpdates: Bool) throws -> RunIdentity {
      var options = EvaluationOptions()
      options.scoresStoredUpdates = storedUpdates
      return RunIdentity(try Self.record(options, ["a.bin"]), Self.plan(batches: 1))
    }
    let (all, some) = (try identity(true), try identity(false))
    var result = Self.results(1)[0]
    result.scores[0].family = "update"
    let names = SettingNames { "--" + $0.name.replacing(" ", with: "-") }
    #expect(
      some.carried([0: result], from: all).differences.map { $0.spelled(by: names) } == [
        "--methods is given now, and leaves out directions that checkpoints carry; they are scored "
          + "in the journal"
      ])
    #expect(some.carried([0: Self.results(1)[0]], from: all).results.count == 1, "it carries none")
    #expect(all.carried([0: result], from: some).outdated == 1)
    #expect(
      [(some, all), (all, some)].map { $0.differences(toShard: $1).map(\.description) } == [
        [
          "methods is given here, and leaves out directions that checkpoints carry; they are "
            + "scored there"
        ],
        [
          "methods is given there, and leaves out directions that checkpoints carry; they are "
            + "scored here"
        ],
      ])
  }

  @Test func differencesAreNamedOneByOne() throws {
    let plan = Self.plan(batches: 3)
    let options = EvaluationOptions()
    let before = RunIdentity(try Self.record(options, ["a.bin"]), plan)
    let results = Self.numbered(Self.results(3))
    #expect(before.carried(results, from: before).differences == [])

    var other = options
    other.dampings = [.init("1")!, .init("rel:1e-3")!]
    other.dropDuplicates = 0.5
    other.seed = .max
    other.precision = .float64
    other.threads += 1
    var now = RunIdentity(
      try Self.record(other, ["a.bin"]), plan.part(Shard(1, of: 2)))
    #expect(
      now.carried([:], from: before).differences.map(\.description) == [
        "shard is 1/2 now, not given in the journal",
        "damping is 1,rel:1e-3 now, rel:1e-7 in the journal",
        "drop duplicates is 0.5 now, not given in the journal",
        "precision is float64 now, auto in the journal",
        "seed is 18446744073709551615 now, 1337 in the journal",
      ])

    now = before
    now.version = "9"
    now.files = [Self.file("a.bin", "cc"), Self.file("new.npz", "dd")]
    now.checkpoints[0].content = "other"
    #expect(
      now.carried(results, from: before).differences.map(\.description) == [
        "the version of eval-cli is 9 now, \(packageVersion) in the journal",
        "a.bin has changed: 5 bytes with SHA-256 cc… now, 5 bytes with SHA-256 aa… in the journal",
        "new.npz was no input then",
      ])
    now.version = before.version
    now.checkpoints[0].description.path = "run/b.bin"
    #expect(
      now.carried(results, from: before).differences.map(\.description) == [
        "run/a.bin is in the journal, and no checkpoint of this run"
      ])
    #expect(
      RunIdentity(try Self.record(options, ["a.bin"]), Self.plan(batches: 2))
        .carried(results, from: before).differences.map(\.description) == [
          "batch 2 of run/a.bin is in the journal, and no batch of this run"
        ])
    #expect(now.carried([:], from: before).differences == [], "nothing would be lost")
  }

  /// Runs before there was a choice had sequences.
  @Test func whatASampleIsMustAgree() throws {
    let plan = Self.plan(batches: 2)
    var options = EvaluationOptions()
    let sequences = RunIdentity(try Self.record(options, ["a.bin"]), plan)
    options.sample = .token
    let tokens = RunIdentity(try Self.record(options, ["a.bin"]), plan)
    var older = sequences
    var content = try #require(
      JSONSerialization.jsonObject(with: JSONEncoder().encode(older.settings)) as? [String: Any])
    let entries = try #require(content["entries"] as? [[String: String]])
    content["entries"] = entries.filter { $0["key"] != "sample" }
    older.settings = try JSONDecoder().decode(
      RecordedSettings.self, from: JSONSerialization.data(withJSONObject: content))
    #expect(older.settings.keys.count == sequences.settings.keys.count - 1)
    let results = Self.numbered(Self.results(2))
    #expect(sequences.carried(results, from: older).results.count == 2)
    for before in [older, sequences] {
      #expect(
        tokens.carried(results, from: before).differences.map(\.description) == [
          "sample is token now, sequence in the journal"
        ])
    }
  }
}
