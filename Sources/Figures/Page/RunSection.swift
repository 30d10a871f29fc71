import Checkpoints

/// run.json for people: folded, whatever it holds in short tables; the file has all of it.
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
    self.body =
      "<details><summary>The record: command, options, files, machine</summary>\n" + body
      + "</details>\n" + Self.notes(members["notes"])
  }

  private static func notes(_ value: JSONContent?) -> String {
    guard case .array(let notes)? = value, !notes.isEmpty else { return "" }
    return
      "<details><summary>\(notes.count) note\(notes.count == 1 ? "" : "s") on the numbers"
      + "</summary>\n<ul>\n"
      + notes.map { "<li>\(HTML.escaped(text($0)))</li>\n" }.joined() + "</ul>\n</details>\n"
  }

  private static func isTable(_ value: JSONContent) -> Bool {
    switch value {
    case .object: true
    case .array(let items):
      !items.isEmpty && items.allSatisfy { if case .object = $0 { true } else { false } }
    default: false
    }
  }

  /// Of those that say something.
  private static func pairs(_ caption: String, _ members: [String: JSONContent]) -> String {
    var table = DataTable(caption, words: ["name", "value"])
    table.isSortable = false
    table.rows = members.sorted { $0.key < $1.key }.map { [.init($0.key), .init(text($0.value))] }
      .filter { !$0[1].text.isEmpty }
    return table.rows.isEmpty ? "" : HTML.table(table)
  }

  /// A page is for people: tables of many rows, or of what differs from row to row, are in the file.
  private static let rowLimit = 20
  private static let columnLimit = 24

  private static func rows(_ caption: String, _ items: [JSONContent]) -> String {
    let objects = items.prefix(rowLimit).map { item -> [String: JSONContent] in
      if case .object(let members) = item { members } else { [:] }
    }
    let all = Set(objects.flatMap(\.keys)).sorted().filter { key in
      objects.contains { !($0[key].map(text) ?? "").isEmpty }
    }
    // What identifies a row comes first.
    let names = all.filter { $0 == "path" || $0 == "name" }
    let keys = (names + all.filter { !names.contains($0) }).prefix(columnLimit)
    if keys.isEmpty { return "" }
    var table = DataTable(caption, words: Array(keys))
    table.rows = objects.map { object in keys.map { .init(object[$0].map(text) ?? "") } }
    var body = HTML.table(table)
    let left = [
      items.count > rowLimit ? "\(items.count - rowLimit) more rows" : nil,
      all.count > columnLimit ? "\(all.count - columnLimit) more columns" : nil,
    ].compactMap { $0 }
    if !left.isEmpty {
      body +=
        HTML.element(
          "p", "class=\"note\"",
          HTML.escaped("\(caption): \(left.joined(separator: " and ")) in run.json."))
        + "\n"
    }
    // Of lists within, such as the parameters of each checkpoint, the first one that is not empty.
    for key in keys {
      for object in objects {
        guard let inner = object[key], isTable(inner), case .array(let items) = inner else {
          continue
        }
        let owner = object["path"].map { " of " + text($0) } ?? ""
        body += rows(key + owner, items)
        break
      }
    }
    return body
  }

  private static func text(_ value: JSONContent) -> String {
    switch value {
    case .null: ""
    case .string(let text): text
    case .array(let items):
      isTable(value)
        ? "\(items.count) entr\(items.count == 1 ? "y" : "ies")"
        : items.map(text).joined(separator: " ")
    case .object(let members):
      members.sorted { $0.key < $1.key }.map { "\($0.key): \(text($0.value))" }
        .joined(separator: ", ")
    case .bool, .integer, .real: value.text
    }
  }
}
