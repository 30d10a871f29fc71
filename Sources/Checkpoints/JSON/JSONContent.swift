/// What a JSON document holds. A number written without fraction and exponent that fits is an
/// integer, every other one a real.
public enum JSONContent: Equatable, Sendable {
  /// `null`
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A number without fraction and exponent that fits into 64 bits.
  case integer(Int)
  /// Any other number.
  case real(Double)
  /// With its escapes resolved.
  case string(String)
  /// In order.
  case array([JSONContent])
  /// Keys are unique.
  case object([String: JSONContent])
}

extension JSONContent {
  /// The value as one line of JSON, keys sorted; parses back to an equal value.
  public var text: String {
    switch self {
    case .null: "null"
    case .bool(let value): value ? "true" : "false"
    case .integer(let value): String(value)
    case .real(let value):
      // Infinity and NaN have no JSON form, and the parser never makes them.
      value.isFinite ? String(value) : "null"
    case .string(let value): Self.quote(value)
    case .array(let values): "[" + values.map(\.text).joined(separator: ",") + "]"
    case .object(let members):
      "{"
        + members.sorted { $0.key < $1.key }.map { Self.quote($0.key) + ":" + $0.value.text }
        .joined(separator: ",") + "}"
    }
  }

  /// The string with quotation marks and escapes.
  static func quote(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": result += "\\\""
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\r": result += "\\r"
      case "\t": result += "\\t"
      // What a terminal would not show but obey is written so that it cannot.
      case _ where isUnprintable(scalar):
        for half in Character(scalar).utf16 {
          let digits = String(half, radix: 16)
          result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        }
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result + "\""
  }

  /// The value in a few words, for messages.
  var summary: String {
    switch self {
    case .null: "null"
    case .bool, .integer, .real: text
    case .string(let value): quoted(value)
    case .array(let values): "a list of \(values.count)"
    case .object: "an object"
    }
  }
}
