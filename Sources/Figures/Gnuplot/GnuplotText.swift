/// Text from results in scripts and data files: it may say anything, and does nothing.
enum GnuplotText {
  /// A string constant. In single quotes gnuplot expands no escapes, no variables and no commands
  /// in backquotes; the quote itself is doubled, and control characters are gone.
  static func quoted(_ text: String) -> String {
    // Scalars and not characters: a quote with an accent on it is one character, and ends a string.
    let scalars = singleLine(text).unicodeScalars
    // gnuplot takes a doubled quote at the very beginning for an empty string.
    let leading = scalars.prefix { $0 == "'" }
    var quoted = "'".unicodeScalars
    for scalar in scalars.dropFirst(leading.count) {
      if scalar == "'" { quoted.append(scalar) }
      quoted.append(scalar)
    }
    quoted.append("'")
    return String(repeating: "\"'\".", count: leading.count) + String(quoted)
  }

  /// Lines of a comment. A backslash at the end of a line would make the next one part of the
  /// comment.
  static func comment(_ text: String, width: Int = 100) -> String {
    var lines: [String] = []
    var line = "#"
    let plain = String(singleLine(text).map { $0 == "\\" ? "/" : $0 })
    for word in plain.split(separator: " ") {
      if line.count > 1 && line.count + 1 + word.count > width {
        lines.append(line)
        line = "#"
      }
      line += " " + word
    }
    return (lines + [line]).joined(separator: "\n") + "\n"
  }

  /// The number so that it reads back to the same value; `?` for none.
  static func number(_ value: Double?) -> String {
    guard let value, value.isFinite else { return "?" }
    let text = value.description
    return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
  }
}
