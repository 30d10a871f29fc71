import ApproxEval
import Checkpoints
import Figures

/// A results folder: the four tables and run.json as parts; an empty part is a file that is missing.
/// All is made that plot and report make of it, but for gnuplot's pictures.
struct TablesReading: Reader {
  let name = "tables"
  let isText = true

  private static let files = ["scores.csv", "batches.csv", "cg.csv", "layers.csv", "run.json"]

  func read(_ input: ArraySlice<UInt8>) throws {
    Scratch.makeFolder("results")
    let parts = Parts.split(input, limit: Self.files.count)
    for (index, name) in Self.files.enumerated() {
      let part = index < parts.count ? parts[index] : []
      if part.isEmpty {
        Scratch.remove("results/" + name)
      } else {
        Scratch.write(part, to: "results/" + name)
      }
    }
    let results = try Results(folder: Scratch.path("results"))
    let figures = try FigureSet(results)
    for figure in figures.figures {
      let script = GnuplotScript(figure, formats: [.svg, .png])
      precondition(!script.script.isEmpty && !script.data.isEmpty)
    }
    precondition(!ResultsPage(results, figures, .none).html.isEmpty)
    if results.scores != nil {
      let text = try VerdictMarkdown(results).text
      precondition(!text.isEmpty)
    }
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    let run = try FinishedRun.ofTheFixtures.get()
    let report = run.plan.report(run.results.numbered)
    let tables = Dictionary(uniqueKeysWithValues: report.tables.map { ($0.name + ".csv", $0.csv) })
    func parts(_ kept: [String], rows: Int) -> [UInt8] {
      Parts.join(
        Self.files.map { name in
          if !kept.contains(name) { return [] }
          if name == "run.json" { return Array(run.record.json(report).document.utf8) }
          let lines = (tables[name] ?? "").split(
            separator: "\r\n", omittingEmptySubsequences: false)
          return Array(lines.prefix(rows + 1).joined(separator: "\r\n").utf8)
        })
    }
    var seeds: [String: [UInt8]] = [:]
    seeds["all"] = (1...6).map { parts(Self.files, rows: $0) }.last {
      $0.count <= Readers.mostSeedBytes
    }
    for name in Self.files.dropLast() { seeds[name] = parts([name], rows: 4) }
    return seeds
  }
}
