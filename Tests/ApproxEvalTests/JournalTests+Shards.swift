import Checkpoints
import Crypto
import Foundation
import TestSupport
import Testing

@testable import ApproxEval

/// Runs in parts, and runs that leave checkpoints out.
extension JournalTests {
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
}
