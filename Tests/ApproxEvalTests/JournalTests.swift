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
    (options.parameterOrder, options.perLayer) = ("o", true)
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
    now.checkpoints[0].path = "run/b.bin"
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

  // MARK: Runs that grow

  /// By batches and checkpoints, which may have moved: what was finished is the same batch.
  @Test func resultsAreCarriedByContent() throws {
    let results = Self.numbered(Self.results(3))
    let before = RunIdentity(
      try Self.record(EvaluationOptions(), ["a.bin"]), Self.plan(batches: 3))
    var now = RunIdentity(
      try Self.record(EvaluationOptions(), ["c.bin"]),
      Self.plan(batches: 4, paths: ["run/new.bin", "moved/c.bin"]))
    now.checkpoints[1].content = before.checkpoints[0].content
    now.checkpoints[1].description.epoch = 8
    let carried = now.carried(results, from: before)
    #expect(carried.differences == [] && carried.outdated == 0)
    let inOrder = carried.results.sorted { $0.key < $1.key }
    #expect(inOrder.map(\.key) == [4, 5, 6])
    #expect(inOrder.map(\.value.checkpoint) == Array(repeating: "moved/c.bin", count: 3))
    #expect(inOrder.map(\.value.epoch) == [8, 8, 8])
    #expect(inOrder.map(\.value.batch) == [0, 1, 2])
  }

  /// A checkpoint that is given twice, with other files: where its results belong is no matter of
  /// names.
  @Test func resultsOfACheckpointGivenTwiceAreCarriedByContent() throws {
    let options = EvaluationOptions()
    var before = RunIdentity(
      try Self.record(options, []), Self.plan(batches: 1, paths: ["run/a.bin", "run/a.bin"]))
    before.checkpoints[0].content = "with adam"
    before.checkpoints[1].content = "with adamw"
    var now = before
    now.checkpoints.swapAt(0, 1)
    var (adam, adamw) = (Self.results(1)[0], Self.results(1)[0])
    (adam.samples, adamw.samples) = (1, 2)
    #expect(now.carried([1: adamw], from: before).results.mapValues(\.samples) == [0: 2])
    #expect(
      now.carried([0: adam, 1: adamw], from: before).results.mapValues(\.samples) == [0: 2, 1: 1])
    #expect(now.carried([0: adam], from: before).results.mapValues(\.samples) == [1: 1])
  }

  /// A direction may have the name of its file, and rows tell it: renamed, it is another one.
  @Test func namesOfDirectionsAreContent() throws {
    func identity(_ file: String, _ direction: String) throws -> RunIdentity {
      var checkpoint = Self.plan(batches: 1).checkpoints[0]
      checkpoint.files = [file]
      checkpoint.directions = [direction]
      return RunIdentity(try Self.record(EvaluationOptions(), [file]), RunPlan([checkpoint]))
    }
    let results = Self.numbered(Self.results(1))
    let before = try identity("old.safetensors", "ng")
    #expect(
      try identity("moved.safetensors", "ng").carried(results, from: before).results.count == 1)
    let renamed = try identity("new.safetensors", "new").carried(results, from: before)
    #expect(
      renamed.differences.map(\.description) == [
        "new.safetensors was no input then", "old.safetensors is no input now",
      ])
  }

  /// Lines say of which of the two a batch is, and one with another number than its own is damage.
  @Test func linesTellABatchByItsNumber() throws {
    let identity = RunIdentity(
      try Self.record(EvaluationOptions(), []),
      Self.plan(batches: 2, paths: ["run/a.bin", "run/a.bin"]))
    func read(_ number: Int) throws -> JournalContents {
      try JournalContents(
        JournalLine.encoded(.run(identity))
          + JournalLine.encoded(.batch(number, Self.results(2)[1])), file: "")
    }
    for number in [1, 3] { #expect(try Array(read(number).results.keys) == [number]) }
    for number in [0, 2, 4, .max] {
      #expect(throws: JournalError.self, "\(number)") { try read(number) }
    }
  }

  // MARK: Shards

  /// Of any number that a file may claim.
  @Test func thereIsAMostOfShards() throws {
    #expect(Shard(1, of: .max) == nil && Shard(1, of: 0) == nil && Shard(3, of: 2) == nil)
    #expect(Shard(1, of: Shard.most) != nil)
    let identity = RunIdentity(
      try Self.record(EvaluationOptions(), []), Self.plan(batches: 1).part(Shard(1, of: 12345)))
    let line = String(decoding: JournalLine.encoded(.run(identity)), as: UTF8.self).dropLast()
    let start = try #require(line.range(of: #""run":"#)).upperBound
    for (count, isPossible) in [(12346, true), (Int.max, false)] {
      let content = line[start...].dropLast().replacing("12345", with: "\(count)")
      let sum = SHA256.hash(data: Data(content.utf8)).map { String(format: "%02x", $0) }.joined()
      let changed = Data("{\"sha256\":\"\(sum)\",\"run\":\(content)}".utf8)
      let read = Result { try JournalLine.decoded(changed) }
      #expect(((try? read.get()) != nil) == isPossible, "\(count)")
    }
  }

  /// What shards have finished is on the disk at once, and the same as line by line.
  @Test func linesOfShardsAreSyncedTogether() throws {
    let results = Self.numbered(Self.results(9))
    func written(_ add: (inout RunOutputs) throws -> Void) throws -> (calls: Int, [UInt8]) {
      let system = SimulatedFileSystem(SimulatedDisk())
      var outputs = try RunOutputs(
        Self.plan(batches: 9), record: Self.record(EvaluationOptions(), []), folder: "/r",
        system: system)
      let before = system.calls
      try add(&outputs)
      #expect(outputs.finished.count == 9)
      return (system.calls - before, try #require(system.disk.bytes("/r/journal.jsonl")))
    }
    let together = try written { try $0.add(results, []) }
    let apart = try written { outputs in
      for (number, result) in results.sorted(by: { $0.key < $1.key }) {
        try outputs.add(result, at: number)
      }
    }
    #expect(together.1 == apart.1)
    // Each of the others cuts, synchronizes and looks where the file is.
    #expect(together.calls <= apart.calls - 8 * 3)
  }

  // MARK: Failures

  /// A failure settles the batches of its checkpoint that are left, until one of them is done.
  @Test func failuresAreLines() throws {
    let identity = RunIdentity(
      try Self.record(EvaluationOptions(), []),
      Self.plan(batches: 3, paths: ["run/a.bin", "run/b.bin"]))
    let error = EvaluationError.missingBatch(checkpoint: "x")
    func failure(_ name: String, _ index: Int?) -> JournalEntry {
      .failed(
        FailureRecord(CheckpointFailure(checkpoint: name, index: index, batch: 1, error: error)))
    }
    func read(_ entries: [JournalEntry]) throws -> JournalContents {
      let lines = ([.run(identity)] + entries).map { JournalLine.encoded($0) }
      return try JournalContents(Data(lines.joined()), file: "")
    }
    let results = Self.results(2)
    let failed = try read([.batch(0, results[0]), failure("run/a.bin", 0), failure("run/a.bin", 0)])
    #expect(failed.settled == 3 && failed.results.count == 1)
    #expect(failed.failures[0]?.batch == 1 && failed.failures[0]?.error == error.description)
    let both = try read([failure("run/a.bin", 0), failure("run/b.bin", 1)])
    #expect(both.settled == 6)
    let mended = try read([failure("run/a.bin", 0), .batch(1, results[1])])
    #expect(mended.settled == 1 && mended.failures.isEmpty)
    let grown = try read([failure("run/a.bin", 0), .run(identity)])
    #expect(grown.settled == 0, "a run that grows tries it again")
    for (name, index) in [
      ("run/a.bin", 1), ("run/a.bin", 2), ("run/a.bin", -1), ("run/a.bin", nil),
    ] {
      #expect(throws: JournalError.self) { try read([failure(name, index)]) }
    }
  }

  /// Methods, dampings, draws and layers may be more; then each batch is scored again.
  @Test func moreOfEachBatchIsScoredAgain() throws {
    let results = Self.numbered(Self.results(2))
    func identity(_ change: (inout EvaluationOptions) -> Void) throws -> RunIdentity {
      var options = EvaluationOptions()
      options.monteCarloSamples = [1]
      options.scoresStoredUpdates = false
      change(&options)
      return RunIdentity(try Self.record(options, ["a.bin"]), Self.plan(batches: 3))
    }
    let before = try identity { _ in }
    let growths: [(inout EvaluationOptions) -> Void] = [
      { $0.methods.insert(.kfac, at: 0) }, { $0.dampings.append(.init("1")!) },
      { $0.monteCarloSamples = [4, 1] }, { $0.perLayer = true },
    ]
    for growth in growths {
      let now = try identity(growth)
      let carried = now.carried(results, from: before)
      #expect(carried.differences == [] && carried.results.isEmpty && carried.outdated == 2)
      #expect(before.carried(results, from: now).differences.count == 1, "less is refused")
    }
  }

  /// The same lists in another order ask for nothing more; rows are then in the order of this run.
  @Test func theOrderOfListsIsNoDifference() throws {
    var options = EvaluationOptions()
    options.methods = [.sgd, .ef, .sf]
    options.dampings = [.init("1")!, .init("rel:1e-3")!]
    options.monteCarloSamples = [1, 4]
    let plan = Self.plan(batches: 1)
    let before = RunIdentity(try Self.record(options, ["a.bin"]), plan)
    options.methods.reverse()
    options.dampings.reverse()
    options.monteCarloSamples.reverse()
    let now = RunIdentity(try Self.record(options, ["a.bin"]), plan)
    var result = Self.results(1)[0]
    func row(_ label: String) -> Score {
      let parts = label.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
      var row = result.scores[0]
      (row.method, row.role) = (parts[0], parts[0] == "ng" ? .reference : .method)
      row.damping = parts[1].isEmpty ? nil : parts[1]
      row.monteCarloSamples = Int(parts[2])
      return row
    }
    func labels(_ scores: [Score]) -> [String] {
      scores.map {
        "\($0.method) \($0.damping ?? "") \($0.monteCarloSamples.map(String.init) ?? "")"
      }
    }
    let own = [
      "sgd  ", "ef 1 ", "ef rel:1e-3 ", "sf 1 1", "sf rel:1e-3 1", "sf 1 4", "sf rel:1e-3 4",
      "update:x  ", "ng  ",
    ]
    result.scores = own.map(row)
    let carried = now.carried([0: result], from: before)
    #expect(carried.differences == [] && carried.outdated == 0)
    #expect(
      carried.results.values.flatMap { labels($0.scores) } == [
        "sf rel:1e-3 4", "sf 1 4", "sf rel:1e-3 1", "sf 1 1", "ef rel:1e-3 ", "ef 1 ", "sgd  ",
        "update:x  ", "ng  ",
      ])
    let back = before.carried(carried.results, from: now).results.values
    #expect(back.flatMap { labels($0.scores) } == own)
  }

  /// Lines of a run that has grown follow those of the run before.
  @Test func aRunGrowsInItsJournal() throws {
    let folder = try Folder()
    try folder.write(Self.results(3), isReported: true)
    let before = try folder.bytes
    let longer = Self.plan(batches: 5)
    do {
      let journal = try folder.journal(resume: true, plan: longer)
      #expect(journal.finished.count == 3)
      try journal.append(Self.results(4)[3], at: 3)
    }
    #expect(try folder.bytes.starts(with: before), "what was there stays")
    do {
      let journal = try folder.journal(resume: true, plan: longer)
      #expect(journal.finished.mapValues(\.batch) == [0: 0, 1: 1, 2: 2, 3: 3])
      try journal.append(Self.results(5)[4], at: 4)
      try journal.markReported()
    }
    #expect(try folder.journal(resume: true, plan: longer).finished.count == 5)
    let contents = try JournalContents(folder.bytes, file: "")
    #expect(contents.isReported && contents.results.count == 5)
    let text = String(decoding: try folder.bytes, as: UTF8.self)
    #expect(text.split(separator: "\n").count == 1 + 3 + 1 + 1 + 1 + 1 + 1)
    #expect(
      try #require(folder.error(resume: true)).contains(
        "batch 3 of run/a.bin is in the journal, and no batch of this run"), "it does not shrink")
  }

  @Test func aFinishedRunIsReplacedByTheSameAlone() throws {
    let folder = try Folder()
    try folder.write(Self.results(3), isReported: true)
    let before = try folder.bytes
    var options = EvaluationOptions()
    options.cgGap = 0.5
    #expect(
      folder.error(resume: false, options) == """
        the results of another run are in this folder, 3 batches
          at \(folder.file)
          cg gap is 0.5 now, 0.001 in the journal
          Give another folder as output, or replace them by force.
        """)
    #expect(try folder.bytes == before)
    #expect(try folder.journal(resume: false).finished.isEmpty)
    let journal = try Journal(
      folder: folder.url.path, record: Self.record(options, ["a.bin"]),
      plan: Self.plan(batches: 3), .replace)
    try journal.append(Self.results(1)[0], at: 0)
    #expect(try JournalContents(folder.bytes, file: "").results.count == 1)
  }

  // MARK: Shards

  /// Every batch is in one part, parts are contiguous, and their lengths differ by one at most.
  @Test func partsCoverARun() throws {
    for total in 0..<40 {
      for count in 1..<12 {
        let parts = (1...count).compactMap { Shard($0, of: count)?.part(of: total) }
        #expect(parts.count == count)
        #expect(parts.flatMap { Array($0) } == Array(0..<total))
        #expect(try #require(parts.map(\.count).max()) - (parts.map(\.count).min() ?? 0) <= 1)
      }
    }
    #expect(Shard(0, of: 3) == nil && Shard(4, of: 3) == nil)
    let plan = Self.plan(batches: 4, paths: ["a", "b"]).part(Shard(2, of: 3))
    #expect(plan.numbers == 3..<6)
    #expect(plan.step(2) == nil)
    #expect(plan.step(3) == .init(checkpoint: 0, batch: 3))
    #expect(plan.step(4) == .init(checkpoint: 1, batch: 0))
    #expect(plan.numbers(ofCheckpoint: 0) == 3..<4)
    #expect(plan.numbers(ofCheckpoint: 1) == 4..<6)
  }

  // MARK: Files

  @Test func whatWasAppendedIsThereAfterwards() throws {
    let folder = try Folder()
    let results = Self.results(3)
    var journal: Journal? = try folder.journal(resume: false)
    #expect(!folder.exists, "nothing is there before the first batch")
    for (number, result) in results.prefix(2).enumerated() {
      try journal?.append(result, at: number)
    }
    journal = nil
    journal = try folder.journal(resume: true)
    #expect(try #require(journal).isResumed)
    #expect(try Self.lines(#require(journal).finished) == Self.lines(results.prefix(2)))
    try journal?.append(results[2], at: 2)
    try journal?.markReported()
    journal = nil
    let whole = try folder.bytes
    // A run that has ended is read as a whole and not changed.
    journal = try folder.journal(resume: true)
    #expect(try Self.lines(#require(journal).finished) == Self.lines(results))
    try journal?.markReported()
    #expect(try folder.bytes == whole)
  }

  /// Wherever the last line was cut, its batch alone is lost, and the file goes on as if it had
  /// never been begun.
  @Test func aLineCutAtAnyByteIsDropped() throws {
    let folder = try Folder()
    let results = Self.results(3, traceRows: 1)
    try folder.write(results)
    let whole = try folder.bytes
    let last = JournalLine.encoded(.batch(2, results[2])).count
    let before = whole.count - last
    for length in before..<whole.count {
      try folder.replace(whole.prefix(length))
      let contents = try JournalContents(whole.prefix(length), file: "")
      #expect(contents.results.count == 2 && contents.length == before, "at \(length)")
    }
    // Files at a few places, which is enough for what is done with the rest.
    for length in [before, before + 1, whole.count - 2, whole.count - 1] {
      try folder.replace(whole.prefix(length))
      do {
        let journal = try folder.journal(resume: true)
        #expect(journal.finished.count == 2)
        try journal.append(results[2], at: 2)
      }
      #expect(try folder.bytes == whole, "cut at \(length)")
    }
  }

  /// Also the first line, after which there is nothing.
  @Test func aFileCutAtAnyByteIsReadUpToThere() throws {
    let folder = try Folder()
    try folder.write(Self.results(2, traceRows: 0))
    let whole = try folder.bytes
    let ends = whole.indices.filter { whole[$0] == UInt8(ascii: "\n") }
    for length in 0...whole.count {
      let contents = try JournalContents(whole.prefix(length), file: "")
      let lines = ends.count { $0 < length }
      #expect((contents.identity != nil) == (lines > 0), "at \(length)")
      #expect(contents.results.count == max(lines - 1, 0), "at \(length)")
    }
  }

  /// Whatever byte of a file has changed, what is read of it is what was written.
  @Test func aChangedByteIsAnErrorOrTheEndOfTheFile() throws {
    let folder = try Folder()
    let results = Self.results(2, traceRows: 0)
    try folder.write(results)
    let whole = try folder.bytes
    let lines = Self.lines(results)
    for index in stride(from: 0, to: whole.count, by: 7) {
      for mask: UInt8 in [1, 0x80] {
        var changed = whole
        changed[changed.startIndex + index] ^= mask
        guard let contents = try? JournalContents(changed, file: "") else { continue }
        let read = Self.lines(contents.results)
        #expect(read.count < 2 && read == Array(lines.prefix(read.count)), "byte \(index)")
      }
    }
  }

  @Test func anUnfinishedRunIsNotOverwritten() throws {
    let folder = try Folder()
    try folder.write(Self.results(2))
    let before = try folder.bytes
    let error = folder.error(resume: false)
    #expect(
      error == """
        an unfinished run has 2 of 3 batches in this folder
          at \(folder.file)
          Go on with it by resume, or give up what it has by force.
        """)
    #expect(try folder.bytes == before)
  }

  /// All batches are there and no report: they would be lost.
  @Test func aRunWithoutItsReportsIsUnfinished() throws {
    let folder = try Folder()
    try folder.write(Self.results(3))
    #expect(try #require(folder.error(resume: false)).contains("3 of 3 batches"))
    try folder.write(Self.results(3), isReported: true)
    let journal = try folder.journal(resume: false)
    try journal.append(Self.results(1)[0], at: 0)
    #expect(try JournalContents(folder.bytes, file: "").results.count == 1)
  }

  @Test func anotherRunIsRefusedWithWhatDiffers() throws {
    let folder = try Folder()
    try folder.write(Self.results(2))
    let before = try folder.bytes
    var options = EvaluationOptions()
    options.cgTolerance = 1e-3
    #expect(
      folder.error(resume: true, options) == """
        the journal is of another run, which this one cannot resume
          at \(folder.file)
          cg tolerance is 0.001 now, 1e-06 in the journal
          Repeat the options and inputs of that run, or give another folder as output.
        """)
    #expect(try folder.bytes == before)
  }

  @Test func damageIsNamedAndLeftAlone() throws {
    let folder = try Folder()
    let results = Self.results(3, traceRows: 0)
    try folder.write(results)
    let lines = try folder.bytes.split(separator: UInt8(ascii: "\n")).map { Data($0) }
    func error(_ change: (inout [Data]) -> Void) throws -> String {
      var changed = lines
      change(&changed)
      let bytes = Data(changed.map { $0 + Data("\n".utf8) }.joined())
      try folder.replace(bytes)
      let errors = [true, false].map { folder.error(resume: $0) }
      #expect(errors[0] == errors[1])
      #expect(try folder.bytes == bytes)
      return try #require(errors[0]).replacingOccurrences(of: folder.file, with: "FILE")
    }
    let second = lines[0].count + 1
    #expect(
      try error { $0[1][$0[1].startIndex + 100] ^= 1 } == """
        the journal is damaged: the line does not have its checksum
          at FILE, line 2, byte \(second)
          Restore the file, or cut it before this byte to keep the batches above and resume.
        """)
    #expect(
      try error { $0[1] = Data("{}".utf8) }.hasPrefix(
        "the journal is damaged: the line is not one that a run has written\n"))
    #expect(
      try error { $0[2] = $0[1] }.hasPrefix(
        "the journal is damaged: the line is batch 0 of run/a.bin, expected batch 1 of run/a.bin\n"
      ))
    var other = RunIdentity(
      try Self.record(EvaluationOptions(), ["a.bin"]), Self.plan(batches: 3))
    other.version = "9"
    let begun = JournalLine.encoded(.run(other)).dropLast()
    #expect(
      try error { $0.append(begun) }.hasPrefix(
        "the journal is damaged: the line is the beginning of another run, expected the end of the "
          + "run\n"))
    #expect(
      try error { $0[0] = Data("checkpoint,batch".utf8) } == """
        this is not a journal of eval-cli
          at FILE
          Move the file away, or give another folder as output.
        """)
  }

  /// Where blocks of the last line did not reach the disk before the power went, they read as zeros.
  @Test func aLastLineWithLostBlocksIsDropped() throws {
    let folder = try Folder()
    let results = Self.results(3)
    try folder.write(results)
    let whole = try folder.bytes
    let last = JournalLine.encoded(.batch(2, results[2])).count
    let first = try #require(whole.firstIndex(of: UInt8(ascii: "\n"))) + 1
    for (start, end, left) in [
      (whole.count - last, whole.count, 2), (whole.count - last, whole.count - 1, 2),
      (whole.count - last + 512, whole.count - 512, 2),
    ] {
      var torn = whole
      torn.replaceSubrange(start..<end, with: Data(count: end - start))
      try folder.replace(torn)
      do {
        let journal = try folder.journal(resume: true)
        #expect(journal.finished.count == left)
        for number in left..<3 { try journal.append(results[number], at: number) }
      }
      #expect(try folder.bytes == whole)
    }
    // The first line alone, whole or cut, its first block there or not.
    for (start, end, length) in [
      (0, 512, first), (0, first, first), (0, 512, first - 20), (512, first, first),
      (512, first - 1, first),
    ] {
      var torn = whole.prefix(first)
      torn.replaceSubrange(start..<end, with: Data(count: end - start))
      try folder.replace(torn.prefix(length))
      #expect(try folder.journal(resume: true).finished.isEmpty, "\(start) to \(end)")
    }
    // With lines after it, it is damage.
    var damaged = whole
    damaged.replaceSubrange(first..<first + 600, with: Data(count: 600))
    try folder.replace(damaged)
    #expect(try #require(folder.error(resume: true)).hasPrefix("the journal is damaged"))
  }

  /// Counts that no run has written, with the right checksum.
  @Test(arguments: [
    #""firstBatch":9223372036854775807"#, #""firstBatch":-1"#,
    #""batches":9223372036854775808"#, #""batches":-9223372036854775808"#,
    #""batches":-1"#, #""batches":1e400"#, #""bytes":-5"#,
  ])
  func impossibleCountsOfARunAreDamage(_ change: String) throws {
    let folder = try Folder()
    try folder.write(Self.results(1, traceRows: 0))
    let error = try folder.errorAfterReplacing(line: 0, field: change)
    #expect(error == "the journal is damaged: the content of the line is not what it announces")
  }

  @Test(arguments: [
    #""batch":-1"#, #""batch":-9223372036854775808"#, #""samples":-9223372036854775808"#,
    #""recomputedSamples":-1"#, #""samples":9223372036854775808"#, #""samples":-1"#,
    #""number":-1"#, #""number":9223372036854775808"#,
  ])
  func impossibleCountsOfABatchAreDamage(_ change: String) throws {
    let folder = try Folder()
    try folder.write(Self.results(1, traceRows: 0))
    let error = try folder.errorAfterReplacing(line: 1, field: change)
    #expect(error == "the journal is damaged: the content of the line is not what it announces")
  }

  /// Numbers at the ends of the range that a batch might have are told as they are.
  @Test(arguments: [
    #""samples":9223372036854775807"#, #""batch":9223372036854775807"#,
    #""number":9223372036854775807"#,
  ])
  func largeCountsAreNoTrap(_ change: String) throws {
    let folder = try Folder()
    try folder.write(Self.results(1, traceRows: 0))
    #expect(
      try folder.errorAfterReplacing(line: 0, field: #""batches":9223372036854775807"#)
        == nil)
    try folder.write(Self.results(1, traceRows: 0))
    let error = try folder.errorAfterReplacing(line: 1, field: change)
    if change.contains("samples") {
      #expect(error == nil)
      let results = try folder.journal(resume: true).finished
      #expect(!Self.plan(batches: 1).report(results).text.isEmpty)
    } else {
      let batch = change.contains("batch") ? "9223372036854775807" : "0"
      #expect(try #require(error).contains("the line is batch \(batch) of"))
    }
  }

  @Test func whatIsNoFileIsNoJournal() throws {
    let folder = try Folder()
    try FileManager.default.createDirectory(at: folder.url, withIntermediateDirectories: true)
    let makers: [(String) throws -> Void] = [
      { #expect(mkfifo($0, 0o600) == 0) },
      { try FileManager.default.createDirectory(atPath: $0, withIntermediateDirectories: false) },
      { try FileManager.default.createSymbolicLink(atPath: $0, withDestinationPath: "/dev/zero") },
      { try FileManager.default.createSymbolicLink(atPath: $0, withDestinationPath: "absent") },
    ]
    for make in makers {
      try make(folder.file)
      for resume in [true, false] {
        #expect(
          try #require(folder.error(resume: resume)).hasPrefix(
            "this is not a journal of eval-cli\n"))
      }
      try FileManager.default.removeItem(atPath: folder.file)
    }
  }

  /// The results went into a file that nobody can open any more.
  @Test func aJournalThatIsRemovedIsNoticed() throws {
    for replace in [false, true] {
      let folder = try Folder()
      let journal = try folder.journal(resume: false)
      let results = Self.results(3)
      try journal.append(results[0], at: 0)
      try FileManager.default.removeItem(at: folder.url)
      if replace {
        try FileManager.default.createDirectory(at: folder.url, withIntermediateDirectories: true)
        try folder.replace(Data())
      }
      #expect(
        Self.message { try journal.append(results[1], at: 1) }.hasPrefix(
          "the journal, or its folder, was removed or replaced while the run was writing it\n"))
    }
  }

  /// Neither run had found a journal when it began.
  @Test func theSecondOfTwoRunsIsToldOfTheFirst() throws {
    let folder = try Folder()
    let (first, second) = (
      try folder.journal(resume: false), try folder.journal(resume: true)
    )
    let results = Self.results(2)
    try first.append(results[0], at: 0)
    let whole = try folder.bytes
    #expect(
      Self.message { try second.append(results[0], at: 0) }.hasPrefix(
        "another run is writing into this folder\n"))
    #expect(try folder.bytes == whole)
    try first.append(results[1], at: 1)
  }

  private static func message(_ body: () throws -> Void) -> String {
    do {
      try body()
      return "no error was thrown"
    } catch {
      return "\(error)"
    }
  }

  @Test func theProcessorIsPartOfTheIdentity() throws {
    let plan = Self.plan(batches: 3)
    let before = RunIdentity(try Self.record(EvaluationOptions(), ["a.bin"]), plan)
    var now = before
    now.kernels = "x"
    now.blas = "y"
    #expect(
      now.carried([:], from: before).differences.map(\.description) == [
        "the set of kernels for the processor is x now, \(before.kernels) in the journal",
        "the BLAS on the processor is y now, \(before.blas) in the journal",
      ])
    #expect(!before.kernels.isEmpty && !before.blas.isEmpty)
  }

  @Test func twoRunsDoNotShareAFolder() throws {
    let folder = try Folder()
    let journal = try folder.journal(resume: false)
    try journal.append(Self.results(1)[0], at: 0)
    #expect(
      folder.error(resume: true) == """
        another run is writing into this folder
          at \(folder.file)
          Wait until it ends, or give another folder as output.
        """)
    withExtendedLifetime(journal) {}
  }

  // MARK: Made-up runs

  private static func plan(batches: Int, paths: [String] = ["run/a.bin"]) -> RunPlan {
    RunPlan(
      paths.map { path in
        RunPlan.Checkpoint(
          description: CheckpointDescription(
            path: path, epoch: 3, step: nil, model: "sequential", loss: "mse",
            trainableParameters: 10, allParameters: 12, positions: 1, classes: 2),
          batches: 0..<batches)
      })
  }

  private static func file(_ path: String, _ sum: String) -> FileRecord {
    FileRecord(path: path, bytes: 5, sha256: sum)
  }

  private static func record(
    _ options: EvaluationOptions, _ files: [String]
  ) throws -> RunRecord {
    var record = try RunRecord(
      command: [], options: options, files: InputFiles(), start: POSIXFileSystem().now)
    record.files = files.map { file($0, "aa") }
    return record
  }

  private static func results(_ count: Int, traceRows: Int = 3) -> [BatchResult] {
    var random = MadeUp(seed: 5)
    return (0..<count).map { random.result(batch: $0, traceRows: traceRows) }
  }

  private static func lines(_ results: some Sequence<BatchResult>) -> [Data] {
    results.enumerated().map { JournalLine.encoded(.batch($0, $1)) }
  }

  private static func lines(_ results: [Int: BatchResult]) -> [Data] {
    results.sorted { $0.key < $1.key }.map { JournalLine.encoded(.batch($0.key, $0.value)) }
  }

  /// From 0 on.
  private static func numbered(_ results: [BatchResult]) -> [Int: BatchResult] {
    Dictionary(uniqueKeysWithValues: results.enumerated().map { ($0, $1) })
  }

  private final class Folder {
    let url: URL

    init() throws {
      url = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    }

    deinit { try? FileManager.default.removeItem(at: url) }

    var file: String { url.appendingPathComponent(Journal.name).path }
    var exists: Bool { FileManager.default.fileExists(atPath: file) }
    var bytes: Data { get throws { try Data(contentsOf: URL(fileURLWithPath: file)) } }

    func journal(
      resume: Bool, _ options: EvaluationOptions = EvaluationOptions(),
      plan: RunPlan = JournalTests.plan(batches: 3)
    ) throws -> Journal {
      try Journal(
        folder: url.path, record: JournalTests.record(options, ["a.bin"]),
        plan: plan, resume ? .resume : .new)
    }

    func error(resume: Bool, _ options: EvaluationOptions = EvaluationOptions()) -> String? {
      do {
        _ = try journal(resume: resume, options)
        return nil
      } catch {
        return "\(error)"
      }
    }

    /// A new file with these batches.
    func write(_ results: [BatchResult], isReported: Bool = false) throws {
      try? FileManager.default.removeItem(at: url)
      let journal = try journal(resume: false)
      for (number, result) in results.enumerated() {
        try journal.append(result, at: number)
      }
      if isReported { try journal.markReported() }
    }

    /// The first line of the error that a field of a line gives, with a checksum that fits.
    func errorAfterReplacing(line: Int, field: String) throws -> String? {
      var lines = try bytes.split(separator: UInt8(ascii: "\n")).map {
        String(decoding: $0, as: UTF8.self)
      }
      let key = field.prefix { $0 != ":" }
      let content = try #require(
        lines[line].range(of: #"","(run|batch)":"#, options: .regularExpression))
      var text = String(lines[line][content.upperBound...].dropLast())
      let old = try #require(text.range(of: "\(key):-?[0-9]+", options: .regularExpression))
      text.replaceSubrange(old, with: field)
      let kind = String(lines[line][content]).dropFirst(3).dropLast(2)
      let sum = SHA256.hash(data: Data(text.utf8)).hexadecimal
      lines[line] = "{\"sha256\":\"\(sum)\",\"\(kind)\":\(text)}"
      try replace(Data(lines.map { $0 + "\n" }.joined().utf8))
      return error(resume: true)?.split(separator: "\n").first.map(String.init)
    }

    func replace(_ bytes: Data) throws { try bytes.write(to: URL(fileURLWithPath: file)) }
  }
}

/// Results with numbers of every kind.
private struct MadeUp {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

  /// splitmix64 (Steele, Lea and Flood 2014).
  private mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }

  private mutating func number() -> Double {
    let special: [Double] = [
      0, -0.0, .infinity, -.infinity, .nan, .leastNonzeroMagnitude, -.leastNormalMagnitude,
      .greatestFiniteMagnitude, 1, 0.1, 1e23, 0x1.8p-1040, -0x1p53, 1e22,
    ]
    let choice = next() % 20
    if choice < UInt64(special.count) { return special[Int(choice)] }
    // All bit patterns are as likely, NaNs with a payload too.
    return Double(bitPattern: next())
  }

  private mutating func optional() -> Double? { next() % 3 == 0 ? nil : number() }

  private mutating func text() -> String {
    let texts = [
      "ef", "update:a \"b\"\\", "über/路径.bin", "\u{1F600}\n\t\u{7}", "", "/a/b", "\u{2028}",
    ]
    return texts[Int(next() % UInt64(texts.count))]
  }

  private mutating func settingText() -> SettingText { "\(text())\(.memory)\(text())" }

  mutating func result(batch: Int, traceRows: Int = 20) -> BatchResult {
    var result = BatchResult(
      checkpoint: "run/a.bin", epoch: next() % 2 == 0 ? nil : Int.max, step: nil, batch: batch,
      precision: next() % 2 == 0 ? .float32 : .float64, isRepeated: next() % 2 == 0,
      overflowsInSingle: next() % 2 == 0, samples: 8, recomputedSamples: 0, loss: number(),
      meanLoss: number(), gradientNorm: number(),
      gradientNormRatio: number(), logitGradientNormRatio: number(), gammaBound: number(),
      reference: nil, trace: [], scores: [], seconds: number())
    result.reference = ReferenceRecord(
      kind: .cg, gamma: number(), iterations: next() % 2 == 0 ? nil : 3, residual: number(),
      stop: text(), explanation: settingText(),
      status: ReferenceStatus.allCases[Int(next() % 4)],
      advice: next() % 2 == 0 ? nil : settingText(),
      replacement: next() % 2 == 0 ? nil : text())
    for index in 0..<traceRows {
      result.trace.append(
        TraceRow(
          iteration: index, relativeResidual: number(), gamma: number(), seconds: number()))
    }
    for index in 0..<6 {
      result.scores.append(
        Score(
          method: text(), family: text(), role: [.method, .baseline, .reference][Int(next() % 3)],
          damping: index % 2 == 0 ? nil : text(), lambda: optional(),
          gamma: number(), gammaRelativeToSGD: optional(), gammaRelativeToReference: optional(),
          efficiency: optional(), efficiencyLow: number(), fisherQuadratic: number(),
          gradientDot: number(), updateNorm: number(), cosineGradient: number(),
          cosineReference: optional(), seconds: number(), gammaError: optional(),
          defect: [nil, .flat, .underflow, .invalid][Int(next() % 4)]))
    }
    return result
  }
}
