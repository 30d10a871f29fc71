import ApproxEval
import Foundation
import Testing

extension CommandLineTests {
  /// Files that change, vanish or are taken while the command is at work.
  @Suite struct FileChangeTests {
    /// A command that has opened its checkpoint and waits for the samples, which come by a pipe.
    private struct Waiting {
      let folder: TemporaryFolder
      let running: Command.Running
      var checkpoint: String { folder.path("last.bin") }

      init(_ command: [String], _ options: [String]) throws {
        let folder = try TemporaryFolder()
        self.folder = folder
        try FileManager.default.copyItem(
          atPath: Fixture.path("digits/epoch-03.bin"), toPath: folder.path("last.bin"))
        #expect(mkfifo(folder.path("pipe"), 0o600) == 0)
        running = try Command.start(
          command + [folder.path("last.bin"), "--data", folder.path("pipe")]
            + options.map { $0 == "OUT" ? folder.path("out") : $0 })
      }

      /// Lets it go on after a change. Opening the pipe waits until the command has opened it.
      func result(after change: () throws -> Void) throws -> Command.Result {
        let pipe = try #require(FileHandle(forWritingAtPath: folder.path("pipe")))
        try change()
        try pipe.write(
          contentsOf: Data(
            contentsOf: URL(fileURLWithPath: Fixture.path("digits/digits.safetensors"))))
        try pipe.close()
        return try running.result()
      }
    }

    private static let options = [
      "--batch-size", "16", "--batches", "2", "--cg-iterations", "4", "--quiet", "--output", "OUT",
    ]

    /// As a training run does that saves its last state again and again.
    @Test func aCheckpointThatIsReplacedIsNotVouchedFor() throws {
      let waiting = try Waiting(["score"], Self.options)
      let result = try waiting.result {
        try FileManager.default.copyItem(
          atPath: Fixture.path("digits/epoch-20.bin"), toPath: waiting.folder.path("new"))
        #expect(rename(waiting.folder.path("new"), waiting.checkpoint) == 0)
      }
      #expect(result.status == 65)
      #expect(
        result.error == """
          error: the file has changed while it was in use: another file has taken its name
            at \(waiting.checkpoint)
            Take a copy that nobody writes to, or wait until its writer has ended.

          """)
      #expect(!FileManager.default.fileExists(atPath: waiting.folder.path("out/run.json")))
    }

    @Test func aFileThatIsCutShortIsAnErrorThatNamesIt() throws {
      for (command, options) in [("score", Self.options), ("pack", ["--output", "OUT"])] {
        let waiting = try Waiting([command], options)
        let result = try waiting.result { #expect(truncate(waiting.checkpoint, 4096) == 0) }
        #expect(result.status == 74, "\(command): \(result.error)")
        #expect(
          result.error == """
            error: the file can no longer be read: it was cut short while in use, or its disk fails
              at \(waiting.checkpoint)
              What was finished before is kept. Take a copy that nobody writes to, and --resume if \
            its content is as it was.

            """)
        #expect(!FileManager.default.fileExists(atPath: waiting.folder.path("out")))
      }
    }

    /// The second checkpoint changes while the first one is scored, or is scored itself.
    @Test(arguments: [false, true]) func batchesBeforeAChangeAreKept(_ inPlace: Bool) throws {
      let folder = try TemporaryFolder()
      let paths = [folder.path("a.bin"), folder.path("b.bin")]
      for (path, name) in zip(paths, ["epoch-03", "epoch-20"]) {
        try FileManager.default.copyItem(
          atPath: Fixture.path("digits/\(name).bin"), toPath: path)
      }
      let arguments =
        ["score"] + paths + [
          "--data", Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--batches",
          "30", "--cg-iterations", "4", "--threads", "1", "--quiet", "--output",
        ]
      let running = try Command.start(arguments + [folder.path("r")])
      try Self.wait { Self.lines(folder.path("r/journal.jsonl")) > 2 }
      let before = try Data(contentsOf: URL(fileURLWithPath: paths[1]))
      if inPlace {
        let handle = try #require(FileHandle(forWritingAtPath: paths[1]))
        try handle.seek(toOffset: UInt64(before.count - 4))
        try handle.write(contentsOf: [1, 2, 3, 4])
        try handle.close()
      } else {
        #expect(rename(paths[1], folder.path("old")) == 0)
        try FileManager.default.copyItem(
          atPath: Fixture.path("digits/epoch-40.bin"), toPath: paths[1])
      }
      let result = try running.result()
      #expect(result.status == 65)
      let reason = inPlace ? "it was written to" : "another file has taken its name"
      #expect(
        result.error.hasPrefix("reported: 30 of 60 batches, those before an error\nerror: "))
      #expect(result.error.contains("\(reason)\n  at \(paths[1])\n"))
      #expect(try csvRows(folder.path("r/batches.csv")).count == 30)
      // What was not scored may be another by now.
      try FileManager.default.copyItem(
        atPath: folder.path("r"), toPath: folder.path("changed"))
      let changed = try Command.run(arguments + [folder.path("changed"), "--resume"])
      #expect(changed.status == 0, "\(changed.error)")
      try before.write(to: URL(fileURLWithPath: paths[1]))
      let refused = try Command.run(arguments + [folder.path("changed"), "--resume"])
      #expect(refused.status == 64)
      #expect(refused.error.contains("\(paths[1]) has changed: "))
      let resumed = try Command.run(arguments + [folder.path("r"), "--resume"])
      #expect(resumed.status == 0, "\(resumed.error)")
      #expect(try Command.run(arguments + [folder.path("whole")]).status == 0)
      for table in ["scores", "batches", "cg", "summary"] {
        #expect(
          try csvWithoutSeconds(folder.path("r/\(table).csv"))
            == csvWithoutSeconds(folder.path("whole/\(table).csv")))
      }
    }

    private static func lines(_ path: String) -> Int {
      (FileManager.default.contents(atPath: path) ?? Data()).count { $0 == UInt8(ascii: "\n") }
    }

    private static func wait(_ condition: () -> Bool) throws {
      let clock = ContinuousClock()
      let begin = clock.now
      while !condition() {
        try #require(clock.now - begin < .seconds(120))
        Thread.sleep(forTimeInterval: 0.005)
      }
    }

    @Test func theRecordNamesWhatWasReadAndNothingElse() throws {
      let folder = try TemporaryFolder()
      try FileManager.default.copyItem(
        atPath: Fixture.path("hf/vit_lora"), toPath: folder.path("model"))
      for name in ["base/notes.json", "base/other.bin", "adapter/more.safetensors"] {
        try Data("x".utf8).write(to: folder.url.appendingPathComponent("model/" + name))
      }
      let data = try FileManager.default.contentsOfDirectory(atPath: folder.path("model"))
        .first { $0.hasPrefix("data") || $0.hasSuffix(".npz") }
      let result = try Command.run([
        "score", folder.path("model/base"), "--adapter", folder.path("model/adapter"), "--data",
        folder.path("model/" + (try #require(data))), "--batch-size", "2", "--batches", "1",
        "--cg-iterations", "2", "--output", folder.path("r"),
      ])
      #expect(result.status == 0, "\(result.error)")
      let run = try #require(
        try JSONSerialization.jsonObject(
          with: Data(contentsOf: folder.url.appendingPathComponent("r/run.json")))
          as? [String: Any])
      let files = try #require(run["files"] as? [[String: Any]])
      #expect(
        files.map { ($0["path"] as? String ?? "").components(separatedBy: "/model/").last } == [
          "base/config.json", "base/model.safetensors", "adapter/adapter_config.json",
          "adapter/adapter_model.safetensors", data,
        ])
      for file in files {
        let path = try #require(file["path"] as? String)
        #expect(file["sha256"] as? String == (try FileRecord(path: path)).sha256)
      }
    }

    // MARK: Outputs

    @Test func anOutputFolderThatIsDeletedIsNoticed() throws {
      let folder = try TemporaryFolder()
      let running = try Command.start([
        "score", Fixture.path("digits/epoch-03.bin"), "--data",
        Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--batches", "100",
        "--cg-iterations", "4", "--threads", "1", "--quiet", "--output", folder.path("r"),
      ])
      try Self.wait { Self.lines(folder.path("r/journal.jsonl")) > 2 }
      try FileManager.default.removeItem(atPath: folder.path("r"))
      let result = try running.result()
      #expect(result.status == 73)
      #expect(
        result.error == """
          error: the journal, or its folder, was removed or replaced while the run was writing it
            at \(folder.path("r/journal.jsonl"))
            What was in it is gone. Run again, and leave the folder alone until the run has ended.

          """)
    }

    @Test func whatAKilledRunHasLeftIsRemoved() throws {
      let folder = try TemporaryFolder()
      try FileManager.default.createDirectory(
        atPath: folder.path("r"), withIntermediateDirectories: false)
      for name in [".tmp-0123456789abcdef", ".tmp-mine"] {
        try Data("x".utf8).write(to: folder.url.appendingPathComponent("r/" + name))
      }
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), "--quiet", "--output", folder.path("r"),
      ])
      #expect(result.status == 0, "\(result.error)")
      #expect(
        try FileManager.default.contentsOfDirectory(atPath: folder.path("r")).sorted() == [
          ".tmp-mine", "batches.csv", "cg.csv", "journal.jsonl", "run.json", "scores.csv",
          "summary.csv",
        ])
    }

    @Test func aTableThatIsALinkIsReplacedAndItsTargetKept() throws {
      let folder = try TemporaryFolder()
      try FileManager.default.createDirectory(
        atPath: folder.path("r"), withIntermediateDirectories: false)
      try Data("mine".utf8).write(to: folder.url.appendingPathComponent("target"))
      for name in ["r/scores.csv", "link.csv"] {
        try FileManager.default.createSymbolicLink(
          atPath: folder.path(name), withDestinationPath: folder.path("target"))
      }
      let result = try Command.run([
        "score", Fixture.path("golden/mlp_tanh.bin"), "--quiet", "--output", folder.path("r"),
        "--csv", folder.path("link.csv"),
      ])
      #expect(result.status == 0, "\(result.error)")
      #expect(try String(contentsOfFile: folder.path("target"), encoding: .utf8) == "mine")
      #expect(try csvRows(folder.path("r/scores.csv")).count == 5)
      #expect(try csvRows(folder.path("link.csv")).count == 5)
    }

    @Test(arguments: [["--help"], ["score", "--help"], ["--version"]])
    func helpThatCannotBePrintedIsAnError(_ arguments: [String]) throws {
      let result = try Command.start(arguments, shell: "exec \"$0\" \"$@\" > /dev/full").result()
      #expect(result.status == 73)
      #expect(
        result.error.hasPrefix(
          "error: cannot write the file: No space left on device\n  at standard output\n"))
    }

    @Test func aJournalOfAnotherProcessorIsRefused() throws {
      let folder = try TemporaryFolder()
      let arguments = [
        "score", Fixture.path("golden/mlp_tanh.bin"), "--quiet", "--output", folder.path("r"),
      ]
      #expect(try Command.run(arguments).status == 0)
      // The oldest kernels that OpenBLAS has; a build for one processor knows no others.
      let other = try Command.run(
        arguments + ["--resume"], environment: ["OPENBLAS_CORETYPE": "Prescott"])
      guard
        try String(contentsOfFile: folder.path("r/run.json"), encoding: .utf8)
          .contains("DYNAMIC_ARCH")
      else { return }
      #expect(other.status == 64)
      #expect(other.error.contains("the BLAS on the processor is OpenBLAS"))
    }

    @Test func aGraphBesideAModelOfAnotherTypeIsAnError() throws {
      let folder = try TemporaryFolder()
      var draft = try CheckpointDraft()
      draft.tensors["model.onnx"] = (.u8, [3], Data([8, 7, 18]))
      try draft.write(to: folder.path("x.bin"))
      for command in ["score", "inspect"] {
        let result = try Command.run([command, folder.path("x.bin")])
        #expect(result.status == 65)
        #expect(
          result.error == """
            error: this tensor has no meaning here
              at \(folder.path("x.bin")), tensor model.onnx
              The metadata describe another model than this graph: leave one of the two out.

            """)
      }
    }
  }
}
