import Foundation
import TestSupport
import Testing

@testable import Figures

/// Pictures for TeX.
@Suite struct PGFTests {
  @Test(arguments: [
    ("a_b & c%", "a\\_b \\& c\\%"), ("\\input{x}", "\\textbackslash{}input\\{x\\}"),
    ("γ / √nats", "$\\gamma$ / $\\surd$nats"), ("naïve 漢", "naïve ?"),
    ("x\n\\end{tikzpicture}", "x?\\textbackslash{}end\\{tikzpicture\\}"),
  ])
  func textIsOnlyText(_ text: String, _ escaped: String) {
    #expect(TeXText.escaped(text) == escaped)
  }

  /// Braces and environments close, and every number of the figure is there.
  @Test func picturesAreWhole() throws {
    for draft in [
      try ResultsDraft(), try ResultsDraft(checkpoints: DrawingTests.hostile, hasEpochs: false),
    ] {
      for figure in try FigureSet(results(of: draft)).figures {
        let text = PGFFigure(figure).text
        let plain = text.replacing("\\\\", with: "").replacing("\\{", with: "").replacing(
          "\\}", with: "")
        #expect(plain.count { $0 == "{" } == plain.count { $0 == "}" }, "\(figure.name)")
        for environment in ["tikzpicture", "groupplot"] {
          #expect(text.components(separatedBy: "\\begin{\(environment)}").count == 2)
          #expect(text.components(separatedBy: "\\end{\(environment)}").count == 2)
        }
        let panels = figure.panels.count + (figure.legend.isEmpty ? 0 : 1)
        #expect(text.components(separatedBy: "\\nextgroupplot").count == panels + 1)
        for panel in figure.panels {
          guard case .curves(let curves, _) = panel.content else { continue }
          for point in curves.flatMap(\.points) {
            let (x, y) = (GnuplotText.number(point.x), GnuplotText.number(point.y))
            #expect(text.contains("(\(x),\(y))"), "\(figure.name)")
          }
        }
        #expect(!text.contains("?,") && !text.contains("nan") && !text.contains("inf,"))
      }
    }
  }

  /// Where TeX is at hand, it takes them, with names that are commands.
  @Test(
    .enabled(
      if: FileManager.default.isExecutableFile(atPath: "/usr/bin/pdflatex")
        && FileManager.default.fileExists(
          atPath: "/usr/share/texlive/texmf-dist/tex/latex/pgfplots/pgfplots.sty"),
      "no pdflatex with pgfplots (Debian: texlive-pictures)"))
  func picturesCompile() throws {
    let names = DrawingTests.hostile.filter { $0.count < 100 }
    let figures = try FigureSet(
      results(of: ResultsDraft(checkpoints: names, hasEpochs: false))
    ).figures
    var text = """
      \\documentclass{article}
      \\usepackage{pgfplots,textcomp}
      \\usepgfplotslibrary{groupplots}
      \\pgfplotsset{compat=1.17}
      \\begin{document}

      """
    for figure in figures {
      text += "\\begin{figure}\\centering\\input{\(figure.name).pgf}\\end{figure}\n"
    }
    try inFolder { folder in
      for figure in figures {
        try Data(PGFFigure(figure).text.utf8).write(
          to: folder.appendingPathComponent(figure.name + ".pgf"))
      }
      try Data((text + "\\end{document}\n").utf8).write(
        to: folder.appendingPathComponent("doc.tex"))
      let process = Process()
      process.executableURL = URL(fileURLWithPath: "/usr/bin/pdflatex")
      process.arguments = ["-halt-on-error", "-interaction=nonstopmode", "doc.tex"]
      process.currentDirectoryURL = folder
      let output = Pipe()
      (process.standardOutput, process.standardError) = (output, FileHandle.nullDevice)
      try process.run()
      let said = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(process.terminationStatus == 0, "\(said.suffix(2000))")
    }
  }
}
