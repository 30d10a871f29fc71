import Crypto
import Foundation
import TestSupport
import Testing

@testable import Figures

#if canImport(FoundationXML)
  import FoundationXML
#endif

/// The page, with figures and without.
@Suite struct PageTests {
  /// Everything that a strict reader sees.
  private final class Reader: NSObject, XMLParserDelegate {
    var elements: [String: Int] = [:]
    var attributes: [(element: String, name: String, value: String)] = []
    var text = ""
    var problem: String?

    func parser(
      _ parser: XMLParser, didStartElement element: String, namespaceURI: String?,
      qualifiedName: String?, attributes: [String: String]
    ) {
      elements[element, default: 0] += 1
      for (name, value) in attributes { self.attributes.append((element, name, value)) }
    }

    func parser(_ parser: XMLParser, foundCharacters string: String) { text += string }

    func parser(_ parser: XMLParser, parseErrorOccurred error: any Error) {
      problem = "\(error) in line \(parser.lineNumber)"
    }

    func values(_ name: String) -> [String] { attributes.filter { $0.name == name }.map(\.value) }
  }

  private func page(_ draft: ResultsDraft, isDrawn: Bool = true) throws -> String {
    let results = try Results(folder: draft.path)
    let figures = try FigureSet(results)
    let pictures = isDrawn ? try PanelPictures(figures.figures, with: Gnuplot()) : .none
    return ResultsPage(results, figures, pictures).html
  }

  private func read(_ html: String) throws -> Reader {
    let reader = Reader()
    let parser = XMLParser(data: Data(html.utf8))
    parser.delegate = reader
    let isWellFormed = parser.parse()
    #expect(isWellFormed, "\(reader.problem ?? "")")
    return reader
  }

  /// Nothing is loaded, nothing runs but the script of the page, and ids are distinct.
  private func expectSelfContained(_ html: String, _ reader: Reader) {
    #expect(reader.elements["script"] == 1)
    #expect(html.components(separatedBy: "<script").count == 2)
    #expect(html.contains("<script>\(PageScript.text)</script>"))
    #expect(
      reader.values("content").contains(
        "default-src 'none'; style-src 'unsafe-inline'; script-src '\(PageScript.digest)'"))
    for name in ["link", "img", "iframe", "image", "object", "embed", "base"] {
      #expect(reader.elements[name] == nil, "\(name)")
    }
    for name in ["src", "srcset", "data", "action", "xlink:href"] {
      #expect(reader.values(name) == [], "\(name)")
    }
    #expect(reader.values("href").allSatisfy { $0.hasPrefix("#") })
    #expect(!reader.attributes.contains { $0.name.hasPrefix("on") })
    let markup = html.components(separatedBy: "<style>").last ?? ""
    for text in ["http:", "https:", "@import", "@font-face"] {
      #expect(!markup.contains(text), "\(text)")
    }
    let ids = reader.values("id")
    #expect(Set(ids).count == ids.count)
    let used =
      reader.values("href").map { String($0.dropFirst()) }
      + reader.values("aria-labelledby").flatMap { $0.components(separatedBy: " ") }
    #expect(Set(used).isSubset(of: ids), "\(Set(used).subtracting(ids))")
  }

  /// Batches that have all samples of the data are one batch: their spread is rounding.
  @Test func oneBatchOverAndOverHasNoDeviation() throws {
    let draft = try ResultsDraft()
    func cells() throws -> Int {
      // The first stands in the words above the tables.
      ScoreTables(try Results(folder: draft.path)).scores.components(separatedBy: " ± ").count - 2
    }
    #expect(try cells() > 0)
    func addColumn(_ samples: Int) throws {
      try draft.edit("batches.csv") { text in
        var lines = text.components(separatedBy: "\r\n")
        for index in lines.indices where !lines[index].isEmpty {
          lines[index] += index == 0 ? ",data_samples" : ",\(samples)"
        }
        text = lines.joined(separator: "\r\n")
      }
    }
    try addColumn(8)
    #expect(try cells() == 0)
    try draft.edit("batches.csv") { $0 = $0.replacing(",8\r\n", with: ",9\r\n") }
    #expect(try cells() > 0)
  }

  @Test func pageIsWellFormedAndLoadsNothing() throws {
    let html = try page(ResultsDraft())
    let reader = try read(html)
    expectSelfContained(html, reader)
    // 4 training, 3 damping, 2 methods, 3 reference, 3 efficiency, 3 layers.
    // 2 fit.
    #expect(reader.values("role").count { $0 == "img" } == 20)
    #expect(reader.elements["desc"] == 20, "each picture in words")
    #expect(reader.values("scope").contains("col"))
    #expect(reader.elements["table"]! >= 5)
    #expect(html.contains("prefers-color-scheme: dark"))
    #expect(!html.contains("rgb(34,34,34)") && !html.contains("rgb( 34,"), "ink is the page's")
  }

  @Test func pageSaysInWordsWhatCouldNotBeDrawn() throws {
    let html = try page(ResultsDraft(), isDrawn: false)
    let reader = try read(html)
    expectSelfContained(html, reader)
    #expect(reader.elements["svg"] == nil)
    #expect(reader.text.contains("gnuplot could not draw it"))
    #expect(reader.text.contains("ief: 0.375 at 0 to 0.375 at 2"))
  }

  @Test func hostileNamesAreOnlyText() throws {
    let draft = try ResultsDraft(checkpoints: DrawingTests.hostile, hasEpochs: false)
    let html = try page(draft)
    let reader = try read(html)
    expectSelfContained(html, reader)
    #expect(reader.text.contains("<script>alert(1)</script>&amp;'; system("))
  }

  @Test func tablesHaveTheMeansOfTheRun() throws {
    let reader = try read(try page(ResultsDraft(), isDrawn: false))
    // ief: 0.25 and 0.5. ef at epoch 2: 1 % / 1.5² and 1 % / 3², as far as references converged.
    #expect(reader.text.contains("0.3750 ± 0.18"))
    #expect(
      reader.text.contains("tolerance 1, iterations 1")
        || reader.text.contains("iterations 1, tolerance 1"))
    #expect(reader.text.contains("≥"))
    #expect(reader.text.contains("a<b>"), "the record's files")
    #expect(reader.text.contains("1 note on the numbers"))
    #expect(reader.values("scope").filter { $0 == "row" }.count > 30, "rows have headings")
  }

  @Test func runWithoutARecordStillHasAPage() throws {
    let draft = try ResultsDraft()
    try draft.remove("run.json")
    #expect(try read(page(draft, isDrawn: false)).text.contains("The folder has no run.json"))
  }

  /// The policy names the script that the page has, and no other.
  @Test func policyHasTheDigestOfTheScript() {
    let digest = Data(SHA256.hash(data: Data(PageScript.text.utf8))).base64EncodedString()
    #expect(PageScript.digest == "sha256-" + digest)
  }

  /// Every mark of a curve, bar and map says its value, and what a legend can hide is marked.
  @Test func marksSayTheirValues() throws {
    let figures = try FigureSet(results(of: ResultsDraft())).figures
    let html = try page(ResultsDraft())
    let reader = try read(html)
    let titles = html.components(separatedBy: "<title>").count - 2
    let marks = figures.flatMap { figure in
      figure.panels.indices.flatMap { GnuplotScript(page: figure, panel: $0).elements[0] }
    }
    #expect(titles == marks.reduce(0) { $0 + $1.values.count } && titles > 100)
    #expect(
      html.contains("<title>ief: 0.375 at 0, from 0.275 to 0.475 in the middle of 2 batches<"))
    let entries = Set(reader.values("data-entry"))
    #expect(entries == Set(figures.flatMap(\.legend).map(\.label)))
  }

  /// A gamma that rounding may have moved has a star on the page, and figures say so below.
  @Test func marksReachThePageAndTheFigures() throws {
    let draft = try ResultsDraft()
    #expect(try !page(draft, isDrawn: false).contains("rounding of numbers"))
    let path = draft.path + "/scores.csv"
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(whereSeparator: \.isNewline)
    let marked = lines.enumerated().map { index, line in
      line
        + (index == 0
          ? ",gamma_error,precision" : index == 2 ? ",0.025,float32" : ",1e-7,float32")
    }
    try (marked.joined(separator: "\n") + "\n").write(
      toFile: path, atomically: true, encoding: .utf8)
    let method = lines[2].split(separator: ",", omittingEmptySubsequences: false)[5]
    let note =
      "In 1 of \(lines.count - 1) rows (\(method)) γ may be off by up to 2.5 %, by the rounding of "
      + "numbers."
    let html = try page(draft, isDrawn: false)
    let text = try read(html).text
    #expect(text.contains(note + " They have a star."))
    #expect(html.components(separatedBy: "<span class=\"mark\"> *</span>").count == 2, "one cell")
    let figures = try FigureSet(Results(folder: draft.path)).figures
    for name in ["training", "damping", "methods", "efficiency"] {
      #expect(try #require(figures.first { $0.name == name }).notes.contains(note), "\(name)")
    }
    #expect(try !#require(figures.first { $0.name == "reference" }).notes.contains(note))
  }
}
