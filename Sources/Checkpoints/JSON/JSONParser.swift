/// Strict JSON (RFC 8259) from bytes.
///
/// Foundation's JSONSerialization was the rival. It lost because it keeps one of two equal keys
/// without a word, turns integers into doubles or booleans depending on platform, gives no byte
/// offsets, and puts no bound on what it builds. Keys that Unicode regards as the same text count
/// as equal here; no writer makes such pairs on purpose.
struct JSONParser {
  /// Bounds on what is built from a hostile document, checked before it is built.
  struct Limits {
    var depth = 128
    var arrayCount = Int.max
  }

  struct Failure: Error {
    var defect: CheckpointError.JSONDefect
    var offset: Int
  }

  private let bytes: UnsafeRawBufferPointer
  private let limits: Limits
  private var position = 0

  /// Parses the whole of `bytes`: one value, with white space around it.
  static func parse(
    _ bytes: UnsafeRawBufferPointer, limits: Limits = Limits()
  ) throws(Failure) -> JSONContent {
    var parser = JSONParser(bytes: bytes, limits: limits)
    let value = try parser.value(depth: 0)
    parser.skipSpace()
    if parser.position < bytes.count { throw parser.unexpected("the end") }
    return value
  }

  static func parse(_ text: String) throws(Failure) -> JSONContent {
    var text = text
    let result: Result<JSONContent, Failure> = text.withUTF8 { buffer in
      do throws(Failure) {
        return .success(try parse(UnsafeRawBufferPointer(buffer)))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  private init(bytes: UnsafeRawBufferPointer, limits: Limits) {
    self.bytes = bytes
    self.limits = limits
  }
}

// MARK: - Values

extension JSONParser {
  private mutating func value(depth: Int) throws(Failure) -> JSONContent {
    if depth > limits.depth { throw failure(.nestedDeeper(than: limits.depth)) }
    skipSpace()
    guard let byte = peek else { throw unexpected("a value") }
    switch byte {
    case UInt8(ascii: "{"): return try object(depth)
    case UInt8(ascii: "["): return try array(depth)
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: throw unexpected("a value")
    }
  }

  private mutating func object(_ depth: Int) throws(Failure) -> JSONContent {
    position += 1
    var members: [String: JSONContent] = [:]
    skipSpace()
    if take("}") { return .object(members) }
    while true {
      skipSpace()
      if peek != UInt8(ascii: "\"") { throw unexpected("a key in quotation marks") }
      let start = position
      let key = try string()
      skipSpace()
      if !take(":") { throw unexpected("':'") }
      if members.updateValue(try value(depth: depth + 1), forKey: key) != nil {
        throw Failure(defect: .duplicateKey(key), offset: start)
      }
      skipSpace()
      if take("}") { return .object(members) }
      if !take(",") { throw unexpected("',' or '}'") }
    }
  }

  private mutating func array(_ depth: Int) throws(Failure) -> JSONContent {
    position += 1
    var elements: [JSONContent] = []
    skipSpace()
    if take("]") { return .array(elements) }
    while true {
      if elements.count == limits.arrayCount { throw failure(.arrayLonger(than: elements.count)) }
      elements.append(try value(depth: depth + 1))
      skipSpace()
      if take("]") { return .array(elements) }
      if !take(",") { throw unexpected("',' or ']'") }
    }
  }

  private mutating func word(_ text: StaticString, _ value: JSONContent) throws(Failure)
    -> JSONContent
  {
    for index in 0..<text.utf8CodeUnitCount {
      if peek != text.utf8Start[index] { throw unexpected("\(text)") }
      position += 1
    }
    return value
  }

  private mutating func number() throws(Failure) -> JSONContent {
    let start = position
    _ = take("-")
    if !take("0") { try digits() }
    var isInteger = true
    if take(".") {
      isInteger = false
      try digits()
    }
    if take("e") || take("E") {
      isInteger = false
      if !take("+") { _ = take("-") }
      try digits()
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger, let value = Int(text) { return .integer(value) }
    guard let value = Double(text), value.isFinite else {
      throw Failure(defect: .numberOutOfRange(String(text.prefix(40))), offset: start)
    }
    return .real(value)
  }

  private mutating func digits() throws(Failure) {
    let start = position
    while let byte = peek, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { position += 1 }
    if position == start { throw unexpected("a digit") }
  }
}

// MARK: - Strings

extension JSONParser {
  private mutating func string() throws(Failure) -> String {
    let start = position
    position += 1
    // Up to the first escape the text is what stands there, and most strings have none.
    let plain = UnsafeRawBufferPointer(rebasing: bytes[position...]).prefix {
      $0 >= 32 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
    }
    position += plain.count
    if take("\"") { return try text(UnsafeRawBufferPointer(rebasing: plain), from: start) }
    var unescaped = Array(plain)
    while true {
      guard let byte = peek else { throw unexpected("the end of a string") }
      if byte < 32 { throw failure(.controlCharacter) }
      position += 1
      switch byte {
      case UInt8(ascii: "\""): return try text(unescaped, from: start)
      case UInt8(ascii: "\\"): try escape(&unescaped)
      default: unescaped.append(byte)
      }
    }
  }

  private func text(_ bytes: some Collection<UInt8>, from start: Int) throws(Failure) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw Failure(defect: .invalidUTF8, offset: start)
    }
    if !text.isStreamSafe { throw Failure(defect: .combiningMarks, offset: start) }
    return text
  }

  private mutating func escape(_ text: inout [UInt8]) throws(Failure) {
    let start = position - 1
    let invalid = Failure(defect: .invalidEscape, offset: start)
    guard let byte = peek else { throw unexpected("the end of an escape") }
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
    case UInt8(ascii: "b"): text.append(8)
    case UInt8(ascii: "f"): text.append(12)
    case UInt8(ascii: "n"): text.append(10)
    case UInt8(ascii: "r"): text.append(13)
    case UInt8(ascii: "t"): text.append(9)
    case UInt8(ascii: "u"):
      var code = UInt32(try hexadecimal(invalid))
      // Characters beyond 16 bits are written as two halves; one half alone is no character.
      if (0xD800..<0xDC00).contains(code) {
        if !take("\\") || !take("u") { throw invalid }
        let low = UInt32(try hexadecimal(invalid))
        if !(0xDC00..<0xE000).contains(low) { throw invalid }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw invalid }
      text.append(contentsOf: Character(scalar).utf8)
    default: throw invalid
    }
  }

  private mutating func hexadecimal(_ invalid: Failure) throws(Failure) -> UInt16 {
    var code: UInt16 = 0
    for _ in 0..<4 {
      guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw invalid
      }
      code = code << 4 | UInt16(digit)
      position += 1
    }
    return code
  }
}

// MARK: - Bytes

extension JSONParser {
  private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
    if peek != UInt8(ascii: scalar) { return false }
    position += 1
    return true
  }

  private mutating func skipSpace() {
    while let byte = peek, byte == 32 || byte == 10 || byte == 13 || byte == 9 { position += 1 }
  }

  private func failure(_ defect: CheckpointError.JSONDefect) -> Failure {
    Failure(defect: defect, offset: position)
  }

  private func unexpected(_ expected: String) -> Failure {
    let found =
      switch peek {
      case nil: "the end"
      case .some(let byte) where byte > 32 && byte < 127: "'\(Character(Unicode.Scalar(byte)))'"
      case .some(let byte): "byte \(byte)"
      }
    return failure(.unexpected(found: found, expected: expected))
  }
}
