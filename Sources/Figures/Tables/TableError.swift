import Checkpoints

/// What is wrong with a results folder or a table in it, as facts.
package struct TableError: Error, Equatable, Sendable {
  package enum Problem: Equatable, Sendable {
    /// The file cannot be read at all.
    case file(CheckpointError)
    /// The folder has none of the tables.
    case noTables([String])
    /// A run has left its journal and no tables yet.
    case unfinishedRun
    /// The tables that are there hold no row to draw.
    case nothingToDraw([String])
    case empty
    case repeatedColumn(String)
    case missingColumns([String])
    case cellCount(found: Int, expected: Int)
    case openQuote
    case strayQuote
    case textAfterQuote
    case notUTF8
    /// See `String.isStreamSafe`.
    case combiningMarks
    case notANumber(String, column: String)
    case notAFlag(String, column: String)
  }

  package var problem: Problem
  package var file: String
  /// From 1.
  package var line: Int?

  package init(_ problem: Problem, file: String, line: Int? = nil) {
    self.problem = problem
    self.file = file
    self.line = line
  }
}

// MARK: - Sentences

extension TableError: CustomStringConvertible {
  /// What, where, how to fix.
  package var description: String {
    if case .file(let error) = problem { return error.description }
    return errorText(sentence, at: file + (line.map { ", line \($0)" } ?? ""), advice)
  }

  private var sentence: String {
    switch problem {
    case .file(let error): error.description
    case .noTables(let names): "there are no results: no \(names.joined(separator: ", "))"
    case .unfinishedRun: "the run has not ended: there is its journal, and no table yet"
    case .nothingToDraw: "there is nothing to draw"
    case .empty: "the table is empty: it has no header row"
    case .repeatedColumn(let name): "two columns have the name \(quoted(name))"
    case .missingColumns(let names):
      names.count == 1
        ? "there is no column \(names[0])" : "there are no columns \(names.joined(separator: ", "))"
    case .cellCount(let found, let expected):
      "the row has \(found) cell\(found == 1 ? "" : "s"), the header \(expected)"
    case .openQuote: "a quote is opened and never closed"
    case .strayQuote: "a quote stands inside a cell that does not begin with one"
    case .textAfterQuote: "text follows a closing quote"
    case .notUTF8: "the text is not UTF-8"
    case .combiningMarks: "a cell has more than 30 combining marks in a row"
    case .notANumber(let text, let column):
      "\(column) is \(quoted(text)), expected a number"
    case .notAFlag(let text, let column):
      "\(column) is \(quoted(text)), expected true or false"
    }
  }

  private var advice: [String] {
    switch problem {
    case .file: []
    case .noTables: ["Name the folder that scoring has written its report into."]
    case .unfinishedRun:
      ["Wait for its end, or resume it by the command that began it."]
    case .nothingToDraw(let reasons): reasons
    case .missingColumns:
      [
        "Write the report again with this version of eval-cli score; columns may be added, none "
          + "left out."
      ]
    default: ["The file was changed or cut short; write the report again with eval-cli score."]
    }
  }
}

/// The text on one line: control and format characters, which could move a cursor or turn the
/// direction of writing, become `?`, and what is longer than the limit loses its middle.
package func singleLine(_ text: String, limit: Int = .max) -> String {
  var line = String.UnicodeScalarView()
  for scalar in text.unicodeScalars {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate,
      .unassigned:
      line.append("?")
    default: line.append(scalar)
    }
  }
  let whole = String(line)
  if whole.count <= limit { return whole }
  let head = limit / 2
  return whole.prefix(head) + "…" + whole.suffix(limit - head - 1)
}
