/// Text from results in TeX: it may say anything, and does nothing.
enum TeXText {
  static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in singleLine(text).unicodeScalars {
      if let known = commands[scalar] {
        result += known
      } else if scalar.isASCII || ("\u{C0}"..."\u{17F}").contains(scalar) {
        result.unicodeScalars.append(scalar)
      } else {
        // What pdflatex has no letter for would stop it.
        result += "?"
      }
    }
    return result
  }

  /// In a comment, which a line ends.
  static func comment(_ text: String) -> String {
    GnuplotText.comment(text).split(separator: "\n").map { "%" + $0.dropFirst() + "\n" }.joined()
  }

  private static let commands: [Unicode.Scalar: String] = [
    "\\": "\\textbackslash{}", "{": "\\{", "}": "\\}", "$": "\\$", "&": "\\&", "#": "\\#",
    "_": "\\_",
    "%": "\\%", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}",
    ">": "\\textgreater{}", "|": "\\textbar{}", "\"": "{\\char34}", "`": "\\textasciigrave{}",
    "'": "\\textquotesingle{}", "γ": "$\\gamma$", "λ": "$\\lambda$", "‖": "$\\Vert$", "ₙ": "$_n$",
    "√": "$\\surd$", "−": "$-$", "×": "$\\times$", "…": "\\ldots{}", "±": "$\\pm$",
    "≥": "$\\geq$", "→": "$\\rightarrow$",
  ]
}
