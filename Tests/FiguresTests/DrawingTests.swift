import Foundation
import TestSupport
import Testing

@testable import Figures

/// What gnuplot makes of the scripts. These tests fail where it is missing.
@Suite struct DrawingTests {
  /// Names that would end a string, run a command, or become markup, if anything let them.
  static let hostile = [
    "it's {/=40 big}_1^2 @x.bin", "a\"b`touch pwned`$(touch pwned).bin",
    "c\\\nd\u{1B}[2J\u{202E}.bin",
    "<script>alert(1)</script>&amp;'; system('touch pwned'); '",
    String(repeating: "long ", count: 60) + "\\", "'\u{301}'; plot 1; '", "''", ">\u{301}<",
  ]

  private func draw(_ draft: ResultsDraft, _ formats: [GnuplotScript.Format], in url: URL) throws {
    let gnuplot = try Gnuplot()
    for figure in try FigureSet(Results(folder: draft.path)).figures {
      let script = GnuplotScript(figure, formats: formats)
      for (end, text) in [(".gp", script.script), (".dat", script.data)] {
        try Data(text.utf8).write(to: url.appendingPathComponent(script.name + end))
      }
      let said = try gnuplot.draw([script], in: url.path)
      #expect(said == "", "\(figure.name)")
      for format in formats {
        let picture = try Data(
          contentsOf: url.appendingPathComponent("\(script.name).\(format.rawValue)"))
        let start = ["svg": "<?xml", "png": "\u{89}PNG", "pdf": "%PDF"][format.rawValue]!
        #expect(picture.starts(with: start.unicodeScalars.map { UInt8($0.value) }))
      }
    }
  }

  @Test func everyFigureIsDrawnInEveryFormatWithoutAWarning() throws {
    try inFolder { try draw(ResultsDraft(), GnuplotScript.Format.allCases, in: $0) }
  }

  @Test func hostileNamesAreOnlyText() throws {
    let draft = try ResultsDraft(checkpoints: Self.hostile, hasEpochs: false)
    for table in ["scores.csv", "layers.csv"] {
      try draft.edit(table) { text in
        text = text.replacingOccurrences(
          of: ",kfac,1e-3,", with: ",\"update:it's `touch pwned` {x}_2 \\\",1e-3,")
      }
    }
    try draft.edit("layers.csv") { $0 = $0.replacingOccurrences(of: "0.bias", with: "'0`b\\") }
    try inFolder { url in
      try draw(draft, [.svg, .png], in: url)
      let names = try FileManager.default.contentsOfDirectory(atPath: url.path)
      #expect(
        names.allSatisfy { ["gp", "dat", "svg", "png"].contains(($0 as NSString).pathExtension) })
      // And what is shown is the name, not what it would mean.
      let svg = try String(contentsOf: url.appendingPathComponent("methods.svg"), encoding: .utf8)
      #expect(svg.contains("… pwned` {x}_2 \\"), "cut to 32 characters")
      let training = try String(
        contentsOf: url.appendingPathComponent("training.svg"), encoding: .utf8)
      // Of a path, the last component.
      #expect(training.contains("=40 big}_1^2 @x.bin"))
    }
  }

  @Test func scriptsDrawAgainByHandInTheirFolder() throws {
    let draft = try ResultsDraft()
    try inFolder { url in
      try draw(draft, [.svg], in: url)
      let script = try String(contentsOf: url.appendingPathComponent("damping.gp"), encoding: .utf8)
      #expect(!script.contains(url.path) && !script.contains(draft.path), "no absolute path")
      try FileManager.default.removeItem(at: url.appendingPathComponent("damping.svg"))
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["gnuplot", "damping.gp"]
      process.currentDirectoryURL = url
      try process.run()
      process.waitUntilExit()
      #expect(process.terminationStatus == 0)
      #expect(
        FileManager.default.fileExists(atPath: url.appendingPathComponent("damping.svg").path))
    }
  }

  @Test func gnuplotsOwnErrorIsShown() throws {
    try inFolder { url in
      try Data("plot 1 with nonsense\n".utf8).write(to: url.appendingPathComponent("bad.gp"))
      #expect {
        try Gnuplot().run(["bad.gp"], in: url.path)
      } throws: { error in
        "\(error)".contains("bad.gp") && "\(error)".contains("line 1")
      }
    }
  }

  // MARK: - Text

  @Test(arguments: [
    ("plain", "'plain'"), ("it's", "'it''s'"), ("''x", "\"'\".\"'\".'x'"),
    ("x'\u{301}", "'x''\u{301}'"), ("", "''"),
    ("a\nb\u{0}\u{1B}\u{2028}c", "'a?b???c'"), ("`x` @y \"z\" \\", "'`x` @y \"z\" \\'"),
  ])
  func textsAreSingleQuoted(_ text: String, _ quoted: String) {
    #expect(GnuplotText.quoted(text) == quoted)
  }

  @Test func commentsNeverSwallowTheNextLine() {
    #expect(GnuplotText.comment("ends with \\") == "# ends with /\n")
    #expect(GnuplotText.comment("a\nset output 'x'") == "# a?set output 'x'\n")
  }
}
