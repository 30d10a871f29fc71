/// The header of a .npy file: `\x93NUMPY`, a version, a length, and a Python dictionary literal
/// such as `{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4), }`.
///
/// NumPy evaluates the literal as Python. Here a parser that knows three keys, strings, two
/// booleans and a tuple of integers reads it, and refuses all else.
///
/// Format: numpy.lib.format, versions 1.0 (length in 2 bytes), 2.0 (in 4), 3.0 (text in UTF-8).
struct NPYHeader: Equatable {
  var dtype: DType
  var isBigEndian: Bool
  var isFortranOrder: Bool
  var shape: [Int]
  /// Where the data begin.
  var dataOffset: Int

  struct Failure: Error {
    var problem: CheckpointError.Problem
    var offset: Int
  }

  /// More than this is no header of a plain array.
  static let maximum = 1 << 16

  /// Parses a header at the beginning of `bytes`, which holds all of it: up to `maximum` bytes,
  /// or the whole file if that is shorter.
  init(_ bytes: [UInt8]) throws(Failure) {
    func failure(_ reason: String, _ offset: Int) -> Failure {
      Failure(problem: .invalidNPYHeader(reason), offset: offset)
    }
    if bytes.count < 10 {
      throw Failure(problem: .truncated(found: bytes.count, needed: 10), offset: bytes.count)
    }
    if bytes[..<6] != [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59] {
      throw failure("it does not begin with \\x93NUMPY", 0)
    }
    guard (1...3).contains(bytes[6]), bytes[7] == 0 else {
      throw failure("unknown version \(bytes[6]).\(bytes[7])", 6)
    }
    let start = bytes[6] == 1 ? 10 : 12
    if bytes.count < start {
      throw Failure(problem: .truncated(found: bytes.count, needed: start), offset: bytes.count)
    }
    let length = bytes[8..<start].reversed().reduce(0) { $0 << 8 | Int($1) }
    if start + length > Self.maximum {
      throw Failure(
        problem: .headerTooLarge(bytes: UInt64(length), limit: Self.maximum - start), offset: 8)
    }
    if start + length > bytes.count {
      throw Failure(
        problem: .truncated(found: bytes.count, needed: start + length), offset: bytes.count)
    }
    var parser = LiteralParser(bytes: bytes[start..<start + length])
    let fields = try parser.dictionary()
    (dtype, isBigEndian) = try Self.elementType(fields.descr, fields.descrOffset)
    isFortranOrder = fields.fortranOrder
    shape = fields.shape
    dataOffset = start + length
  }

  private static func elementType(
    _ descr: String, _ offset: Int
  ) throws(Failure) -> (DType, isBigEndian: Bool) {
    let types: [String: DType] = [
      "f2": .f16, "f4": .f32, "f8": .f64, "i1": .i8, "i2": .i16, "i4": .i32, "i8": .i64, "u1": .u8,
      "b1": .bool,
    ]
    let order = descr.first
    guard let order, "<>=|".contains(order), let type = types[String(descr.dropFirst())],
      order != "|" || type.byteCount == 1
    else {
      let reason =
        descr.dropFirst().hasPrefix("O")
        ? "it holds pickled Python objects, which are never executed"
        : "dtype \(quoted(descr)) is not read; known are f2, f4, f8, i1, i2, i4, i8, u1 and b1"
      throw Failure(problem: .invalidNPYHeader(reason), offset: offset)
    }
    return (type, order == ">")
  }
}

/// Just enough of Python's literals.
private struct LiteralParser {
  struct Fields {
    var descr = ""
    var descrOffset = 0
    var fortranOrder = false
    var shape: [Int] = []
  }

  let bytes: ArraySlice<UInt8>
  private var position: Int

  init(bytes: ArraySlice<UInt8>) {
    self.bytes = bytes
    position = bytes.startIndex
  }

  mutating func dictionary() throws(NPYHeader.Failure) -> Fields {
    var fields = Fields()
    var seen: Set<String> = []
    try expect("{")
    while !take("}") {
      let start = offset
      let key = try string()
      if !seen.insert(key).inserted { throw failure("the key \(quoted(key)) occurs twice", start) }
      try expect(":")
      switch key {
      case "descr":
        fields.descrOffset = offset
        if peek == UInt8(ascii: "[") { throw failure("structured dtypes are not read", offset) }
        fields.descr = try string()
      case "fortran_order": fields.fortranOrder = try boolean()
      case "shape": fields.shape = try tuple()
      default: throw failure("unknown key \(quoted(key))", start)
      }
      if !take(",") {
        try expect("}")
        break
      }
    }
    for key in ["descr", "fortran_order", "shape"] where !seen.contains(key) {
      throw failure("the key \(quoted(key)) is missing", offset)
    }
    // Padding: spaces, and a line feed at the very end.
    if peek != nil { throw unexpected("the end") }
    return fields
  }

  private mutating func string() throws(NPYHeader.Failure) -> String {
    let start = offset
    guard let mark = peek, mark == UInt8(ascii: "'") || mark == UInt8(ascii: "\"") else {
      throw unexpected("a string")
    }
    position += 1
    var text: [UInt8] = []
    while position < bytes.endIndex, bytes[position] != mark {
      // No name that is known here needs an escape.
      if bytes[position] == UInt8(ascii: "\\") || bytes[position] < 32 { throw unexpected("text") }
      text.append(bytes[position])
      position += 1
    }
    if position == bytes.endIndex { throw failure("a string does not end", start) }
    position += 1
    return String(decoding: text, as: UTF8.self)
  }

  private mutating func boolean() throws(NPYHeader.Failure) -> Bool {
    if take("True") { return true }
    if take("False") { return false }
    throw unexpected("True or False")
  }

  private mutating func tuple() throws(NPYHeader.Failure) -> [Int] {
    var values: [Int] = []
    try expect("(")
    while !take(")") {
      values.append(try integer())
      if values.count > 64 { throw failure("more than 64 dimensions", offset) }
      if !take(",") {
        // `(3)` is a number to Python; a tuple of one is `(3,)`.
        if values.count == 1 { throw unexpected("','") }
        try expect(")")
        break
      }
    }
    return values
  }

  private mutating func integer() throws(NPYHeader.Failure) -> Int {
    let start = offset
    var digits = ""
    let isDigit = UInt8(ascii: "0")...UInt8(ascii: "9")
    while position < bytes.endIndex, isDigit.contains(bytes[position]) {
      digits.unicodeScalars.append(Unicode.Scalar(bytes[position]))
      position += 1
    }
    if digits.isEmpty { throw unexpected("an integer") }
    guard let value = Int(digits) else { throw failure("the number is out of range", start) }
    return value
  }

  /// The next byte that is no white space, nil at the end.
  private var peek: UInt8? {
    mutating get {
      while position < bytes.endIndex, bytes[position] == 32 || bytes[position] == 10 {
        position += 1
      }
      return position < bytes.endIndex ? bytes[position] : nil
    }
  }

  private var offset: Int {
    mutating get {
      _ = peek
      return position
    }
  }

  private mutating func take(_ text: StaticString) -> Bool {
    _ = peek
    let count = text.utf8CodeUnitCount
    guard bytes.endIndex - position >= count,
      (0..<count).allSatisfy({ bytes[position + $0] == text.utf8Start[$0] })
    else { return false }
    position += count
    return true
  }

  private mutating func expect(_ text: StaticString) throws(NPYHeader.Failure) {
    if !take(text) { throw unexpected("'\(text)'") }
  }

  private mutating func unexpected(_ expected: String) -> NPYHeader.Failure {
    let found =
      switch peek {
      case nil: "the end"
      case .some(let byte) where byte > 32 && byte < 127: "'\(Character(Unicode.Scalar(byte)))'"
      case .some(let byte): "byte \(byte)"
      }
    return failure("found \(found), expected \(expected)", position)
  }

  private func failure(_ reason: String, _ offset: Int) -> NPYHeader.Failure {
    .init(problem: .invalidNPYHeader(reason), offset: offset)
  }
}
