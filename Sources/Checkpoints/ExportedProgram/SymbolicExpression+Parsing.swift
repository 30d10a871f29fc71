/// The form in which PyTorch writes an expression, SymPy's `srepr`:
/// `Add(Mul(Integer(2), Symbol('s27', positive=True, integer=True)), Integer(1))`.
extension SymbolicExpression {
  /// What stands at the beginning of the rest of the text cannot be read.
  struct Defect: Error {
    var rest: String
  }

  /// Deeper than any size is computed.
  private static let maximumDepth = 64

  init(parsing text: String) throws(Defect) {
    var parser = Parser(text: text.utf8[...])
    self = try parser.expression(depth: 0)
    parser.skipSpace()
    if !parser.text.isEmpty { throw parser.defect }
  }

  private struct Parser {
    var text: Substring.UTF8View

    var defect: Defect { Self.defect(text) }

    /// The rest, as far as a message shows it.
    private static func defect(_ rest: Substring.UTF8View) -> Defect {
      Defect(rest: String(Substring(rest.prefix(60))))
    }

    mutating func expression(depth: Int) throws(Defect) -> SymbolicExpression {
      skipSpace()
      let start = text
      if depth > maximumDepth { throw Self.defect(start) }
      let name = word()
      switch name {
      case "true": return .bool(true)
      case "false": return .bool(false)
      case "Integer": return .integer(try literal { Int($0) })
      case "Float": return .real(try real())
      case "Symbol": return .symbol(try symbol())
      default:
        guard let function = Function(rawValue: name) else { throw Self.defect(start) }
        if function == .rational { return try rational() }
        return .function(function, try arguments(depth: depth + 1))
      }
    }

    private mutating func arguments(depth: Int) throws(Defect) -> [SymbolicExpression] {
      try require("(")
      var result: [SymbolicExpression] = []
      while true {
        result.append(try expression(depth: depth))
        if take(")") { return result }
        try require(",")
      }
    }

    /// `(NUMBER)`
    private mutating func literal<Number>(
      _ convert: (String) -> Number?
    ) throws(Defect) -> Number {
      try require("(")
      let number = try number(convert)
      try require(")")
      return number
    }

    private mutating func number<Number>(
      _ convert: (String) -> Number?
    ) throws(Defect) -> Number {
      skipSpace()
      let start = text
      let digits = text.prefix {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
          || [UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e")].contains(
            $0)
      }
      text = text[digits.endIndex...]
      guard let number = convert(String(Substring(digits))) else { throw Self.defect(start) }
      return number
    }

    /// `(P, Q)`
    private mutating func rational() throws(Defect) -> SymbolicExpression {
      try require("(")
      let numerator = try number { Int($0) }
      try require(",")
      let denominator = try number { Int($0) }
      try require(")")
      return .function(.rational, [.integer(numerator), .integer(denominator)])
    }

    /// `('2.5', precision=53)`
    private mutating func real() throws(Defect) -> Double {
      try require("(")
      try require("'")
      let value = try number { Double($0) }
      try require("'")
      try skipOptions()
      return value
    }

    /// `('s27', positive=True, integer=True)`
    private mutating func symbol() throws(Defect) -> String {
      try require("(")
      try require("'")
      let start = text
      let name = word()
      if name.isEmpty { throw Self.defect(start) }
      try require("'")
      try skipOptions()
      return name
    }

    /// What is assumed of a symbol, and digits of a number: `, NAME=VALUE, ...)`.
    private mutating func skipOptions() throws(Defect) {
      while !take(")") {
        try require(",")
        skipSpace()
        _ = word()
        try require("=")
        _ = word()
      }
    }

    private mutating func word() -> String {
      let word = text.prefix {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0 | 0x20)
          || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || $0 == UInt8(ascii: "_")
      }
      text = text[word.endIndex...]
      return String(Substring(word))
    }

    mutating func skipSpace() { text = text.drop { $0 == UInt8(ascii: " ") } }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
      skipSpace()
      if text.first != UInt8(ascii: character) { return false }
      text = text.dropFirst()
      return true
    }

    private mutating func require(_ character: Unicode.Scalar) throws(Defect) {
      if !take(character) { throw defect }
    }
  }
}
