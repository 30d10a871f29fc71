import Foundation
import TestSupport
import Testing
import Updates

/// The documents tell every method of the list, in its words.
struct DocumentationTests {
  @Test(arguments: ["Documentation/options.md", "Documentation/methods.md"])
  func methodsThatDrawAreNamed(_ document: String) throws {
    let names = UpdateMethod.named.filter(\.needs.isSampled).map { "`\($0.name)`" }
    let list = names.dropLast().joined(separator: ", ") + " and " + names.last!
    #expect(
      try String(contentsOfFile: fixture("../" + document), encoding: .utf8).contains(list),
      "\(list)")
  }

  @Test func tableOfMethodsIsTheList() throws {
    let path = fixture("../Documentation/methods.md")
    let text = try String(contentsOfFile: path, encoding: .utf8)
    let rows =
      UpdateMethod.named.map { ($0.name, $0.summary, $0.needs.cost) }
      + UpdateMethod.families.map { ($0.pattern, $0.summary, "") }
    let table =
      "| name | direction | takes, beside the gradient |\n| --- | --- | --- |\n"
      + rows.map { "| `\($0)` | \($1) | \($2) |\n" }.joined()
    let start = try #require(text.range(of: "| name | direction |"), "no table")
    let end = text.range(of: "\n\n", range: start.lowerBound..<text.endIndex)
    let found = text[start.lowerBound..<(end?.lowerBound ?? text.endIndex)] + "\n"
    if ProcessInfo.processInfo.environment["RECORD_SNAPSHOTS"] == "1" {
      let changed = text.replacingOccurrences(of: found, with: table)
      try Data(changed.utf8).write(to: URL(fileURLWithPath: path))
    } else {
      #expect(found == table, "RECORD_SNAPSHOTS=1 writes it")
    }
  }
}
