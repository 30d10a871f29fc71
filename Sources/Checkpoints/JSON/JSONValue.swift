/// A place in a JSON document: what is there, and its path for messages.
///
/// Places that do not exist can be formed and gone on from; reading one throws an error that
/// names it. `try model["layers"][3]["kernel_size"].integer()` needs no checks on the way, and
/// complains about `model.layers[3].kernel_size`.
public struct JSONValue: Equatable, Sendable {
  private enum Lookup: Equatable, Sendable {
    case found(JSONContent)
    /// It, or something on the way to it, is not there: the path of the first such place, the key
    /// that was looked for, and the object that lacks it. Only a complaint looks for near misses.
    case missing(path: Path, key: String, members: [String: JSONContent])
    /// Something on the way is no object or no list.
    case blocked(CheckpointError.Problem)
  }

  /// Where in the document, spelt out only for messages.
  private indirect enum Path: Equatable, Sendable {
    case root(String)
    case member(Path, String)
    case element(Path, Int)
  }

  private let place: Path
  /// The file the document is from.
  public let file: String?
  private let lookup: Lookup

  /// The root of a document; `name` begins all paths.
  public init(_ content: JSONContent, name: String, file: String?) {
    self.init(place: .root(name), file: file, lookup: .found(content))
  }

  /// Parses a document.
  ///
  /// - Throws: `CheckpointError.invalidJSON` naming the document, the defect and its offset.
  public init(parsing text: String, name: String, file: String?) throws(CheckpointError) {
    var text = text
    let result: Result<JSONValue, CheckpointError> = text.withUTF8 { bytes in
      Result { () throws(CheckpointError) in
        try JSONValue(parsing: UnsafeRawBufferPointer(bytes), name: name, file: file)
      }
    }
    self = try result.get()
  }

  /// Parses a document from its bytes.
  package init(
    parsing bytes: UnsafeRawBufferPointer, name: String, file: String?
  ) throws(CheckpointError) {
    do throws(JSONParser.Failure) {
      self.init(try JSONParser.parse(bytes), name: name, file: file)
    } catch {
      throw CheckpointError(
        .invalidJSON(document: name, defect: error.defect, offset: error.offset),
        at: .init(file: file))
    }
  }

  private init(place: Path, file: String?, lookup: Lookup) {
    self.place = place
    self.file = file
    self.lookup = lookup
  }

  /// Where in the document, from the name of its root: `model.layers[3].kernel_size`.
  public var path: String { Self.text(of: place) }

  private static func text(of place: Path) -> String {
    switch place {
    case .root(let name): return name
    case .element(let path, let index): return text(of: path) + "[\(index)]"
    case .member(let path, let key):
      let simple = key.utf8.allSatisfy {
        $0 == UInt8(ascii: "_") || Character(Unicode.Scalar($0)).isLetter
          || Character(Unicode.Scalar($0)).isNumber
      }
      // A path repeats its keys at every place below them.
      let isShort = simple && (1...60).contains(key.utf8.count)
      return text(of: path) + (isShort ? ".\(key)" : "[\(quoted(key))]")
    }
  }
}

// MARK: - Going down

extension JSONValue {
  /// The member of an object.
  public subscript(key: String) -> JSONValue {
    let below = Path.member(place, key)
    guard case .found(let content) = lookup else {
      return JSONValue(place: below, file: file, lookup: lookup)
    }
    guard case .object(let members) = content else {
      return JSONValue(place: below, file: file, lookup: .blocked(mismatch(content, "an object")))
    }
    if let member = members[key] {
      return JSONValue(place: below, file: file, lookup: .found(member))
    }
    return JSONValue(
      place: below, file: file, lookup: .missing(path: below, key: key, members: members))
  }

  /// The element of a list.
  public subscript(index: Int) -> JSONValue {
    let below = Path.element(place, index)
    guard case .found(let content) = lookup else {
      return JSONValue(place: below, file: file, lookup: lookup)
    }
    guard case .array(let elements) = content else {
      return JSONValue(place: below, file: file, lookup: .blocked(mismatch(content, "a list")))
    }
    let isInside = elements.indices.contains(index)
    return JSONValue(
      place: below, file: file,
      lookup: isInside ? .found(elements[index]) : .missing(path: below, key: "", members: [:]))
  }

  /// Whether anything is here, be it null.
  package var isWritten: Bool {
    if case .found = lookup { true } else { false }
  }

  /// Whether something other than null is here.
  public var exists: Bool {
    if case .found(let content) = lookup { content != .null } else { false }
  }
}

// MARK: - Reading

extension JSONValue {
  /// What is here.
  public func content() throws(CheckpointError) -> JSONContent {
    switch lookup {
    case .found(let content): return content
    case .missing(let path, let key, let members): throw missing(path, key, members)
    case .blocked(let problem): throw error(problem)
    }
  }

  /// The whole number here.
  ///
  /// - Throws: `unexpectedValue` with its path, as do the others.
  public func integer() throws(CheckpointError) -> Int {
    guard case .integer(let value) = try content() else { throw wrong("an integer") }
    return value
  }

  /// A number, integers included.
  public func double() throws(CheckpointError) -> Double {
    switch try content() {
    case .integer(let value): return Double(value)
    case .real(let value): return value
    default: throw wrong("a number")
    }
  }

  /// The truth value here.
  public func bool() throws(CheckpointError) -> Bool {
    guard case .bool(let value) = try content() else { throw wrong("true or false") }
    return value
  }

  /// The string here.
  public func string() throws(CheckpointError) -> String {
    guard case .string(let value) = try content() else { throw wrong("a string") }
    return value
  }

  /// The elements of a list, each with its path.
  public func array() throws(CheckpointError) -> [JSONValue] {
    guard case .array(let elements) = try content() else { throw wrong("a list") }
    return elements.indices.map { self[$0] }
  }

  /// The keys of an object, sorted.
  public func keys() throws(CheckpointError) -> [String] {
    guard case .object(let members) = try content() else { throw wrong("an object") }
    return members.keys.sorted()
  }

  /// The key and the value of an object that has one member: how schemas say which of several kinds
  /// of value is there.
  package func onlyMember() throws(CheckpointError) -> (key: String, value: JSONValue) {
    guard case .object(let members) = try content(), let key = members.keys.first,
      members.count == 1
    else { throw wrong("an object with one key") }
    return (key, self[key])
  }

  /// The list of whole numbers here.
  public func integers() throws(CheckpointError) -> [Int] {
    var result: [Int] = []
    for element in try array() { result.append(try element.integer()) }
    return result
  }

  /// The list of numbers here.
  public func doubles() throws(CheckpointError) -> [Double] {
    var result: [Double] = []
    for element in try array() { result.append(try element.double()) }
    return result
  }

  /// The list of strings here.
  public func strings() throws(CheckpointError) -> [String] {
    var result: [String] = []
    for element in try array() { result.append(try element.string()) }
    return result
  }
}

// MARK: - Reading with a default

extension JSONValue {
  /// The integer here, or `value` where there is nothing or null.
  public func integer(default value: Int) throws(CheckpointError) -> Int {
    try isAbsent() ? value : integer()
  }

  /// The number here, or `value` where there is nothing or null.
  public func double(default value: Double) throws(CheckpointError) -> Double {
    try isAbsent() ? value : double()
  }

  /// The truth value here, or `value` where there is nothing or null.
  public func bool(default value: Bool) throws(CheckpointError) -> Bool {
    try isAbsent() ? value : bool()
  }

  /// The string here, or `value` where there is nothing or null.
  public func string(default value: String) throws(CheckpointError) -> String {
    try isAbsent() ? value : string()
  }

  /// A place that is blocked is wrong, not absent.
  private func isAbsent() throws(CheckpointError) -> Bool {
    if case .blocked(let problem) = lookup { throw error(problem) }
    return !exists
  }
}

// MARK: - Complaining

extension JSONValue {
  /// - Throws: `unknownKey` for the first key of this object that is not in `known`, so that a
  ///   misspelt option is not taken for its default.
  public func requireKeys(in known: [String]) throws(CheckpointError) {
    for key in try keys() where !known.contains(key) {
      let near = nearMisses(key, among: known)
      throw error(
        .unknownKey(self[key].path, near: near),
        hint: near.isEmpty ? "Known are \(known.sorted().joined(separator: ", "))." : nil)
    }
  }

  /// An error that points here: this value is of the right kind and yet not `expected`.
  public func wrong(_ expected: String, hint: String? = nil) -> CheckpointError {
    switch lookup {
    case .found(let content): error(mismatch(content, expected), hint: hint)
    case .missing(let path, let key, let members): missing(path, key, members, hint: hint)
    case .blocked(let problem): error(problem, hint: hint)
    }
  }

  private func mismatch(_ content: JSONContent, _ expected: String) -> CheckpointError.Problem {
    .unexpectedValue(path, found: content.summary, expected: expected)
  }

  private func missing(
    _ place: Path, _ key: String, _ members: [String: JSONContent], hint: String? = nil
  ) -> CheckpointError {
    error(
      .missingValue(Self.text(of: place), near: nearMisses(key, among: members.keys)), hint: hint)
  }

  private func error(
    _ problem: CheckpointError.Problem, hint: String? = nil
  ) -> CheckpointError {
    CheckpointError(problem, at: .init(file: file), hint: hint)
  }
}
