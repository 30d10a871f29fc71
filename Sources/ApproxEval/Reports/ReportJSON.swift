import Checkpoints

/// JSON whose members keep the order in which they were given.
public enum ReportJSON: Sendable, Equatable {
  /// A value.
  case cell(ReportCell)
  /// An array.
  case list([ReportJSON])
  /// An object, whose members keep their order.
  case object([Member])

  /// One member of an object.
  public struct Member: Sendable, Equatable {
    /// Its key.
    public var key: String
    /// What belongs to it.
    public var value: ReportJSON
  }

  static func members(_ pairs: KeyValuePairs<String, ReportJSON>) -> ReportJSON {
    .object(pairs.map { Member(key: $0.key, value: $0.value) })
  }
}

extension ReportJSON {
  static func text(_ value: String?) -> ReportJSON { .cell(.text(value)) }
  static func integer(_ value: Int?) -> ReportJSON { .cell(.integer(value)) }
  static func number(_ value: Double?) -> ReportJSON { .cell(.number(value)) }
  static func bool(_ value: Bool) -> ReportJSON { .cell(.flag(value)) }
  static func texts(_ values: [String]) -> ReportJSON { .list(values.map { .text($0) }) }

  /// A row per object, columns as keys, empty cells as null.
  public init(_ table: ReportTable) {
    self = .list(
      table.rows.map { row in
        .object(zip(table.columns, row).map { Member(key: $0, value: .cell($1)) })
      })
  }

  /// Indented by two; an object whose members are all scalars stays on one line below the first
  /// level. Ends with a line feed.
  public var document: String { rendered(indent: "") + "\n" }

  private var isScalar: Bool {
    switch self {
    case .cell: true
    case .list(let values): values.isEmpty
    case .object(let members): members.isEmpty
    }
  }

  private func rendered(indent: String) -> String {
    switch self {
    case .cell(let cell): return cell.json
    case .list(let values):
      return Self.block(
        values.map { $0.rendered(indent: indent + "  ") }, "[", "]", indent,
        isShort: values.allSatisfy(\.isScalar))
    case .object(let members):
      let items = members.map {
        ReportCell.text($0.key).json + ": " + $0.value.rendered(indent: indent + "  ")
      }
      return Self.block(
        items, "{", "}", indent,
        isShort: !indent.isEmpty && members.allSatisfy { $0.value.isScalar })
    }
  }

  private static func block(
    _ items: [String], _ open: String, _ close: String, _ indent: String, isShort: Bool
  ) -> String {
    if isShort { return open + items.joined(separator: ", ") + close }
    let lines = items.map { indent + "  " + $0 }.joined(separator: ",\n")
    return open + "\n" + lines + "\n" + indent + close
  }
}

extension ReportCell {
  /// JSON has no infinity and no NaN: they are strings, spelt as in the CSV files.
  fileprivate var json: String {
    switch self {
    case .text(let value): JSONContent.string(value).text
    case .integer(let value): String(value)
    case .number(let value) where value.isFinite: value.description
    case .number(let value): "\"" + Self.spelling(value) + "\""
    case .flag(let value): String(value)
    case .empty: "null"
    }
  }
}
