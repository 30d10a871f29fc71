import Checkpoints
import Crypto
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// Runs that grow.
extension JournalTests {
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
}
