import Foundation
import Testing

@testable import ApproxEval

extension CommandLineTests {
  /// Runs that end early and go on: nothing is lost, and nothing can be seen afterwards.
  @Suite struct ResumeTests {
    /// Two checkpoints by `batches` batches.
    static func arguments(batches: Int = 3, threads: Int = 1) -> [String] {
      [
        "score", Fixture.path("digits/epoch-03.bin"), Fixture.path("digits/epoch-20.bin"),
        "--data", Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--batches",
        "\(batches)", "--cg-iterations", "4", "--damping", "0,1e-3", "--threads",
        "\(threads)",
      ]
    }

    private static func start(
      _ folder: TemporaryFolder, _ name: String, batches: Int = 3, threads: Int = 1,
      _ more: [String] = []
    ) throws -> Command.Running {
      try Command.start(
        arguments(batches: batches, threads: threads) + ["--output", folder.path(name)] + more)
    }

    private static func expectSameReports(
      _ folder: TemporaryFolder, _ a: String, _ b: String,
      sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      for table in ["scores", "batches", "cg"] {
        let texts = try [a, b].map { try csvWithoutSeconds(folder.path("\($0)/\(table).csv")) }
        #expect(texts[0].count > 2)
        #expect(texts[0] == texts[1], "\(table) of \(b)", sourceLocation: sourceLocation)
      }
      // No seconds are in it: the same bytes.
      let summaries = try [a, b].map {
        try Data(contentsOf: folder.url.appendingPathComponent("\($0)/summary.csv"))
      }
      #expect(summaries[0] == summaries[1], "summary of \(b)", sourceLocation: sourceLocation)
    }

    private static func run(_ folder: TemporaryFolder, _ name: String) throws -> [String: Any] {
      let data = try Data(contentsOf: folder.url.appendingPathComponent("\(name)/run.json"))
      return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    @Test func aRunResumedAfterAnyBatchReportsTheSame() throws {
      let folder = try TemporaryFolder()
      #expect(try Self.start(folder, "whole").result().status == 0)
      let journal = try Data(
        contentsOf: folder.url.appendingPathComponent("whole/journal.jsonl"))
      let lines = journal.split(separator: UInt8(ascii: "\n"))
      #expect(lines.count == 8, "the run, its batches, the end")
      for batches in 0...6 {
        let name = "after-\(batches)"
        try FileManager.default.createDirectory(
          atPath: folder.path(name), withIntermediateDirectories: false)
        // The next line is cut as well.
        let next = batches < 6 ? Data(lines[batches + 1].prefix(99)) : Data()
        let kept = lines[0...batches].map { $0 + Data("\n".utf8) }.joined()
        try (Data(kept) + next).write(
          to: folder.url.appendingPathComponent("\(name)/journal.jsonl"))
        let result = try Self.start(folder, name, ["--resume"]).result()
        #expect(result.status == 0, "\(result.error)")
        #expect(result.error.hasPrefix("resumed: \(batches) of 6 batches are in the journal\n"))
        try Self.expectSameReports(folder, "whole", name)
        let run = try Self.run(folder, name)
        #expect(run["complete"] as? Bool == true)
        #expect(run["batches_resumed"] as? Int == batches)
      }
      // What has ended is only reported again.
      let again = try Self.start(folder, "whole", threads: 2, ["--resume"]).result()
      #expect(again.status == 0)
      // Where lines end depends on how long the folder's name is.
      #expect(
        again.error.split(whereSeparator: \.isWhitespace).joined(separator: " ")
          == "resumed: 6 of 6 batches are in the journal written: \(folder.path("whole")) (run.json, "
          + "scores.csv, batches.csv, cg.csv, summary.csv); eval-cli report makes a page of it")
      #expect(again.output == (try Self.start(folder, "after-2", ["--resume"]).result().output))
      try Self.expectSameReports(folder, "after-0", "whole")
    }

    /// At any moment: while files are opened, batches scored, lines or reports written.
    @Test func aRunThatIsKilledAgainAndAgainReportsTheSame() throws {
      let folder = try TemporaryFolder()
      let batches = 8
      let clock = ContinuousClock()
      let begin = clock.now
      #expect(try Self.start(folder, "whole", batches: batches).result().status == 0)
      let time = (clock.now - begin) / .seconds(1)
      let seed = UInt64.random(in: 0...999)
      var random = Seeded(state: seed)
      var finished = 0
      for _ in 0..<4 {
        let running = try Self.start(folder, "killed", batches: batches, ["--resume"])
        Thread.sleep(forTimeInterval: random.fraction() * time / 2)
        kill(running.process.processIdentifier, SIGKILL)
        _ = try running.result()
        // What was once in the journal stays in it.
        let lines = try Self.journalLines(folder, "killed")
        #expect(lines >= finished, "seed \(seed)")
        finished = lines
      }
      let last = try Self.start(folder, "killed", batches: batches, ["--resume"]).result()
      #expect(last.status == 0, "seed \(seed): \(last.error)")
      try Self.expectSameReports(folder, "whole", "killed")
      let files = try FileManager.default.contentsOfDirectory(atPath: folder.path("killed"))
      #expect(files.count == 6, "seed \(seed): \(files)")
    }

    private struct Seeded {
      var state: UInt64

      /// In `0 ..< 1`.
      mutating func fraction() -> Double {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Double(state >> 11) * 0x1p-53
      }
    }

    private static func journalLines(_ folder: TemporaryFolder, _ name: String) throws -> Int {
      let path = folder.path("\(name)/journal.jsonl")
      guard let data = FileManager.default.contents(atPath: path) else { return 0 }
      return data.count { $0 == UInt8(ascii: "\n") }
    }

    // MARK: Interruption

    @Test(arguments: [SIGINT, SIGTERM]) func anInterruptedRunIsReported(_ signal: Int32) throws {
      // A test that was started in the background may have it ignored, and so would its child.
      Foundation.signal(SIGINT, SIG_DFL)
      let folder = try TemporaryFolder()
      let batches = 40
      let running = try Self.start(folder, "cut", batches: batches)
      let clock = ContinuousClock()
      let begin = clock.now
      while try Self.journalLines(folder, "cut") < 3 && clock.now - begin < .seconds(120) {
        Thread.sleep(forTimeInterval: 0.01)
      }
      kill(running.process.processIdentifier, signal)
      let result = try running.result()
      #expect(running.process.terminationReason == .exit)
      #expect(result.status == 130, "\(result.error)")
      let run = try Self.run(folder, "cut")
      #expect(run["complete"] as? Bool == false)
      #expect(run["batches_planned"] as? Int == 80)
      let finished = try #require(run["batches_finished"] as? Int)
      #expect((2..<80).contains(finished))
      // One line is the run's.
      #expect(try Self.journalLines(folder, "cut") == finished + 1)
      #expect(try csvRows(folder.path("cut/batches.csv")).count == finished)
      #expect(
        result.error.hasSuffix(
          "interrupted after \(finished) of 80 batches; the same command with --resume goes on\n"))
      #expect(result.output.contains("Reference: "), "what is finished is printed")
      if signal == SIGINT { return }
      #expect(try Self.start(folder, "cut", batches: batches, ["--resume"]).result().status == 0)
      #expect(try Self.start(folder, "whole", batches: batches).result().status == 0)
      try Self.expectSameReports(folder, "whole", "cut")
    }

    /// The reports are there: the next run need not be told to leave them alone.
    @Test func aReaderThatLeavesDoesNotLeaveTheRunUnfinished() throws {
      let folder = try TemporaryFolder()
      let arguments = Self.arguments() + ["--output", folder.path("r")]
      _ = try Command.start(arguments, shell: "\"$0\" \"$@\" | true").result()
      #expect(try Self.journalLines(folder, "r") == 8)
      #expect(try Self.run(folder, "r")["complete"] as? Bool == true)
      #expect(try Command.run(arguments).status == 0)
    }

    // MARK: What is refused

    @Test func anotherRunIsRefused() throws {
      let folder = try TemporaryFolder()
      let checkpoint = folder.path("checkpoint.bin")
      try CheckpointDraft().write(to: checkpoint)
      let base = [
        "score", checkpoint, "--batch-size", "8", "--batches", "2", "--quiet", "--output",
        folder.path("r"),
      ]
      #expect(try Command.run(base).status == 0)
      let before = try Data(contentsOf: folder.url.appendingPathComponent("r/journal.jsonl"))

      let options = try Command.run(base + ["--resume", "--damping", "1", "--seed", "2"])
      #expect(options.status == 64)
      #expect(options.output == "")
      #expect(
        options.error == """
          error: the journal is of another run, which this one cannot resume
            at \(folder.path("r/journal.jsonl"))
            --damping is 1 now, rel:1e-7 in the journal
            --seed is 2 now, 1337 in the journal
            Repeat the options and inputs of that run, or give another folder as --output.

          """)

      let sum = try FileRecord(path: checkpoint).sha256.prefix(12)
      var draft = try CheckpointDraft()
      draft.set("params.2.weight", 3, 0.25)
      try draft.write(to: checkpoint)
      let new = try FileRecord(path: checkpoint)
      let input = try Command.run(base + ["--resume"])
      #expect(input.status == 64)
      #expect(
        input.error == """
          error: the journal is of another run, which this one cannot resume
            at \(folder.path("r/journal.jsonl"))
            \(checkpoint) has changed: \(new.bytes) bytes with SHA-256 \(new.sha256.prefix(12))… \
          now, 2984 bytes with SHA-256 \(sum)… in the journal
            Repeat the options and inputs of that run, or give another folder as --output.

          """)
      #expect(
        try Data(contentsOf: folder.url.appendingPathComponent("r/journal.jsonl")) == before)
    }

    @Test func anUnfinishedRunIsNotOverwritten() throws {
      let folder = try TemporaryFolder()
      #expect(try Self.start(folder, "r").result().status == 0)
      let journal = folder.url.appendingPathComponent("r/journal.jsonl")
      let whole = try Data(contentsOf: journal)
      let lines = whole.split(separator: UInt8(ascii: "\n"))
      let cut = Data(lines[0...2].map { $0 + Data("\n".utf8) }.joined())
      try cut.write(to: journal)
      let result = try Self.start(folder, "r").result()
      #expect(result.status == 73)
      #expect(
        result.error == """
          error: an unfinished run has 2 of 6 batches in this folder
            at \(journal.path)
            Go on with it by --resume, or give up what it has by --force.

          """)
      #expect(try Data(contentsOf: journal) == cut)

      try (Data(lines[0] + Data("\n{}\n".utf8))).write(to: journal)
      let damaged = try Self.start(folder, "r", ["--resume"]).result()
      #expect(damaged.status == 65)
      #expect(damaged.error.hasPrefix("error: the journal is damaged: "))
      #expect(damaged.error.contains("line 2, byte \(lines[0].count + 1)\n"))
    }

    @Test func withoutAJournalTheRunBegins() throws {
      let folder = try TemporaryFolder()
      let result = try Self.start(folder, "r", ["--resume"]).result()
      #expect(result.status == 0)
      #expect(
        result.error.hasPrefix(
          "there is no journal at \(folder.path("r/journal.jsonl")): the run begins with its "
            + "first batch\n"))
    }

    // MARK: What fails midway

    /// A limit on the size of files is to a program what a full disk is.
    @Test func whatCannotBeWrittenEndsTheRunAndLosesNothing() throws {
      let folder = try TemporaryFolder()
      let arguments = Self.arguments() + ["--output", folder.path("r")]
      #expect(try Command.run(Self.arguments() + ["--output", folder.path("whole")]).status == 0)
      let line = try Data(contentsOf: folder.url.appendingPathComponent("whole/journal.jsonl"))
        .split(separator: UInt8(ascii: "\n"))
      // Room for the run and two batches and a half, in blocks of 512 bytes.
      let blocks = (line[0].count + line[1].count * 5 / 2) / 512
      let limited = try Command.start(
        arguments + ["--quiet"], shell: "ulimit -f \(blocks); exec \"$0\" \"$@\""
      ).result()
      #expect(limited.status == 73, "\(limited.error)")
      #expect(
        limited.error == """
          error: cannot write the file: File too large
            at \(folder.path("r/journal.jsonl"))
            The 2 batches before this one are kept: make room and go on with --resume.

          """)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path("r")).count == 1)
      let resumed = try Command.run(arguments + ["--resume"])
      #expect(resumed.status == 0)
      #expect(resumed.error.hasPrefix("resumed: 2 of 6 batches are in the journal\n"))
      try Self.expectSameReports(folder, "whole", "r")
    }

    @Test func batchesBeforeAnErrorAreReported() throws {
      let folder = try TemporaryFolder()
      var draft = try CheckpointDraft()
      draft.set("params.2.weight", 3, Double.nan)
      try draft.write(to: folder.path("bad.bin"))
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), folder.path("bad.bin"), "--output",
        folder.path("r"),
      ])
      #expect(result.status == 65)
      let start = "reported: 1 of 2 batches, those before an error\nerror: "
      #expect(result.error.hasPrefix(start), "\(result.error)")
      #expect(try csvRows(folder.path("r/batches.csv")).count == 1)
      #expect(try Self.run(folder, "r")["complete"] as? Bool == false)
    }
  }

  @Suite struct RunTests {
    @Test func oneBatchOfALongerRunCanBeRepeatedAlone() throws {
      let folder = try TemporaryFolder()
      let base = [
        "score", Fixture.path("digits/epoch-10.bin"), "--data",
        Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--cg-iterations", "4",
      ]
      let long = folder.path("long")
      #expect(try Command.run(base + ["--batches", "4", "--output", long]).status == 0)
      let one = try Command.run(
        base + ["--batches", "1", "--first-batch", "2", "--output", folder.path("one")])
      #expect(one.status == 0, "\(one.error)")
      for (table, column) in [("scores", 3), ("batches", 3), ("cg", 1)] {
        let rows = try csvWithoutSeconds(folder.path("one/\(table).csv"))
        let all = try csvWithoutSeconds(long + "/\(table).csv").filter {
          $0.isEmpty || ["batch", "2"].contains($0.components(separatedBy: ",")[column])
        }
        #expect(rows == all, "\(table)")
        #expect(rows.count > 2)
      }
    }

    @Test func strictRunsFailWithTheirReportsWritten() throws {
      let folder = try TemporaryFolder()
      let base = [
        "score", Fixture.path("digits/epoch-20.bin"), "--batch-size", "16", "--batches", "2",
        "--strict", "--quiet", "--output", folder.path("r"),
      ]
      let failed = try Command.run(base + ["--reference", "cg", "--cg-iterations", "2"])
      #expect(failed.status == 1)
      #expect(failed.output.contains("The reference did not converge"))
      try expectSnapshot(failed.error, "strict")
      let rows = try csvRows(folder.path("r/summary.csv"))
      #expect(rows.allSatisfy { $0["batches_reference_not_converged"] == "2" })
      let converged = try Command.run(base + ["--reference", "dense", "--force"])
      #expect(converged.status == 0, "\(converged.error)")
      #expect(
        try csvRows(folder.path("r/summary.csv")).allSatisfy {
          $0["batches_reference_not_converged"] == "0"
        })
    }
  }
}
