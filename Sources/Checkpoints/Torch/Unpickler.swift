import TensorModule

/// Python's pickle format, protocols 2 to 5, as far as `torch.save` needs it for tensors.
///
/// A pickle is a program for a stack machine. This machine has no instruction that calls
/// anything: a global is a word from the list in `Global`, and applying one to arguments makes a
/// dictionary or the description of a tensor (`Unpickler+Torch.swift`). Whatever else a program
/// asks for is an error that names it.
///
/// Containers live in tables and are referred to by index. So a list may contain itself, nothing
/// is nested in memory and nothing recursive happens here; whoever walks the result must bound
/// its depth and its visits. Every instruction takes at most a fixed number of bytes beyond its own text, and
/// their number is limited.
///
/// Format: https://github.com/python/cpython/blob/main/Lib/pickletools.py
struct Unpickler {
  enum Value: Equatable {
    case none
    case bool(Bool)
    case integer(Int)
    /// An integer beyond 64 bits, two's complement, little-endian.
    case long([UInt8])
    case real(Double)
    case string(String)
    /// Bytes; only their number is kept.
    case bytes(count: Int)
    /// Index into `sequences`.
    case list(Int)
    /// Index into `sequences`.
    case tuple(Int)
    /// Index into `dictionaries`.
    case dictionary(Int)
    case global(Global)
    case storage(TorchStorage)
    /// Index into `tensors`.
    case tensor(Int)
  }

  struct Failure: Error {
    var problem: CheckpointError.Problem
    /// From the beginning of the bytes.
    var offset: Int
    var hint: String?
  }

  /// Enough for some 70 000 tensors.
  private static let maximumInstructions = 1 << 22
  /// PyTorch numbers its storages; older versions use addresses.
  static let maximumKey = 1024

  private let bytes: UnsafeRawBufferPointer
  private let start: Int
  /// Behind the last byte read.
  private(set) var position: Int
  /// Where the current instruction begins, for messages.
  private var instruction = 0
  private var stack: [Value] = []
  /// Heights of the stack at which a MARK stands.
  private var marks: [Int] = []
  private var memo: [Int: Value] = [:]

  private(set) var sequences: [[Value]] = []
  private(set) var dictionaries: [[(key: Value, value: Value)]] = []
  /// Dictionaries with the key `_metadata`.
  private(set) var metadataHolders: Set<Int> = []
  var tensors: [TorchTensor] = []
  /// Shapes and strides by the tuple they come from: any number of tensors may share one.
  var integerTuples: [Int: [Int]] = [:]
  /// One for every reference; most tensors have their own.
  private(set) var storages: [TorchStorage] = []

  init(_ bytes: UnsafeRawBufferPointer, at position: Int = 0) {
    self.bytes = bytes
    self.position = position
    start = position
  }

  /// Bytes of the program so far.
  var byteCount: Int { position - start }

  /// Runs one program, from PROTO to STOP.
  mutating func run() throws(Failure) -> Value {
    instruction = position
    guard try byte() == Opcode.proto.rawValue else {
      throw failure(.invalidPickle("it does not begin with a protocol number"))
    }
    position -= 1
    for _ in 0..<Self.maximumInstructions {
      instruction = position
      let code = try byte()
      guard let opcode = Opcode(rawValue: code) else {
        throw failure(.forbiddenOpcode(Opcode.name(code)))
      }
      if opcode == .stop {
        let result = try pop()
        if !stack.isEmpty || !marks.isEmpty {
          throw failure(.invalidPickle("values are left over at its end"))
        }
        return result
      }
      try execute(opcode)
    }
    throw failure(.invalidPickle("it has more than \(Self.maximumInstructions) instructions"))
  }
}

// MARK: - Instructions

extension Unpickler {
  private mutating func execute(_ opcode: Opcode) throws(Failure) {
    switch opcode {
    case .proto:
      let version = try byte()
      if !(2...5).contains(version) {
        throw failure(.invalidPickle("protocol \(version); 2 to 5 are read"))
      }
    case .frame:
      let length = try unsigned(8)
      if length > bytes.count - position { throw truncated(length) }
    case .stop: break

    case .none: stack.append(.none)
    case .newTrue: stack.append(.bool(true))
    case .newFalse: stack.append(.bool(false))
    case .binInt: stack.append(.integer(Int(Int32(truncatingIfNeeded: try unsigned(4)))))
    case .binInt1: stack.append(.integer(try unsigned(1)))
    case .binInt2: stack.append(.integer(try unsigned(2)))
    case .long1: stack.append(integer(try take(try unsigned(1))))
    case .long4: stack.append(integer(try take(try unsigned(4))))
    case .binFloat:
      let text = try take(8)
      let pattern = text.reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      stack.append(.real(Double(bitPattern: pattern)))
    case .shortBinUnicode, .shortBinString: stack.append(.string(try text(unsigned(1))))
    case .binUnicode, .binString: stack.append(.string(try text(unsigned(4))))
    case .binUnicode8: stack.append(.string(try text(unsigned(8))))
    case .shortBinBytes: stack.append(.bytes(count: try take(try unsigned(1)).count))
    case .binBytes: stack.append(.bytes(count: try take(try unsigned(4)).count))
    case .binBytes8, .byteArray8: stack.append(.bytes(count: try take(try unsigned(8)).count))

    case .mark: marks.append(stack.count)
    case .pop:
      // As in Python, this takes away a mark if one is on top.
      if marks.last == stack.count { marks.removeLast() } else { _ = try pop() }
    case .popMark: _ = try popToMark()
    case .emptyTuple: pushTuple([])
    case .tuple1: pushTuple(try pop(1))
    case .tuple2: pushTuple(try pop(2))
    case .tuple3: pushTuple(try pop(3))
    case .tuple: pushTuple(try popToMark())
    case .emptyList:
      sequences.append([])
      stack.append(.list(sequences.count - 1))
    case .append: try append(pop(1))
    case .appends: try append(popToMark())
    case .emptyDict: stack.append(newDictionary())
    case .setItem: try setItems(pop(2))
    case .setItems: try setItems(popToMark())

    case .binPut: memo[try unsigned(1)] = try top()
    case .longBinPut: memo[try unsigned(4)] = try top()
    case .memoize: memo[memo.count] = try top()
    case .binGet: try recall(unsigned(1))
    case .longBinGet: try recall(unsigned(4))

    case .global: try pushGlobal(module: line(), name: line())
    case .stackGlobal:
      let names = try pop(2)
      guard case .string(let module) = names[0], case .string(let name) = names[1] else {
        throw failure(.invalidPickle("the name of a global is no string"))
      }
      try pushGlobal(module: module, name: name)
    case .binPersID:
      storages.append(try storage(pop()))
      stack.append(.storage(storages[storages.count - 1]))
    case .reduce:
      let operands = try pop(2)
      guard case .global(let global) = operands[0] else {
        throw failure(.invalidPickle("something other than a global is called"))
      }
      stack.append(try apply(global, to: operands[1]))
    case .build:
      let state = try pop()
      try checkState(state, of: top())
    }
  }

  mutating func newDictionary() -> Value {
    dictionaries.append([])
    return .dictionary(dictionaries.count - 1)
  }

  private mutating func pushTuple(_ values: [Value]) {
    sequences.append(values)
    stack.append(.tuple(sequences.count - 1))
  }

  private mutating func append(_ values: [Value]) throws(Failure) {
    guard case .list(let index) = try top() else {
      throw failure(.invalidPickle("something other than a list is appended to"))
    }
    sequences[index].append(contentsOf: values)
  }

  private mutating func setItems(_ values: [Value]) throws(Failure) {
    guard case .dictionary(let index) = try top() else {
      throw failure(.invalidPickle("items are set in something other than a dictionary"))
    }
    if values.count % 2 != 0 { throw failure(.invalidPickle("a key has no value")) }
    for position in stride(from: 0, to: values.count, by: 2) {
      dictionaries[index].append((values[position], values[position + 1]))
      if values[position] == .string("_metadata") { metadataHolders.insert(index) }
    }
  }

  private mutating func recall(_ index: Int) throws(Failure) {
    guard let value = memo[index] else {
      throw failure(.invalidPickle("it refers to memo entry \(index), which is not set"))
    }
    stack.append(value)
  }

  private mutating func pushGlobal(module: String, name: String) throws(Failure) {
    guard let global = Global(module: module, name: name) else {
      throw failure(.forbiddenGlobal("\(module).\(name)"), hint: Global.advice(module, name))
    }
    stack.append(.global(global))
  }

  /// Two's complement, little-endian; no bytes are 0.
  private func integer(_ digits: UnsafeRawBufferPointer) -> Value {
    if digits.count > 8 { return .long(Array(digits)) }
    var value: UInt64 = digits.last.map { $0 >= 128 } == true ? .max : 0
    for digit in digits.reversed() { value = value << 8 | UInt64(digit) }
    return .integer(Int(truncatingIfNeeded: value))
  }
}

// MARK: - Stack

extension Unpickler {
  /// Values below the last mark are out of reach.
  private var floor: Int { marks.last ?? 0 }

  private func top() throws(Failure) -> Value {
    if stack.count <= floor { throw failure(.invalidPickle("its stack is empty")) }
    return stack[stack.count - 1]
  }

  private mutating func pop() throws(Failure) -> Value {
    let value = try top()
    stack.removeLast()
    return value
  }

  private mutating func pop(_ count: Int) throws(Failure) -> [Value] {
    if stack.count - floor < count { throw failure(.invalidPickle("its stack is empty")) }
    defer { stack.removeLast(count) }
    return Array(stack.suffix(count))
  }

  private mutating func popToMark() throws(Failure) -> [Value] {
    guard let mark = marks.popLast() else { throw failure(.invalidPickle("a mark is missing")) }
    defer { stack.removeLast(stack.count - mark) }
    return Array(stack[mark...])
  }
}

// MARK: - Bytes

extension Unpickler {
  private mutating func take(_ count: Int) throws(Failure) -> UnsafeRawBufferPointer {
    if count > bytes.count - position { throw truncated(count) }
    defer { position += count }
    return UnsafeRawBufferPointer(rebasing: bytes[position..<position + count])
  }

  private mutating func byte() throws(Failure) -> UInt8 { try take(1)[0] }

  /// A little-endian number of so many bytes.
  private mutating func unsigned(_ count: Int) throws(Failure) -> Int {
    var value: UInt64 = 0
    for digit in try take(count).reversed() { value = value << 8 | UInt64(digit) }
    // What does not fit is the length of something, and too long in any case.
    return Int(exactly: value) ?? .max
  }

  private mutating func text(_ count: Int) throws(Failure) -> String {
    guard let text = String(validating: try take(count), as: UTF8.self) else {
      throw failure(.invalidPickle("a string is not valid UTF-8"))
    }
    if !text.isStreamSafe {
      throw failure(.invalidPickle("a string has more than 30 combining marks in a row"))
    }
    return text
  }

  private mutating func line() throws(Failure) -> String {
    guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else {
      throw truncated(bytes.count - position + 1)
    }
    let line = try text(end - position)
    position += 1
    return line
  }

  private func truncated(_ count: Int) -> Failure {
    failure(.truncated(found: bytes.count, needed: checkedSum(position, count) ?? .max))
  }

  /// A failure of the current instruction.
  func failure(_ problem: CheckpointError.Problem, hint: String? = nil) -> Failure {
    Failure(problem: problem, offset: instruction, hint: hint)
  }
}
