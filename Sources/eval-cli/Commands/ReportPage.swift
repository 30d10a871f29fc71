import ApproxEval
import ArgumentParser
import Checkpoints
import Figures

/// A run as a page.
struct ReportPage: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Makes one HTML page of results folders: their records, tables and figures.",
    discussion: """
      The page needs nothing else: no network, no scripts, no fonts. It can be read on a phone, in \
      the dark, and by those who do not see the figures.

      Needs gnuplot (Debian: gnuplot-nox) for the figures. Without it the page is still written, \
      with figures in words; the exit code is then 69.

      Examples:
        eval-cli report results/ -o run-12.html
        eval-cli report adam/ sgd/ -o both.html
      """)

  @Argument(
    help: "Folders that score --output has written; curves of several are drawn beside each other.",
    completion: .directory)
  var results: [String]

  @Option(
    name: .shortAndLong,
    help: .init(
      "Where to write the page. (default: report.html in the results)", valueName: "file"),
    completion: .file())
  var output: String?

  @OptionGroup var replacing: ForceOption

  func run() throws {
    let output = try output ?? ResultsFolders(results).place("report.html")
    let results = try Results(folders: results)
    let figures = try FigureSet(results)
    // A page can be made again, whatever else has its name cannot.
    try OutputFiles.requireNew(
      file: output, force: replacing.force || ResultsPage.isPage(output))
    var problem: GnuplotError?
    var pictures = PanelPictures.none
    do {
      pictures = try PanelPictures(figures.figures, with: Gnuplot())
    } catch let error as GnuplotError {
      problem = error
    }
    var files = OutputFiles()
    files.add(output, ResultsPage(results, figures, pictures).html)
    try files.write()
    try Console.print("written: \(printable(output))\n")
    if let problem { throw problem }
  }
}
