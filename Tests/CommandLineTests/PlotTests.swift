import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// `plot` and `report`: files, texts and exit codes.
  @Suite struct PlotTests {
    static let names = [
      "training", "damping", "methods", "fit", "reference", "efficiency", "layers-tensor",
    ]

    @Test func scriptsAreAsRecorded() throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      let result = try Command.run([
        "plot", draft.path, "-o", folder.path("out"), "--format", "svg", "--format", "png,svg",
      ])
      #expect(result.status == 0, "\(result.error)")
      for name in Self.names {
        for end in ["gp", "dat"] {
          try expectSnapshot(
            try String(contentsOfFile: folder.path("out/\(name).\(end)"), encoding: .utf8),
            "plot-\(name)-\(end)")
        }
        for end in ["svg", "png"] {
          #expect(FileManager.default.fileExists(atPath: folder.path("out/\(name).\(end)")))
        }
        for end in ["pdf", "pgf"] {
          #expect(!FileManager.default.fileExists(atPath: folder.path("out/\(name).\(end)")))
        }
      }
      let text = (result.output + result.error)
        .replacingOccurrences(of: folder.url.path, with: "DIR")
      try expectSnapshot(text, "plot-output")
    }

    @Test func aRunIsScoredAndDrawn() throws {
      let folder = try TemporaryFolder()
      let score = try Command.run([
        "score", Fixture.path("digits/epoch-00.bin"), Fixture.path("digits/epoch-03.bin"),
        "--data", Fixture.path("digits/digits.safetensors"), "--batch-size", "16", "--batches",
        "2", "--damping", "rel:1e-7,rel:1e-3", "--quiet", "--output", folder.path("r"),
      ])
      #expect(score.status == 0, "\(score.error)")
      let plot = try Command.run(["plot", folder.path("r"), "--quiet"])
      #expect(plot.status == 0)
      #expect(plot.error == "")
      let drawn = try FileManager.default.contentsOfDirectory(atPath: folder.path("r/figures"))
      for name in Self.names.dropLast() { #expect(drawn.contains(name + ".png"), "\(name)") }
      let page = try Command.run(["report", folder.path("r"), "-o", folder.path("page.html")])
      #expect(page.status == 0, "\(page.error)")
      #expect(page.output == "written: \(folder.path("page.html"))\n")
    }

    /// What an earlier drawing left may be of another run.
    @Test func figuresOfAnEarlierTimeAreTold() throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      let drawing = ["plot", draft.path, "-o", folder.path("out"), "--format", "svg"]
      #expect(!(try Command.run(drawing).error.contains("earlier time")))
      for end in ["gp", "dat"] {
        try Data("mine".utf8).write(
          to: folder.url.appendingPathComponent("out/layers-block." + end))
      }
      let again = try Command.run(drawing)
      #expect(again.status == 0)
      #expect(
        again.error.split(whereSeparator: \.isWhitespace).joined(separator: " ")
          .contains("has figures of an earlier time, not drawn now: layers-block."),
        "\(again.error)")
      #expect(
        try String(contentsOfFile: folder.path("out/layers-block.gp"), encoding: .utf8) == "mine")
    }

    /// What TeX draws needs no gnuplot.
    @Test func picturesForTeXNeedNoGnuplot() throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      let result = try Command.run(
        ["plot", draft.path, "-o", folder.path("out"), "--format", "pgf", "--quiet"],
        environment: ["PATH": ""])
      #expect(result.status == 0, "\(result.error)")
      #expect(result.output.contains("training.gp, .dat, .pgf"))
      for name in Self.names {
        let text = try String(contentsOfFile: folder.path("out/\(name).pgf"), encoding: .utf8)
        #expect(text.hasSuffix("\\end{tikzpicture}\n"))
      }
      let both = try Command.run([
        "plot", draft.path, "-o", folder.path("both"), "--format", "pgf,svg", "--quiet",
      ])
      #expect(both.status == 0, "\(both.error)")
      #expect(FileManager.default.fileExists(atPath: folder.path("both/fit.svg")))
      #expect(FileManager.default.fileExists(atPath: folder.path("both/fit.pgf")))
    }

    // MARK: - gnuplot is missing

    @Test func withoutGnuplotScriptsAndDataAreThereAndTheTextSaysWhatToInstall() throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      let result = try Command.run(
        ["plot", draft.path, "-o", folder.path("out"), "--quiet"], environment: ["PATH": ""])
      #expect(result.status == 69)
      try expectSnapshot(result.error, "plot-no-gnuplot")
      let files = try FileManager.default.contentsOfDirectory(atPath: folder.path("out"))
      #expect(files.sorted() == Self.names.flatMap { ["\($0).dat", "\($0).gp"] }.sorted())
    }

    @Test func withoutGnuplotThePageIsThereInWords() throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      let result = try Command.run(
        ["report", draft.path, "-o", folder.path("page.html")], environment: ["PATH": ""])
      #expect(result.status == 69)
      #expect(result.error.contains("apt-get install gnuplot-nox"))
      let page = try String(contentsOfFile: folder.path("page.html"), encoding: .utf8)
      #expect(page.contains("gnuplot could not draw it"))
    }

    @Test(arguments: [
      ("echo 'no terminal today' >&2; exit 3", 69 as Int32, "gnuplot failed", "no terminal today"),
      // What a full disk leaves; gnuplot does not notice.
      (
        "printf '<?xml' > training.svg", 73, "the picture was not written to its end",
        "training.svg"
      ),
      ("true", 73, "the picture was not written to its end", "training.svg"),
    ])
    func gnuplotIsHeardAndChecked(
      _ script: String, _ status: Int32, _ problem: String, _ detail: String
    ) throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      let program = folder.path("gnuplot")
      try "#!/bin/sh\n\(script)\n".write(toFile: program, atomically: true, encoding: .utf8)
      try FileManager.default.setAttributes([.posixPermissions: 0o755], ofItemAtPath: program)
      let result = try Command.run(
        ["plot", draft.path, "-o", folder.path("out"), "--quiet"],
        environment: ["PATH": folder.url.path])
      #expect(result.status == status)
      #expect(result.error.hasPrefix("error: " + problem))
      #expect(result.error.contains(detail))
    }

    // MARK: - Bad input

    struct Case: CustomTestStringConvertible, Sendable {
      var name: String
      var status: Int32
      var change: @Sendable (ResultsDraft) throws -> Void
      var testDescription: String { name }
    }

    static let cases = [
      Case(name: "empty-folder", status: 66) { draft in
        for table in ["scores", "batches", "cg", "layers"] { try draft.remove(table + ".csv") }
      },
      Case(name: "unfinished-run", status: 66) { draft in
        for table in ["scores", "batches", "cg", "layers"] { try draft.remove(table + ".csv") }
        try draft.write("journal.jsonl", ["{}"])
      },
      Case(name: "missing-columns", status: 65) { draft in
        try draft.edit("scores.csv") {
          $0 = $0.replacingOccurrences(of: "efficiency_low", with: "low")
            .replacingOccurrences(of: ",gamma,", with: ",g,")
        }
      },
      Case(name: "cut", status: 65) { draft in
        try draft.edit("batches.csv") { $0 = String($0.dropLast(40)) }
      },
      Case(name: "no-number", status: 65) { draft in
        try draft.edit("cg.csv") { $0 = $0.replacingOccurrences(of: ",0.01,", with: ",0;01,") }
      },
      Case(name: "no-rows", status: 65) { draft in
        for table in ["scores", "batches", "cg", "layers"] {
          try draft.edit(table + ".csv") { $0 = $0.components(separatedBy: "\r\n")[0] + "\r\n" }
        }
      },
      Case(name: "bad-record", status: 65) { draft in
        try draft.edit("run.json") { $0 = String($0.dropLast(9)) }
      },
    ]

    @Test(arguments: cases, ["plot", "report"])
    func badResultsAreToldAndNothingIsWritten(_ test: Case, _ command: String) throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      try test.change(draft)
      let result = try Command.run([command, draft.path, "-o", folder.path("out")])
      #expect(result.status == test.status, "\(result.error)")
      #expect(result.output == "")
      #expect(try folder.content == [])
      let text = result.error.replacingOccurrences(of: draft.path, with: "DIR")
      try expectSnapshot(text, "plot-" + test.name)
    }

    @Test func aFolderThatIsNoneIsToldApart() throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      let missing = try Command.run(["plot", "/nowhere/results", "-o", folder.path("out")])
      #expect(missing.status == 66)
      #expect(missing.error.hasPrefix("error: no such file\n  at /nowhere/results\n"))
      let file = try Command.run(["plot", draft.path + "/scores.csv", "-o", folder.path("out")])
      #expect(file.status == 66)
      #expect(file.error.hasPrefix("error: this is a file, expected a directory"))
    }

    @Test(arguments: ["plot", "report"])
    func unwritableOutputIsAnError(_ command: String) throws {
      let (draft, folder) = (try ResultsDraft(), try TemporaryFolder())
      try Data().write(to: folder.url.appendingPathComponent("file"))
      let result = try Command.run([command, draft.path, "-o", folder.path("file/out")])
      #expect(result.status == 73)
      #expect(result.output == "")
    }
  }
}
