import ApproxEval
import Checkpoints
import Crypto
import Foundation

/// The journal of a run, resumed: lines `KIND CONTENT`, which get their sums; the line of the run
/// itself is put in front of others. `raw separator FILE` is the file itself.
struct JournalReading: Reader {
  let name = "journal"
  let isText = true

  private static let raw = Array("raw".utf8)
  private static let runLine = Result { try FinishedRun.ofTheFixtures.get().journalLines()[0] }
  private static let results = Result { try FinishedRun.ofTheFixtures.get().shortResults }

  func read(_ input: ArraySlice<UInt8>) throws {
    let run = try FinishedRun.ofTheFixtures.get()
    let file = try Self.file(input)
    Scratch.makeFolder("journal")
    Scratch.write(file, to: "journal/" + Journal.name)
    let finished = try resume(run) { journal in
      let report = run.plan.report(journal.finished)
      precondition(!report.json(run.record).document.isEmpty)
      precondition(report.text.isEmpty == journal.finished.isEmpty)
      precondition(report.tables.allSatisfy { !$0.csv.isEmpty })
      let done = journal.finished
      guard let number = run.plan.numbers.first(where: { done[$0] == nil }) else { return }
      try journal.append(Self.results.get()[number], at: number)
    }
    try resume(run) { journal in
      let expected = min(finished + 1, run.plan.count)
      precondition(journal.finished.count == expected, "what was appended is not there")
    }
  }

  @discardableResult
  private func resume(_ run: FinishedRun, _ body: (Journal) throws -> Void) throws -> Int {
    let journal = try Journal(
      folder: Scratch.path("journal"), record: run.record, plan: run.plan, .resume)
    try body(journal)
    return journal.finished.count
  }

  private static func file(_ input: ArraySlice<UInt8>) throws -> [UInt8] {
    let parts = Parts.split(input, limit: 2)
    if parts.count == 2 && parts[0].elementsEqual(raw) { return Array(parts[1]) }
    let lines = input.split(separator: UInt8(ascii: "\n"))
    var file: [UInt8] = []
    if lines.first?.starts(with: Array("run ".utf8)) != true {
      file += try runLine.get() + [UInt8(ascii: "\n")]
    }
    for line in lines {
      let kind = line.prefix { $0 != UInt8(ascii: " ") }
      let content = line.dropFirst(kind.count + 1)
      let sum = SHA256.hash(data: content).map { byte in
        (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }.joined()
      file += Array(#"{"sha256":"\#(sum)",""#.utf8) + kind + Array("\":".utf8) + content
      file += Array("}\n".utf8)
    }
    return file
  }

  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]] {
    let lines = try FinishedRun.ofTheFixtures.get().journalLines()
    let plain = lines.map { line -> [UInt8] in
      // {"sha256":"<64 digits>","kind":content}
      let rest = line.dropFirst(#"{"sha256":""#.utf8.count + 64 + 3).dropLast()
      let kind = rest.prefix { $0 != UInt8(ascii: "\"") }
      return kind + [UInt8(ascii: " ")] + rest.dropFirst(kind.count + 2)
    }
    func joined(_ lines: [[UInt8]]) -> [UInt8] { Array(lines.joined(separator: [10])) + [10] }
    return [
      "run": joined([plain[0]]), "batch": joined([plain[1]]),
      "whole": joined(Array(plain.dropFirst())),
      "raw": Self.raw + Parts.separator + joined(Array(lines.prefix(2))),
    ]
  }
}
