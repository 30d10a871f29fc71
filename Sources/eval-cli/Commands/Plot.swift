import ApproxEval
import ArgumentParser
import Checkpoints
import Figures
import Foundation

/// The figures of a run.
struct Plot: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plot",
    abstract: "Draws the figures of results folders.",
    discussion: """
      From the CSV files that score --output has written: training (Fig. 2 of Wu et al. 2024), \
      damping (Fig. 3), methods (Fig. 5), fit (loss, accuracy and imbalance), reference (the solver, \
      iteration by iteration), efficiency, and layers where the run has them. Several runs, in one folder or several, are curves of their \
      own. What a figure lacks, and how to make it, is told on standard \
      error. Beside each picture stay its script NAME.gp and its data NAME.dat; after editing \
      them, draw again with: gnuplot NAME.gp

      svg, png and pdf need gnuplot (Debian: gnuplot-nox). Without it scripts and data are still \
      written; the exit code is then 69. pgf is for papers: a picture of pgfplots with all its \
      numbers, for \\input{NAME.pgf}; TeX draws it.

      Example: eval-cli plot results/ --format svg,pdf
      """)

  @Argument(
    help: "Folders that score --output has written; curves of several are drawn beside each other.",
    completion: .directory)
  var results: [String]

  @Option(
    name: .shortAndLong,
    help: .init("Folder for the figures. (default: figures in the results)", valueName: "folder"),
    completion: .directory)
  var output: String?

  @Option(
    help: .init(
      "List of svg, png, pdf, pgf; repeatable. (default: svg,png)", valueName: "list"),
    completion: .list(FigureFormat.allCases.map(\.rawValue)))
  var format: [String] = []

  @OptionGroup(title: "Messages") var log: QuietOption

  func run() throws {
    let formats = try format.isEmpty ? [.svg, .png] : OptionValues.formats(format)
    let folder = try output ?? ResultsFolders(results).place("figures")
    let figures = try FigureSet(Results(folders: results))
    try OutputFiles.requireWritable(folder: folder)
    var files = OutputFiles()
    let drawn = formats.compactMap(\.gnuplot)
    let scripts = figures.figures.map { GnuplotScript($0, formats: drawn) }
    for script in scripts {
      files.add("\(folder)/\(script.name).gp", script.script)
      files.add("\(folder)/\(script.name).dat", script.data)
    }
    if formats.contains(.pgf) {
      for figure in figures.figures {
        files.add("\(folder)/\(figure.name).pgf", PGFFigure(figure).text)
      }
    }
    try files.write()
    for script in scripts {
      let others = formats.contains(.pgf) ? ", .pgf" : ""
      try Console.print("written: \(printable(folder))/\(script.name).gp, .dat\(others)\n")
    }
    if !log.quiet {
      tell(figures)
      tellEarlier(in: folder, besides: scripts.map(\.name))
    }
    if drawn.isEmpty { return }
    let gnuplot = try Gnuplot()
    for script in scripts {
      let said = try gnuplot.draw([script], in: folder)
      if !said.isEmpty { Console.log(said) }
      let pictures = drawn.map { "." + $0.rawValue }.joined(separator: ", ")
      try Console.print("drawn: \(printable(folder))/\(script.name)\(pictures)\n")
    }
  }

  /// Figures that lie there and are not of these tables. They may have been edited, and stay.
  private func tellEarlier(in folder: String, besides names: [String]) {
    let files = Set((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [])
    let others = files.filter { $0.hasSuffix(".gp") }.map { String($0.dropLast(3)) }
      .filter { !names.contains($0) && files.contains($0 + ".dat") }.sorted()
    if others.isEmpty { return }
    let list = others.map { printable($0) }.joined(separator: ", ")
    Console.log(
      wrapped("note: \(printable(folder)) has figures of an earlier time, not drawn now: \(list)."))
  }

  private func tell(_ figures: FigureSet) {
    for figure in figures.figures {
      for note in figure.notes { Console.log(wrapped("note: \(figure.name): \(note)")) }
    }
    for gap in figures.gaps { Console.log(wrapped("note: \(gap.sentence)")) }
  }
}

/// Of commands that say little.
struct QuietOption: ParsableArguments {
  @Flag(help: "No notes.")
  var quiet = false
}

/// Folders of results that a command takes as one.
struct ResultsFolders {
  private let folders: [String]

  init(_ folders: [String]) { self.folders = folders }

  /// Where an output goes by default: into the folder, if it is one alone.
  func place(_ name: String) throws(UsageError) -> String {
    guard let folder = folders.first, folders.count == 1 else {
      throw UsageError(
        "there are \(folders.count) folders that it could go into", at: "--output",
        "Say where the output goes.")
    }
    return joined(folder, name)
  }
}
