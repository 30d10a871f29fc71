import Foundation
import Testing

@testable import Checkpoints

/// Pickles put together instruction by instruction, so that the defect is in plain sight.
enum Pickle {
  static let mark: [UInt8] = [UInt8(ascii: "(")]
  static let reduce: [UInt8] = [UInt8(ascii: "R")]
  static let emptyTuple: [UInt8] = [UInt8(ascii: ")")]
  static let emptyList: [UInt8] = [UInt8(ascii: "]")]
  static let emptyDict: [UInt8] = [UInt8(ascii: "}")]
  static let none: [UInt8] = [UInt8(ascii: "N")]
  static let build: [UInt8] = [UInt8(ascii: "b")]

  static func program(_ body: [UInt8]) -> [UInt8] { [0x80, 2] + body + [UInt8(ascii: ".")] }

  static func text(_ text: String) -> [UInt8] {
    [UInt8(ascii: "X")] + littleEndian(UInt32(text.utf8.count)) + Array(text.utf8)
  }

  static func integer(_ value: Int) -> [UInt8] { [0x8A, 8] + littleEndian(value) }

  static func global(_ module: String, _ name: String) -> [UInt8] {
    Array("c\(module)\n\(name)\n".utf8)
  }

  static func put(_ index: UInt8) -> [UInt8] { [UInt8(ascii: "q"), index] }

  static func get(_ index: UInt8) -> [UInt8] { [UInt8(ascii: "h"), index] }

  static func tuple(_ values: [[UInt8]]) -> [UInt8] {
    mark + values.flatMap { $0 } + [UInt8(ascii: "t")]
  }

  static func list(_ values: [[UInt8]]) -> [UInt8] {
    emptyList + mark + values.flatMap { $0 } + [UInt8(ascii: "e")]
  }

  static func dict(_ items: [([UInt8], [UInt8])]) -> [UInt8] {
    emptyDict + mark + items.flatMap { $0.0 + $0.1 } + [UInt8(ascii: "u")]
  }

  static let orderedDict = global("collections", "OrderedDict") + emptyTuple + reduce

  static func storage(
    _ type: String = "FloatStorage", key: String = "0", count: Int = 4
  ) -> [UInt8] {
    tuple([text("storage"), global("torch", type), text(key), text("cpu"), integer(count)])
      + [UInt8(ascii: "Q")]
  }

  static func tensor(
    of storage: [UInt8] = storage(), offset: Int = 0, _ shape: [Int] = [2, 2],
    _ strides: [Int] = [2, 1]
  ) -> [UInt8] {
    global("torch._utils", "_rebuild_tensor_v2")
      + tuple([
        storage, integer(offset), tuple(shape.map(integer)), tuple(strides.map(integer)), [0x89],
        orderedDict,
      ]) + reduce
  }

  /// A dictionary in which the tensor is called x.
  static func x(_ tensor: [UInt8]) -> [UInt8] { dict([(text("x"), tensor)]) }
}

@Suite struct TorchHostileTests {
  struct Case: CustomTestStringConvertible {
    var claim: String
    var pickle: [UInt8]
    var message: String
    var testDescription: String { claim }

    init(_ claim: String, _ body: [UInt8], _ message: String) {
      (self.claim, self.message) = (claim, message)
      pickle = Pickle.program(body)
    }
  }

  private static func archive(_ pickle: [UInt8], byteorder: String? = nil) -> [UInt8] {
    zip(
      [
        ZipMember(name: "a/data.pkl", bytes: pickle),
        ZipMember(
          name: "a/data/0",
          bytes: [Float](repeating: 1, count: 4).flatMap {
            littleEndian($0.bitPattern)
          }),
      ] + (byteorder.map { [ZipMember(name: "a/byteorder", bytes: Array($0.utf8))] } ?? []))
  }

  private static func opened(_ pickle: [UInt8]) throws -> TensorArchive {
    let file = TemporaryFile(archive(pickle))
    defer { withExtendedLifetime(file) {} }
    return try TensorArchive.open(file.path)
  }

  // MARK: - Instructions

  private static func invalid(_ reason: String, _ byte: Int) -> String {
    """
    the pickle is not valid: \(reason)
      at FILE, tensor a/data.pkl, byte \(byte)
      The file is damaged, or torch.save did not write it; save it again.
    """
  }

  private static func forbidden(_ what: String, _ byte: Int) -> String {
    """
    \(what) is not allowed: nothing that a file contains is executed
      at FILE, tensor a/data.pkl, byte \(byte)
      Save tensors and numbers alone: torch.save(model.state_dict(), path).
    """
  }

  private static func short(_ found: Int, _ needed: Int, _ byte: Int) -> String {
    """
    the data end after \(found) bytes, at least \(needed) are needed
      at FILE, tensor a/data.pkl, byte \(byte)
      \(SafetensorsHostileTests.cutShort)
    """
  }

  static let programs: [Case] = [
    Case(
      "a call of os.system",
      Pickle.global("os", "system") + Pickle.tuple([Pickle.text("ls")]) + Pickle.reduce,
      forbidden("os.system", 2)),
    Case(
      "a call of eval by protocol 4",
      Pickle.text("builtins") + Pickle.text("eval") + [0x93], forbidden("builtins.eval", 24)),
    Case(
      "a nested name", Pickle.text("collections") + Pickle.text("OrderedDict.fromkeys") + [0x93],
      forbidden("collections.OrderedDict.fromkeys", 43)),
    Case(
      "a name of control characters", Pickle.global("\u{1B}[2J", "x"),
      forbidden(#"\u{1b}[2J.x"#, 2)),
    Case(
      "a global that is no text", Pickle.none + Pickle.none + [0x93],
      invalid("the name of a global is no string", 4)),
    Case("an unknown instruction", [0xFF], forbidden("the pickle instruction 0xff", 2)),
    Case(
      "INST", Pickle.mark + Array("ios\nsystem\n".utf8), forbidden("the pickle instruction INST", 3)
    ),
    Case(
      "NEWOBJ", Pickle.none + Pickle.emptyTuple + [0x81],
      forbidden("the pickle instruction NEWOBJ", 4)),
    Case("EXT1", [0x82, 1], forbidden("the pickle instruction EXT1", 2)),
    Case(
      "attributes of something else",
      Pickle.orderedDict + Pickle.dict([(Pickle.text("__class__"), Pickle.none)]) + Pickle.build,
      forbidden("the pickle instruction BUILD", 47)),
    Case("the protocol of the future", [0x80, 6], invalid("protocol 6; 2 to 5 are read", 2)),
    Case(
      "a text beyond the end", [UInt8(ascii: "X"), 255, 255, 255, 255],
      short(8, 4_294_967_302, 2)),
    Case(
      "a text of more than 63 bits", [0x8D] + littleEndian(UInt64.max),
      short(12, .max, 2)),
    Case("an integer beyond the end", [0x8B, 0, 0, 0, 128], short(8, 2_147_483_655, 2)),
    Case("a frame beyond the end", [0x95] + littleEndian(UInt64(3)), short(12, 14, 2)),
    Case("a global without end", Array("cos".utf8), short(6, 7, 2)),
    Case("bad UTF-8", [0x8C, 1, 0xFF], invalid("a string is not valid UTF-8", 2)),
    Case(
      "an entry of the memo that is not set", Pickle.get(7),
      invalid("it refers to memo entry 7, which is not set", 2)),
    Case("nothing", [], invalid("its stack is empty", 2)),
    Case("two values", Pickle.none + Pickle.none, invalid("values are left over at its end", 4)),
    Case(
      "a mark at the end", Pickle.mark + Pickle.none, invalid("values are left over at its end", 4)),
    Case(
      "values below a mark", Pickle.none + Pickle.mark + [0x85], invalid("its stack is empty", 4)),
    Case("a tuple without mark", [UInt8(ascii: "t")], invalid("a mark is missing", 2)),
    Case(
      "an item without value", Pickle.emptyDict + Pickle.mark + Pickle.none + [UInt8(ascii: "u")],
      invalid("a key has no value", 5)),
    Case(
      "items of a list", Pickle.emptyList + Pickle.none + Pickle.none + [UInt8(ascii: "s")],
      invalid("items are set in something other than a dictionary", 5)),
    Case(
      "elements of a tuple", Pickle.emptyTuple + Pickle.none + [UInt8(ascii: "a")],
      invalid("something other than a list is appended to", 4)),
    Case(
      "a call of a number", Pickle.integer(1) + Pickle.emptyTuple + Pickle.reduce,
      invalid("something other than a global is called", 13)),
    Case(
      "a call of a storage type",
      Pickle.global("torch", "FloatStorage") + Pickle.emptyTuple + Pickle.reduce,
      invalid("a storage type is called", 23)),
    Case(
      "a call of a class of tensors",
      Pickle.global("torch", "Tensor") + Pickle.emptyTuple + Pickle.reduce,
      invalid("a class of tensors is called", 17)),
    Case(
      "a tensor with attributes by another function",
      Pickle.global("torch._tensor", "_rebuild_from_type_v2")
        + Pickle.tuple([
          Pickle.global("collections", "OrderedDict"), Pickle.global("torch", "Tensor"),
          Pickle.emptyTuple, Pickle.emptyDict,
        ]) + Pickle.reduce,
      invalid("a tensor with attributes is not (function, class, ...)", 82)),
    Case(
      "a call without tuple",
      Pickle.global("collections", "OrderedDict") + Pickle.none + Pickle.reduce,
      invalid("arguments are no tuple", 28)),
    Case(
      "an ordered dictionary with arguments",
      Pickle.global("collections", "OrderedDict") + Pickle.tuple([Pickle.none]) + Pickle.reduce,
      invalid("collections.OrderedDict with arguments", 30)),
    Case(
      "a parameter of no tensor",
      Pickle.global("torch._utils", "_rebuild_parameter")
        + Pickle.tuple([Pickle.none, Pickle.none, Pickle.none]) + Pickle.reduce,
      invalid("a parameter is not (tensor, requires_grad, hooks)", 40)),
    Case(
      "a tensor of nothing",
      Pickle.global("torch._utils", "_rebuild_tensor_v2") + Pickle.emptyTuple + Pickle.reduce,
      invalid("a tensor is not (storage, offset, shape, strides, ...)", 36)),
    Case(
      "a persistent id that is a text", Pickle.text("x") + [UInt8(ascii: "Q")],
      invalid("a persistent id is no storage", 8)),
    Case(
      "a storage of fewer than no elements", Pickle.storage(count: -1),
      invalid("a storage is not (type, key, location, count)", 60)),
  ]

  @Test(arguments: programs) func anInvalidProgramIsRefused(_ hostile: Case) {
    let file = TemporaryFile(Self.archive(hostile.pickle))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) } == hostile.message)
  }

  @Test func aProgramBeginsWithItsProtocol() {
    let file = TemporaryFile(Self.archive(Array("(dp0\n.".utf8)))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) }
        == Self.invalid("it does not begin with a protocol number", 0))
  }

  // MARK: - Structure

  private static func structure(_ reason: String) -> String {
    """
    the pickle is not valid: \(reason)
      at FILE
      The file is damaged, or torch.save did not write it; save it again.
    """
  }

  private static let tooDeep = structure(
    "nested deeper than 64 levels, or a container that contains itself")

  static let structures: [Case] = [
    Case(
      "a list of itself", Pickle.emptyList + Pickle.put(0) + Pickle.get(0) + [UInt8(ascii: "a")],
      tooDeep),
    Case(
      "a dictionary of itself",
      Pickle.emptyDict + Pickle.put(0) + Pickle.text("x") + Pickle.get(0) + [UInt8(ascii: "s")],
      tooDeep),
    Case(
      "a million nested tuples", Pickle.emptyTuple + [UInt8](repeating: 0x85, count: 1_000_000),
      tooDeep),
    Case(
      "a key that is a tuple", Pickle.dict([(Pickle.emptyTuple, Pickle.none)]),
      structure("a key is neither a string nor an integer")),
    Case(
      "a key below that is nothing", Pickle.x(Pickle.dict([(Pickle.none, Pickle.none)])),
      structure("a key of \"x\" is neither a string nor an integer")),
    Case(
      "a name without end",
      Pickle.dict([(Pickle.text(String(repeating: "x", count: 1025)), Pickle.none)]),
      structure("a name is longer than 1024 bytes")),
    Case(
      "two tensors of one name",
      Pickle.dict([
        (Pickle.text("a.b"), Pickle.tensor()),
        (Pickle.text("a"), Pickle.dict([(Pickle.text("b"), Pickle.tensor())])),
      ]),
      """
      two tensors have this name
        at FILE, tensor a.b
        Nested dictionaries are flattened with dots; rename a key.
      """),
  ]

  @Test(arguments: structures) func anImpossibleStructureIsRefused(_ hostile: Case) {
    let file = TemporaryFile(Self.archive(hostile.pickle))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) } == hostile.message)
  }

  @Test func sharedListsDoNotMultiply() {
    // 2^50 ways lead to the innermost of 50 lists, each of which holds the next one twice.
    var doubled = Pickle.emptyList + Pickle.put(0)
    for level in UInt8(0)..<50 {
      doubled += [UInt8(ascii: "0")]
      doubled += Pickle.list([Pickle.get(level), Pickle.get(level)])
      doubled += Pickle.put(level + 1)
    }
    let file = TemporaryFile(Self.archive(Pickle.program(doubled)))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) }
        == Self.structure("it repeats parts of itself more often than its length explains"))
  }

  /// There are no more values than bytes here, but each repeats the name of the outermost.
  @Test func sharedListsUnderLongNamesDoNotMultiply() {
    var doubled = Pickle.emptyList + Pickle.put(0)
    for level in UInt8(0)..<8 {
      doubled += [UInt8(ascii: "0")]
      doubled += Pickle.list([Pickle.get(level), Pickle.get(level)])
      doubled += Pickle.put(level + 1)
    }
    let key = Pickle.text(String(repeating: "k", count: 1000))
    let file = TemporaryFile(
      Self.archive(Pickle.program(Pickle.dict([(key, doubled)]))))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) }
        == Self.structure("it repeats parts of itself more often than its length explains"))
  }

  /// The time for each of these grew with the square of the length: minutes for these sizes.
  @Test(.timeLimit(.minutes(1)), arguments: ["BUILD", "shapes", "appends"])
  func longPicklesTakeTimeByTheirLength(_ what: String) {
    let count = 100_000
    func repeated(_ bytes: [UInt8]) -> [UInt8] {
      [UInt8](repeatElement(bytes, count: count).joined())
    }
    let number: [UInt8] = [UInt8(ascii: "K"), 1]
    let program: [UInt8]
    switch what {
    case "BUILD":
      // A dictionary whose last key is the one that is looked for, used as often.
      program =
        Pickle.emptyDict + Pickle.put(0) + Pickle.mark + repeated(number + Pickle.none)
        + Pickle.text("_metadata") + Pickle.none + [UInt8(ascii: "u"), UInt8(ascii: "0")]
        + Pickle.orderedDict + repeated(Pickle.get(0) + Pickle.build)
    case "shapes":
      // One long tuple that is the shape of many tensors.
      program =
        Pickle.mark + repeated(number) + [UInt8(ascii: "t")] + Pickle.put(0)
        + [UInt8(ascii: "0")] + Pickle.global("torch._utils", "_rebuild_tensor_v2")
        + Pickle.put(1) + [UInt8(ascii: "0")]
        + Pickle.tuple([
          Pickle.storage(), Pickle.integer(0), Pickle.get(0), Pickle.get(0), [0x89],
          Pickle.orderedDict,
        ]) + Pickle.put(2) + [UInt8(ascii: "0")] + Pickle.emptyList + Pickle.mark
        + repeated(Pickle.get(1) + Pickle.get(2) + Pickle.reduce) + [UInt8(ascii: "e")]
    default:
      program = Pickle.emptyList + repeated(number + [UInt8(ascii: "a")])
    }
    let file = TemporaryFile(Self.archive(Pickle.program(program)))
    let outcome = Result { try TensorArchive.open(file.path) }
    switch (what, outcome) {
    case ("shapes", .failure(let error)): #expect("\(error)".contains("too large to address"))
    case ("appends", .success(let archive)): #expect(archive.metadata.count == count)
    case ("BUILD", .success(let archive)): #expect(archive.tensors.isEmpty)
    default: Issue.record("\(what): \(outcome)")
    }
  }

  /// What the stride of a dimension of one element is does not matter, and it may be anything.
  @Test func theStrideOfOneElementIsNeverUsed() throws {
    let file = TemporaryFile(
      Self.archive(Pickle.program(Pickle.x(Pickle.tensor([2, 1, 2], [1, .max, 2])))))
    let archive = try TensorArchive.open(file.path)
    #expect(try archive.tensor("x").vector(of: Float.self).array.count == 4)
  }

  @Test func repeatedNumbersOfAllTensorsAreCountedTogether() {
    // Each is 4 MB of one number.
    let tensor = Pickle.tensor([1 << 20], [0])
    let file = TemporaryFile(
      Self.archive(
        Pickle.program(Pickle.dict((0..<5).map { (Pickle.text("x\($0)"), tensor) }))))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) } == """
        16 stored bytes claim to unpack to 4194304
          at FILE, tensor x4
          Its strides repeat the same numbers; call contiguous() on it before saving.
        """)
  }

  @Test func gatheringStaysWithinTheMemoryAllowed() throws {
    let file = TemporaryFile(
      Self.archive(Pickle.program(Pickle.x(Pickle.tensor([2, 2], [1, 2])))))
    let tensor = try TensorArchive.open(file.path, files: InputFiles(memory: 15)).tensor("x")
    #expect(
      message(for: file.path) { _ = try tensor.vector(of: Float.self) } == """
        its numbers take 16 bytes outside the file, and 15 of the memory allowed are left
          at FILE, tensor x
          Allow more with memory, or save it as safetensors, which is read where it lies.
        """)
    #expect(
      try TensorArchive.open(file.path, files: InputFiles(memory: 16)).tensor("x").vector(
        of: Float.self
      ).array.count
        == 4)
  }

  // MARK: - Tensors

  private static let remedy =
    "The file was not written correctly; save it again with torch.save."

  private static func view(_ view: String) -> String {
    """
    \(view) is not inside a storage of 4 elements
      at FILE, tensor x
      \(remedy)
    """
  }

  private static func impossible(_ shape: String) -> String {
    """
    shape \(shape) is negative or too large to address
      at FILE, tensor x
      \(remedy)
    """
  }

  static let views: [Case] = [
    Case(
      "a view that ends behind the storage", Pickle.x(Pickle.tensor(offset: 1)),
      view("shape [2, 2] with strides [2, 1] from offset 1")),
    Case(
      "a view that begins before it", Pickle.x(Pickle.tensor(offset: -1)),
      view("shape [2, 2] with strides [2, 1] from offset -1")),
    Case(
      "an offset whose bytes overflow", Pickle.x(Pickle.tensor(offset: .max, [1], [1])),
      view("shape [1] with strides [1] from offset \(Int.max)")),
    Case(
      "strides that overflow", Pickle.x(Pickle.tensor([2, 2], [.max, .max])),
      view("shape [2, 2] with strides [\(Int.max), \(Int.max)] from offset 0")),
    Case(
      "a product that overflows", Pickle.x(Pickle.tensor([5], [1 << 62])),
      view("shape [5] with strides [\(1 << 62)] from offset 0")),
    Case(
      "a stride backwards", Pickle.x(Pickle.tensor([2], [-1])),
      view("shape [2] with strides [-1] from offset 0")),
    Case(
      "fewer strides than dimensions", Pickle.x(Pickle.tensor([2, 2], [1])),
      view("shape [2, 2] with strides [1] from offset 0")),
    Case("a negative dimension", Pickle.x(Pickle.tensor([-2], [1])), impossible("[-2]")),
    Case(
      "a shape that overflows", Pickle.x(Pickle.tensor([1 << 32, 1 << 32], [0, 0])),
      impossible("[4294967296, 4294967296]")),
    Case(
      "a shape that overflows beside a zero",
      Pickle.x(Pickle.tensor([1 << 32, 1 << 32, 0], [0, 0, 1])),
      impossible("[4294967296, 4294967296, 0]")),
    Case(
      "more dimensions than PyTorch has",
      Pickle.x(
        Pickle.tensor([Int](repeating: 1, count: 65), [Int](repeating: 1, count: 65))),
      impossible("[" + [String](repeating: "1", count: 65).joined(separator: ", ") + "]")),
    Case(
      "a number repeated without end", Pickle.x(Pickle.tensor([1 << 40], [0])),
      """
      16 stored bytes claim to unpack to 4398046511104
        at FILE, tensor x
        Its strides repeat the same numbers; call contiguous() on it before saving.
      """),
    Case(
      "a storage larger than its member", Pickle.x(Pickle.tensor(of: Pickle.storage(count: 1000))),
      """
      16 bytes of data, but F32 of shape [1000] takes 4000
        at FILE, tensor x
        \(remedy)
      """),
    Case(
      "a storage of another element size",
      Pickle.x(Pickle.tensor(of: Pickle.storage("DoubleStorage"))),
      """
      16 bytes of data, but F64 of shape [4] takes 32
        at FILE, tensor x
        \(remedy)
      """),
    Case(
      "a storage beyond addresses", Pickle.x(Pickle.tensor(of: Pickle.storage(count: .max))),
      impossible("[\(Int.max)]")),
    Case(
      "a storage that is not there", Pickle.x(Pickle.tensor(of: Pickle.storage(key: "../0"))),
      """
      the archive has no member a/data/../0
        at FILE, tensor x
        The file was not written completely; save it again.
      """),
  ]

  @Test(arguments: views) func aViewOutsideItsStorageIsRefused(_ hostile: Case) {
    let file = TemporaryFile(Self.archive(hostile.pickle))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) } == hostile.message)
  }

  @Test func theArchivesMadeHereAreFineWithoutTheirDefect() throws {
    let archive = try Self.opened(
      Pickle.program(
        Pickle.orderedDict + Pickle.mark + Pickle.text("x") + Pickle.tensor()
          + Pickle.text("step") + Pickle.integer(-5) + [UInt8(ascii: "u")]
          + Pickle.dict([(Pickle.text("_metadata"), Pickle.orderedDict)]) + Pickle.build))
    #expect(try archive.tensor("x").vector(of: Float.self).array == [1, 1, 1, 1])
    #expect(archive.metadata == ["step": "-5"])
  }

  @Test func memoIndicesNeedNotBeSmall() throws {
    let far: [UInt8] = [255, 255, 255, 255]
    let archive = try Self.opened(
      Pickle.program(
        Pickle.integer(3) + [UInt8(ascii: "r")] + far + [UInt8(ascii: "0")]
          + Pickle.x([UInt8(ascii: "j")] + far)))
    #expect(archive.metadata == ["x": "3"])
  }

  @Test func integersOfEveryLengthRead() throws {
    let integers: [([UInt8], String?)] = [
      ([0x8A, 0], "0"), ([0x8A, 1, 0xFF], "-1"), ([0x8A, 2, 0xFF, 0], "255"),
      ([0x8A, 8, 0, 0, 0, 0, 0, 0, 0, 128], "\(Int.min)"),
      ([0x8A, 9] + [UInt8](repeating: 1, count: 9), nil),
      ([UInt8(ascii: "J"), 254, 255, 255, 255], "-2"), ([UInt8(ascii: "M"), 1, 2], "513"),
      ([UInt8(ascii: "K"), 255], "255"),
    ]
    for (text, expected) in integers {
      #expect(try Self.opened(Pickle.program(Pickle.x(text))).metadata["x"] == expected)
    }
  }

  // MARK: - Archives

  @Test func anUnknownByteOrderIsRefused() {
    let file = TemporaryFile(
      Self.archive(Pickle.program(Pickle.x(Pickle.tensor())), byteorder: "middle"))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) } == """
        the byte order is "middle", expected little or big
          at FILE, tensor a/byteorder
        """)
  }

  @Test func anArchiveOfSeveralObjectsIsRefused() {
    let pickle = Pickle.program(Pickle.emptyDict)
    let file = TemporaryFile(
      zip([
        ZipMember(name: "a/data.pkl", bytes: pickle), ZipMember(name: "b/data.pkl", bytes: pickle),
      ]))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) } == """
        this is a zip with 2 members data.pkl, expected a file by torch.save
          at FILE
          Save one object: torch.save(model.state_dict(), path).
        """)
  }

  /// libzip finds both the member and its header; only the length of the name in it is wrong.
  @Test func aMemberWhoseHeaderDisagreesIsRefused() {
    var bytes = Self.archive(Pickle.program(Pickle.x(Pickle.tensor())))
    bytes[26] = 200
    let file = TemporaryFile(bytes)
    let text = message(for: file.path) { _ = try TensorArchive.open(file.path) }
    #expect(text.hasPrefix("the zip archive is damaged: "))
  }

  @Test func aPyTorchFileIsNoCheckpointOfItsOwn() {
    let path = fixture("data/torch/small.pt")
    #expect(
      message(for: path) { _ = try CheckpointFile.open(path) } == """
        this is a PyTorch file, expected a checkpoint in safetensors format
          at FILE
          It holds tensors but no model: name its network as model, or save both in one file.
        """)
  }

  @Test func aPickleOfMoreThanAnyModelNeedsIsNotUnpacked() {
    let file = TemporaryFile(
      zip([
        ZipMember(
          name: "a/data.pkl", bytes: [UInt8](repeating: 0, count: 100_000), method: 8,
          claimedSize: 100_000_001)
      ]))
    #expect(
      message(for: file.path) { _ = try TensorArchive.open(file.path) } == """
        the header claims 100000001 bytes, at most 100000000 are accepted
          at FILE, tensor a/data.pkl
          \(SafetensorsHostileTests.damaged)
        """)
  }

  // MARK: - The older format

  private static func legacy(
    keys: [String] = ["k"], count: Int64 = 4, type: String = "FloatStorage", rest: [UInt8] = []
  ) -> [UInt8] {
    Pickle.program([0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19])
      + Pickle.program(Pickle.integer(1001)) + Pickle.program(Pickle.emptyDict)
      + Pickle.program(
        Pickle.dict([
          (Pickle.text("x"), Pickle.tensor(of: Pickle.storage(key: "k"))),
          (Pickle.text("y"), Pickle.tensor(of: Pickle.storage(type, key: "k"))),
        ])) + Pickle.program(Pickle.list(keys.map(Pickle.text))) + littleEndian(count)
      + [UInt8](repeating: 0, count: 16) + rest
  }

  @Test func theOlderFormatChecksItsStorages() throws {
    func refusal(_ bytes: [UInt8]) -> String {
      let file = TemporaryFile(bytes)
      let text = message(for: file.path) { _ = try TensorArchive.open(file.path) }
      return text.components(separatedBy: "\n")[0]
    }
    let good = TemporaryFile(Self.legacy())
    #expect(
      try TensorArchive.open(good.path).tensor("x").vector(of: Float.self).array == [0, 0, 0, 0])
    #expect(
      refusal(Self.legacy(count: 5))
        == "the pickle is not valid: a storage of 4 elements is stored with 5")
    #expect(
      refusal(Self.legacy(keys: ["j"]))
        == "the pickle is not valid: the keys of the storages are not those of its tensors")
    #expect(
      refusal(Self.legacy(keys: ["k", "k"]))
        == "the pickle is not valid: the keys of the storages are not those of its tensors")
    #expect(refusal(Self.legacy(keys: [])) == "24 bytes of the data section belong to no tensor")
    #expect(
      refusal(Self.legacy(rest: [1])) == "1 byte of the data section belongs to no tensor")
    #expect(
      refusal(Self.legacy(type: "IntStorage"))
        == "the pickle is not valid: storage \"k\" is claimed to be two things")
  }

  // MARK: - Noise

  /// Programs of random instructions, most of which do not fail at once.
  @Test func randomProgramsNeverCrash() {
    let parts: [[UInt8]] =
      [
        Pickle.none, Pickle.mark, Pickle.emptyTuple, Pickle.emptyList, Pickle.emptyDict,
        Pickle.orderedDict, Pickle.reduce, Pickle.build, Pickle.tensor(), Pickle.storage(),
        Pickle.integer(3), Pickle.integer(.min), Pickle.text("a"), Pickle.text("_metadata"),
        Pickle.global("torch._utils", "_rebuild_tensor_v2"), Pickle.put(0), Pickle.put(1),
        Pickle.get(0), Pickle.get(1), [0x94], [0x85], [0x86], [0x87],
      ] + "t0e1uasQ".utf8.map { [$0] }
    for seed in UInt64(1)...2000 {
      var generator = SeededGenerator(seed: seed)
      let body = (0..<Int.random(in: 1...40, using: &generator)).flatMap { _ in
        parts.randomElement(using: &generator)!
      }
      do {
        try readAll(Self.opened(Pickle.program(Pickle.x(body))))
      } catch {
        #expect(error is CheckpointError, "seed \(seed)")
      }
    }
  }
}
