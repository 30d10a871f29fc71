import ApproxEval
import ArgumentParser
import Checkpoints
import Figures

/// A run as a page or a text, the verdict first.
struct ReportPage: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract:
      "Says which method is best at each stage and where methods fail, with all tables and figures.",
    discussion: """
      One HTML page of results folders: the verdict, figures, tables, records. The page needs \
      nothing else: no network, no fonts. It can be read on a phone, in the dark, on paper, \
      without its script (values under the pointer, methods that hide, tables that sort), and by \
      those who do not see the figures. The folder of a training, named as well, adds its \
      accuracy. With --format markdown: the verdict alone, as text with tables that are legible as \
      they are.

      Needs gnuplot (Debian: gnuplot-nox) for the figures of the page. Without it the page is still \
      written, with figures in words; the exit code is then 69.

      Examples:
        eval-cli report results/ -o run-12.html
        eval-cli report adam/ sgd/ -o both.html
        eval-cli report results/ --format markdown -o -
      """)

  enum Format: String, CaseIterable, ExpressibleByArgument {
    case html
    case markdown

    var fileName: String { self == .html ? "report.html" : "report.md" }
  }

  @Argument(
    help:
      "Folders that score --output has written; several are judged and drawn beside each other.",
    completion: .directory)
  var results: [String]

  @Option(
    name: .shortAndLong,
    help: .init(
      "Where to write it; - is standard output. (default: report.html or report.md in the results)",
      valueName: "file"),
    completion: .file())
  var output: String?

  @Option(help: "What is written.")
  var format = Format.html

  @OptionGroup var replacing: ForceOption

  func run() throws {
    let output = try output ?? ResultsFolders(results).place(format.fileName)
    let results = try Results(folders: results)
    switch format {
    case .markdown: try write(try VerdictMarkdown(results).text, to: output)
    case .html: try writePage(results, to: output)
    }
  }

  private func writePage(_ results: Results, to output: String) throws {
    let figures = try FigureSet(results)
    try requireNew(output)
    var problem: GnuplotError?
    var pictures = PanelPictures.none
    do {
      pictures = try PanelPictures(figures.figures, with: Gnuplot())
    } catch let error as GnuplotError {
      problem = error
    }
    try write(ResultsPage(results, figures, pictures).html, to: output)
    if let problem { throw problem }
  }

  /// A report can be made again, whatever else has its name cannot.
  private func requireNew(_ output: String) throws {
    if output == "-" { return }
    try OutputFiles.requireNew(
      file: output, force: replacing.force || ResultsPage.isReport(output))
  }

  private func write(_ text: String, to output: String) throws {
    if output == "-" {
      try Console.write(document: text)
      return
    }
    try requireNew(output)
    var files = OutputFiles()
    files.add(output, text)
    try files.write()
    try Console.print("written: \(printable(output))\n")
  }
}
