import Checkpoints

/// run.json for people: whatever it holds, in tables, so that a newer record loses nothing.
struct RunSection {
  /// A sentence for the top of the page.
  let lead: String
  let body: String

  init(_ run: JSONValue?) {
    guard let run, case .object(let members)? = try? run.content() else {
      lead = "The folder has no run.json: which program, options and files made it is not known."
      body = HTML.paragraph(lead)
      return
    }
    func text(_ key: String) -> String? { members[key].map(Self.text) }
    lead =
      "eval-cli \(text("version") ?? "of unknown version"), run at \(text("start") ?? "unknown time")"
      + (text("precision").map { ", \($0)" } ?? "") + (text("seed").map { ", seed \($0)" } ?? "")
      + "."
    var body = ""
    let scalars = members.filter { !Self.isTable($0.value) && $0.key != "notes" }
    body += Self.pairs("Record", scalars)
    for (key, value) in members.sorted(by: { $0.key < $1.key }) {
      switch value {
      case .object(let inner): body += Self.pairs(key, inner)
      case .array(let items) where Self.isTable(value): body += Self.rows(key, items)
      default: break
      }
    }
    if case .array(let notes)? = members["notes"], !notes.isEmpty {
      body +=
        "<details><summary>\(notes.count) note\(notes.count == 1 ? "" : "s") on the numbers"
        + "</summary>\n<ul>\n"
        + notes.map { "<li>\(HTML.escaped(Self.text($0)))</li>\n" }.joined() + "</ul>\n</details>\n"
    }
    self.body = body
  }

  private static func isTable(_ value: JSONContent) -> Bool {
    switch value {
    case .object: true
    case .array(let items):
      !items.isEmpty && items.allSatisfy { if case .object = $0 { true } else { false } }
    default: false
    }
  }

  private static func pairs(_ caption: String, _ members: [String: JSONContent]) -> String {
    HTML.table(
      caption, ["name", "value"],
      members.sorted { $0.key < $1.key }.map { [$0.key, text($0.value)] },
      numbers: 0..<0)
  }

  private static func rows(_ caption: String, _ items: [JSONContent]) -> String {
    let objects = items.map { item -> [String: JSONContent] in
      if case .object(let members) = item { members } else { [:] }
    }
    let all = Set(objects.flatMap(\.keys)).sorted()
    // What identifies a row comes first.
    let keys = all.filter { $0 == "path" } + all.filter { $0 != "path" }
    // Objects that have little in common would make a table of the square of their number.
    if keys.count > 64 {
      return HTML.table(caption, ["entry"], items.map { [$0.text] }, numbers: 0..<0)
    }
    return HTML.table(
      caption, keys, objects.map { object in keys.map { object[$0].map(text) ?? "" } },
      numbers: 0..<0)
  }

  private static func text(_ value: JSONContent) -> String {
    switch value {
    case .null: ""
    case .string(let text): text
    case .array(let items): items.map(text).joined(separator: " ")
    case .bool, .integer, .real, .object: value.text
    }
  }
}
