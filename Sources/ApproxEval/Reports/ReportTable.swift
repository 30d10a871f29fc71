/// One cell of a report.
public enum ReportCell: Sendable, Equatable {
  /// Words, quoted in CSV where need be.
  case text(String)
  /// A whole number.
  case integer(Int)
  /// A number, spelt so that it reads back to the same value.
  case number(Double)
  /// `true` or `false`.
  case flag(Bool)
  /// Not applicable.
  case empty
}

extension ReportCell {
  static func text(_ value: String?) -> ReportCell { value.map { .text($0) } ?? .empty }
  static func integer(_ value: Int?) -> ReportCell { value.map { .integer($0) } ?? .empty }
  static func flag(_ value: Bool?) -> ReportCell { value.map { .flag($0) } ?? .empty }
  static func number(_ value: Double?) -> ReportCell { value.map { .number($0) } ?? .empty }

  /// Empty where there is no such number: another cell says why.
  static func number(known value: Double?) -> ReportCell {
    number(value.flatMap { $0.isNaN ? nil : $0 })
  }

  /// The number so that it reads back to the same value; `inf`, `-inf` and `nan` spelt so.
  static func spelling(_ value: Double) -> String { value.isNaN ? "nan" : value.description }
}

/// A table of a report: one observation per row (tidy), one name per column.
public struct ReportTable: Sendable, Equatable {
  /// The file's name without its extension.
  public let name: String
  /// Their names.
  public let columns: [String]
  /// As many cells each as there are columns.
  public private(set) var rows: [[ReportCell]] = []

  /// A table without rows.
  public init(name: String, columns: [String]) {
    self.name = name
    self.columns = columns
  }

  /// - Parameter row: A cell for each column.
  public mutating func append(_ row: [ReportCell]) {
    precondition(
      row.count == columns.count, "\(name): \(row.count) cells for \(columns.count) columns")
    rows.append(row)
  }
}

// MARK: - CSV

extension ReportTable {
  /// RFC 4180: a header row, lines that end in CR LF, quotes only where a cell needs them.
  public var csv: String {
    var text = Self.line(columns)
    for row in rows { text += Self.line(row.map(\.csv)) }
    return text
  }

  private static func line(_ cells: [String]) -> String {
    cells.map(quoted).joined(separator: ",") + "\r\n"
  }

  private static func quoted(_ cell: String) -> String {
    let special: Set<Unicode.Scalar> = [",", "\"", "\r", "\n"]
    guard cell.unicodeScalars.contains(where: special.contains) else { return cell }
    // Scalars and not characters: a quote with an accent on it is one character, and no quote.
    var quoted = "\"".unicodeScalars
    for scalar in cell.unicodeScalars {
      if scalar == "\"" { quoted.append(scalar) }
      quoted.append(scalar)
    }
    quoted.append("\"")
    return String(quoted)
  }
}

extension ReportCell {
  fileprivate var csv: String {
    switch self {
    case .text(let value): value
    case .integer(let value): String(value)
    case .number(let value): Self.spelling(value)
    case .flag(let value): String(value)
    case .empty: ""
    }
  }
}
