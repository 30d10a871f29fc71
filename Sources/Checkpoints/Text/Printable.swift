// Names in files, paths and options may hold anything. What is shown to people passes here: one
// place decides what a terminal gets to see.

/// The text as it may be shown on one line of a terminal. Control characters (escape sequences
/// among them), line and paragraph separators, and format characters, which turn the direction of
/// writing or cannot be seen, are written as escapes like `\u{1b}`. Of a text longer than the limit
/// the middle is left out.
package func printable(_ text: String, limit: Int = .max) -> String {
  let scalars = text.unicodeScalars
  // Counted only as far as it matters.
  if let end = scalars.index(scalars.startIndex, offsetBy: limit, limitedBy: scalars.endIndex),
    end < scalars.endIndex
  {
    let head = limit / 2
    return escaped(scalars.prefix(head), keepingLines: false) + "..."
      + escaped(scalars.suffix(limit - head), keepingLines: false)
  }
  return escaped(scalars, keepingLines: false)
}

/// The same for text of several lines, whose line feeds are its own.
package func printableLines(_ text: String) -> String {
  escaped(text.unicodeScalars, keepingLines: true)
}

/// The beginning of a text in quotes.
package func quoted(_ text: String) -> String {
  let scalars = text.unicodeScalars
  let shown = scalars.prefix(60)
  return "\"" + escaped(shown, keepingLines: false)
    + (shown.endIndex < scalars.endIndex ? "..." : "") + "\""
}

/// Whether a terminal would do something else with it than show it.
package func isUnprintable(_ scalar: Unicode.Scalar) -> Bool {
  if scalar.isASCII { return scalar.value < 32 || scalar.value == 127 }
  switch scalar.properties.generalCategory {
  case .control, .format, .lineSeparator, .paragraphSeparator: return true
  default: return false
  }
}

private func escaped(
  _ scalars: some Sequence<Unicode.Scalar>, keepingLines: Bool
) -> String {
  var shown = String.UnicodeScalarView()
  for scalar in scalars {
    if isUnprintable(scalar) && !(keepingLines && scalar == "\n") {
      shown.append(contentsOf: "\\u{\(String(scalar.value, radix: 16))}".unicodeScalars)
    } else {
      shown.append(scalar)
    }
  }
  return String(shown)
}

/// An error as people read it: what, where, how to fix, each on a line of its own whatever names it
/// holds.
///
/// - Parameter place: Where, with the file as it may be opened: it is not shortened.
package func errorText(_ what: String, at place: String? = nil, _ advice: [String] = []) -> String {
  // More than any sentence of ours; only a name makes one longer.
  let limit = 2000
  return
    ([printable(what, limit: limit)] + [place].compactMap { $0 }.map { "  at " + printable($0) }
    + advice.map { "  " + printable($0, limit: limit) })
    .joined(separator: "\n")
}
