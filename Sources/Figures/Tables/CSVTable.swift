import Checkpoints

/// A CSV file after RFC 4180: a header row, then rows of as many cells.
///
/// Bytes in, texts out; cells that the writer of the reports quotes come back as they were. SwiftCSV
/// was the rival. It lost because it drops spaces at the edges of cells, takes an open quote at the
/// end of a file without a word, and works on grapheme clusters, so that a quote followed by a
/// combining mark is no quote.
package struct CSVTable: Equatable, Sendable {
  package struct Row: Equatable, Sendable {
    /// Where it begins in the file, from 1.
    package var line: Int
    package var cells: [String]
  }

  package let file: String
  package let columns: [String]
  package let rows: [Row]

  package init(contentsOf path: String) throws(TableError) {
    let file: MappedFile
    do {
      file = try MappedFile(path: path, acceptsPipes: false)
    } catch {
      throw TableError(.file(error), file: path)
    }
    try self.init(parsing: file.bytes, file: path)
    withExtendedLifetime(file) {}
  }

  /// Lines may end in CR LF or LF, the last one in neither; a byte order mark is skipped, as are
  /// empty lines.
  package init(parsing bytes: UnsafeRawBufferPointer, file: String) throws(TableError) {
    self.file = file
    var parser = CSVParser(bytes: bytes, file: file)
    guard let header = try parser.nextRow() else { throw TableError(.empty, file: file) }
    var names: Set<String> = []
    for name in header.cells where !names.insert(name).inserted {
      throw TableError(.repeatedColumn(name), file: file, line: header.line)
    }
    var rows: [Row] = []
    while let row = try parser.nextRow() {
      guard row.cells.count == header.cells.count else {
        throw TableError(
          .cellCount(found: row.cells.count, expected: header.cells.count), file: file,
          line: row.line)
      }
      rows.append(row)
    }
    columns = header.cells
    self.rows = rows
  }
}

/// One pass over the bytes.
private struct CSVParser {
  private let bytes: UnsafeRawBufferPointer
  private let file: String
  private var position = 0
  private var line = 1

  private static let quote = UInt8(ascii: "\"")
  private static let comma = UInt8(ascii: ",")
  private static let carriageReturn = UInt8(ascii: "\r")
  private static let lineFeed = UInt8(ascii: "\n")

  init(bytes: UnsafeRawBufferPointer, file: String) {
    self.bytes = bytes
    self.file = file
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  /// - Returns: `nil` at the end of the file.
  mutating func nextRow() throws(TableError) -> CSVTable.Row? {
    while endLine() {}
    if position == bytes.count { return nil }
    let start = line
    var cells: [String] = []
    while true {
      cells.append(peek == Self.quote ? try quotedCell() : try plainCell())
      if peek == Self.comma {
        position += 1
      } else if position == bytes.count || endLine() {
        return .init(line: start, cells: cells)
      } else {
        throw TableError(.textAfterQuote, file: file, line: line)
      }
    }
  }

  private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

  /// Whether a line end was there to be passed.
  private mutating func endLine() -> Bool {
    if peek == Self.lineFeed {
      position += 1
    } else if peek == Self.carriageReturn, position + 1 < bytes.count,
      bytes[position + 1] == Self.lineFeed
    {
      position += 2
    } else {
      return false
    }
    line += 1
    return true
  }

  private mutating func plainCell() throws(TableError) -> String {
    let start = position
    while let byte = peek, byte != Self.comma, byte != Self.lineFeed {
      if byte == Self.quote { throw TableError(.strayQuote, file: file, line: line) }
      position += 1
    }
    // The CR of the line end, and no other, is not part of the cell.
    if peek == Self.lineFeed && position > start && bytes[position - 1] == Self.carriageReturn {
      position -= 1
    }
    return try text(bytes[start..<position])
  }

  private mutating func quotedCell() throws(TableError) -> String {
    let opening = line
    position += 1
    var content: [UInt8] = []
    while let byte = peek {
      position += 1
      if byte == Self.quote {
        guard peek == Self.quote else { return try text(content) }
        position += 1
      } else if byte == Self.lineFeed {
        line += 1
      }
      content.append(byte)
    }
    throw TableError(.openQuote, file: file, line: opening)
  }

  private func text(_ bytes: some Collection<UInt8>) throws(TableError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw TableError(.notUTF8, file: file, line: line)
    }
    if !text.isStreamSafe { throw TableError(.combiningMarks, file: file, line: line) }
    return text
  }
}
