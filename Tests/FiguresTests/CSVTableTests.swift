import ApproxEval
import Foundation
import TestSupport
import Testing

@testable import Figures

@Suite struct CSVTableTests {
  private func parse(_ bytes: [UInt8]) throws(TableError) -> CSVTable {
    let result: Result<CSVTable, TableError> = bytes.withUnsafeBytes { buffer in
      do throws(TableError) {
        return .success(try CSVTable(parsing: buffer, file: "t.csv"))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private func parse(_ text: String) throws(TableError) -> CSVTable { try parse(Array(text.utf8)) }

  /// Every name was compared with all before it.
  @Test(.timeLimit(.minutes(1))) func manyColumnsAreRead() throws {
    let names = (0..<100_000).map { "column\($0)" }
    let table = try parse(names.joined(separator: ",") + "\n")
    #expect(table.columns == names)
  }

  @Test func namesWithMarksWithoutEndAreRefused() {
    let cell = "a" + String(repeating: "\u{301}\u{323}", count: 20)
    let error = #expect(throws: TableError.self) { try parse("x\n\(cell)\n") }
    #expect(error == TableError(.combiningMarks, file: "t.csv", line: 2))
  }

  // MARK: - What is read

  @Test(arguments: [
    "a,b\r\n1,2\r\n3,\r\n", "a,b\n1,2\n3,\n", "a,b\n1,2\n3,", "\u{FEFF}a,b\r\n1,2\r\n3,\r\n",
    "\"a\",\"b\"\r\n\"1\",2\r\n\r\n3,\"\"\r\n",
  ])
  func everyWayToWriteATableGivesTheSameCells(_ text: String) throws {
    let table = try parse(text)
    #expect(table.columns == ["a", "b"])
    #expect(table.rows.map(\.cells) == [["1", "2"], ["3", ""]])
  }

  @Test func linesAreThoseOfTheFile() throws {
    let table = try parse("a,b\n\"1\n1\",2\n3,4\n")
    #expect(table.rows.map(\.line) == [2, 4])
  }

  @Test(arguments: 0..<50)
  func whatTheReportWriterWritesReadsBack(_ seed: Int) throws {
    let alphabet: [Unicode.Scalar] = [
      ",", "\"", "\r", "\n", " ", "\t", "a", "é", "\u{301}", "\u{2028}", "\u{0}", "'", "\\", "😀",
      ";",
      "\u{FEFF}",
    ]
    var random = SeededGenerator(seed: UInt64(seed))
    var table = ReportTable(name: "t", columns: ["x", "y", "z"])
    var expected: [[String]] = []
    for _ in 0..<20 {
      let cells = (0..<3).map { _ in
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0..<6, using: &random) {
          text.append(alphabet.randomElement(using: &random)!)
        }
        return String(text)
      }
      expected.append(cells)
      table.append(cells.map { .text($0) })
    }
    let read = try parse(table.csv)
    // Scalars and not characters: e + accent is not é in a file.
    for (row, cells) in zip(read.rows, expected) {
      #expect(
        row.cells.map { Array($0.unicodeScalars) } == cells.map { Array($0.unicodeScalars) },
        "seed \(seed)")
    }
    #expect(read.rows.count == expected.count, "seed \(seed)")
  }

  @Test func numbersReadBackToTheSameBits() throws {
    let values = [
      0.1, 1e-308, Double.leastNonzeroMagnitude, .pi, -0.0, 1.7976931348623157e308, .infinity,
      -.infinity,
    ]
    var table = ReportTable(name: "t", columns: ["gamma"])
    for value in values { table.append([.number(value)]) }
    table.append([.number(.nan)])
    let read = try TableCells.rows(try parse(table.csv), requiring: ["gamma"]) {
      (cells) throws(TableError) in try cells.number("gamma")
    }
    #expect(read.dropLast().map { $0?.bitPattern } == values.map(\.bitPattern))
    #expect(read.last??.isNaN == true)
  }

  // MARK: - What is refused

  @Test(arguments: [
    ("", TableError.Problem.empty, nil as Int?),
    ("\r\n\r\n", .empty, nil),
    ("a,a\n", .repeatedColumn("a"), 1),
    ("a,b\n1\n", .cellCount(found: 1, expected: 2), 2),
    ("a,b\n1,2\n1,2,3\n", .cellCount(found: 3, expected: 2), 3),
    ("a,b\n1,\"2\n3,4\n", .openQuote, 2),
    ("a,b\n1,2\"\n", .strayQuote, 2),
    ("a,b\n\"1\" ,2\n", .textAfterQuote, 2),
  ])
  func defectsAreToldWithTheirLine(
    _ text: String, _ problem: TableError.Problem, _ line: Int?
  ) {
    #expect(throws: TableError(problem, file: "t.csv", line: line)) { try parse(text) }
  }

  @Test func bytesThatAreNotUTF8AreRefused() {
    #expect(throws: TableError(.notUTF8, file: "t.csv", line: 2)) {
      try parse(Array("a\n".utf8) + [0xFF, 0x0A])
    }
  }

  @Test func everyCutOfATableIsReadOrRefused() throws {
    let whole = Array("a,b\r\n\"x\"\"\r\ny\",2\r\n3,4\r\n".utf8)
    for count in 0..<whole.count {
      // A cut at the end of a row is a shorter table; every other one is an error. None crashes.
      if let table = try? parse(Array(whole.prefix(count))) {
        #expect(table.columns.count <= 2 && table.rows.count <= 2)
      }
    }
  }

  @Test func allMissingColumnsAreInOneError() throws {
    let table = try parse("checkpoint,batch,gamma\n")
    #expect(
      throws: TableError(
        .missingColumns(["iteration", "relative_residual"]), file: "t.csv", line: 1)
    ) { try IterateRow.read(table) }
  }
}
