import Foundation
import Testing

@testable import Checkpoints

/// Archives by NumPy (fixtures/make_npz.py), which says what their numbers are.
@Suite struct NPZTests {
  static let kinds: [(String, DType)] = [
    ("f2", .f16), ("f4", .f32), ("f8", .f64), ("i1", .i8), ("i2", .i16), ("i4", .i32),
    ("i8", .i64), ("u1", .u8), ("b1", .bool),
  ]

  private func expectNumbers(
    _ tensor: StoredTensor, _ kind: String, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let indices = 0..<tensor.count
    switch kind.first {
    case "f":
      #expect(
        try tensor.vector(of: Double.self).array == indices.map { Double($0) / 2 - 3 },
        "\(kind)", sourceLocation: sourceLocation)
    case "i":
      #expect(
        try tensor.integers() == indices.map { Int64($0) - 3 }, "\(kind)",
        sourceLocation: sourceLocation)
    case "u":
      #expect(
        try tensor.integers() == indices.map { Int64($0) }, "\(kind)",
        sourceLocation: sourceLocation)
    default:
      #expect(
        try tensor.integers() == indices.map { $0 % 3 == 0 ? 1 : 0 }, "\(kind)",
        sourceLocation: sourceLocation)
    }
  }

  @Test(arguments: ["plain", "fortran", "big_endian", "compressed"])
  func everyTypeReadsInRowMajorOrder(_ name: String) throws {
    let archive = try TensorArchive.open(fixture("data/\(name).npz"))
    #expect(archive.format == .npz)
    #expect(archive.tensors.count == Self.kinds.count)
    for (kind, dtype) in Self.kinds {
      let tensor = try archive.tensor(kind)
      #expect(tensor.dtype == dtype)
      #expect(tensor.shape == [2, 3, 4])
      try expectNumbers(tensor, kind)
    }
  }

  @Test func everyHeaderVersionReads() throws {
    let archive = try TensorArchive.open(fixture("data/versions.npz"))
    for name in ["v1", "v2", "v3"] { try expectNumbers(archive.tensor(name), "f4") }
  }

  @Test func sixtyFourBitRecordsRead() throws {
    let archive = try TensorArchive.open(fixture("data/zip64.npz"))
    try expectNumbers(archive.tensor("inputs"), "f4")
    try expectNumbers(archive.tensor("labels"), "i8")
  }

  @Test func scalarsAndEmptyArraysRead() throws {
    let archive = try TensorArchive.open(fixture("data/shapes.npz"))
    #expect(try archive.tensor("scalar").shape == [])
    #expect(try archive.tensor("scalar").vector(of: Double.self).array == [-3])
    #expect(try archive.tensor("empty").shape == [0, 3])
    #expect(try archive.tensor("empty").vector(of: Double.self).array == [])
    #expect(try archive.tensor("one").integers() == [-3])
  }

  @Test func whatCompressesVeryWellIsNoBomb() throws {
    let tensor = try TensorArchive.open(fixture("data/zeros.npz")).tensor("zeros")
    #expect(try tensor.vector(of: Float.self).array == [Float](repeating: 0, count: 60_000))
  }

  @Test func oneArrayReadsFromManyThreads() async throws {
    let archive = try TensorArchive.open(fixture("data/compressed.npz"))
    let sums = await withTaskGroup(of: Double?.self) { group in
      for index in 0..<32 {
        let kind = ["f2", "f4", "f8"][index % 3]
        group.addTask {
          try? archive.tensor(kind).vector(of: Double.self).array.reduce(0, +)
        }
      }
      return await group.reduce(into: [Double?]()) { $0.append($1) }
    }
    #expect(sums == [Double?](repeating: 66, count: 32))
  }

  @Test func pickledObjectsAreRefused() {
    let path = fixture("data/pickled.npz")
    #expect(
      message(for: path) { _ = try TensorArchive.open(path) } == """
        bad .npy header: it holds pickled Python objects, which are never executed
          at FILE, tensor objects.npy, byte 20
        """)
  }
}

@Suite struct NPZHostileTests {
  struct Case: CustomTestStringConvertible {
    var claim: String
    var members: [ZipMember]
    var message: String
    var testDescription: String { claim }
  }

  /// A stored member a.npy with this header and these data.
  private static func header(
    _ claim: String, _ text: String, _ message: String, data: [UInt8] = [0], version: UInt8 = 1
  ) -> Case {
    Case(
      claim: claim,
      members: [ZipMember(name: "a.npy", bytes: npy(text, data: data, version: version))],
      message: message)
  }

  static let good = "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }"

  static let cases: [Case] = [
    header(
      "a structured dtype", "{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,)}",
      """
      bad .npy header: structured dtypes are not read
        at FILE, tensor a.npy, byte 20
      """),
    header(
      "an unsigned type that is not read",
      "{'descr': '<u4', 'fortran_order': False, 'shape': (1,)}",
      """
      bad .npy header: dtype "<u4" is not read; known are f2, f4, f8, i1, i2, i4, i8, u1 and b1
        at FILE, tensor a.npy, byte 20
      """),
    header(
      "a wide type without byte order", "{'descr': '|f4', 'fortran_order': False, 'shape': (1,)}",
      """
      bad .npy header: dtype "|f4" is not read; known are f2, f4, f8, i1, i2, i4, i8, u1 and b1
        at FILE, tensor a.npy, byte 20
      """),
    header(
      "a call in place of a value",
      "{'descr': __import__('os'), 'fortran_order': False, 'shape': (1,)}",
      """
      bad .npy header: found '_', expected a string
        at FILE, tensor a.npy, byte 20
      """),
    header(
      "a key twice", "{'shape': (1,), 'shape': (2,)}",
      """
      bad .npy header: the key "shape" occurs twice
        at FILE, tensor a.npy, byte 26
      """),
    header(
      "an unknown key", "{'colour': 1}",
      """
      bad .npy header: unknown key "colour"
        at FILE, tensor a.npy, byte 11
      """),
    header(
      "a missing key", "{'descr': '|u1', 'shape': (1,)}",
      """
      bad .npy header: the key "fortran_order" is missing
        at FILE, tensor a.npy, byte 41
      """),
    header(
      "a number where a boolean belongs", "{'fortran_order': 0}",
      """
      bad .npy header: found '0', expected True or False
        at FILE, tensor a.npy, byte 28
      """),
    header(
      "a negative dimension", "{'shape': (-1,)}",
      """
      bad .npy header: found '-', expected an integer
        at FILE, tensor a.npy, byte 21
      """),
    header(
      "a shape that is a number", "{'shape': (3)}",
      """
      bad .npy header: found ')', expected ','
        at FILE, tensor a.npy, byte 22
      """),
    header(
      "a dimension beyond Int", "{'shape': (99999999999999999999,)}",
      """
      bad .npy header: the number is out of range
        at FILE, tensor a.npy, byte 21
      """),
    header(
      "a shape whose product overflows",
      "{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296)}",
      """
      shape [4294967296, 4294967296] is negative or too large to address
        at FILE, tensor a.npy
        \(SafetensorsHostileTests.badlyWritten)
      """),
    header(
      "text after the dictionary", good + "; import os",
      """
      bad .npy header: found ';', expected the end
        at FILE, tensor a.npy, byte 67
      """),
    header(
      "a string without an end", "{'descr",
      """
      bad .npy header: a string does not end
        at FILE, tensor a.npy, byte 11
      """),
    header(
      "a version of the future", good,
      """
      bad .npy header: unknown version 4.0
        at FILE, tensor a.npy, byte 6
      """, version: 4),
    header(
      "fewer data than the shape says",
      "{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 1000)}",
      """
      1 byte of data, but F64 of shape [1000, 1000] takes 8000000
        at FILE, tensor a.npy
        \(SafetensorsHostileTests.badlyWritten)
      """),
    header(
      "more data than the shape says", good,
      """
      2 bytes of data, but U8 of shape [1] takes 1
        at FILE, tensor a.npy
        \(SafetensorsHostileTests.badlyWritten)
      """, data: [0, 0]),
    Case(
      claim: "a member without magic",
      members: [ZipMember(name: "a.npy", bytes: Array("not an array".utf8))],
      message: """
        bad .npy header: it does not begin with \\x93NUMPY
          at FILE, tensor a.npy, byte 0
        """),
    Case(
      claim: "a member too short for a header",
      members: [ZipMember(name: "a.npy", bytes: [0x93])],
      message: """
        the data end after 1 byte, at least 10 are needed
          at FILE, tensor a.npy, byte 1
          \(SafetensorsHostileTests.cutShort)
        """),
    Case(
      claim: "a header that ends after the member",
      members: [ZipMember(name: "a.npy", bytes: Array(npy(good).dropLast(7)))],
      message: """
        the data end after 60 bytes, at least 67 are needed
          at FILE, tensor a.npy, byte 60
          \(SafetensorsHostileTests.cutShort)
        """),
    Case(
      claim: "a header above the cap",
      members: [
        ZipMember(
          name: "a.npy",
          bytes: [0x93] + Array("NUMPY".utf8) + [2, 0] + littleEndian(UInt32.max))
      ],
      message: """
        the header claims 4294967295 bytes, at most 65524 are accepted
          at FILE, tensor a.npy, byte 8
          \(SafetensorsHostileTests.damaged)
        """),
    Case(
      claim: "a member that is no array",
      members: [ZipMember(name: "notes.txt", bytes: [65])],
      message: """
        this is an archive member that is no array, expected a .npy member
          at FILE, tensor notes.txt
        """),
    Case(
      claim: "the same member twice",
      members: [
        ZipMember(name: "a.npy", bytes: npy(good, data: [0])),
        ZipMember(name: "a.npy", bytes: npy(good, data: [0])),
      ],
      message: """
        the zip archive is damaged: two members have the same name
          at FILE
          \(SafetensorsHostileTests.damaged)
        """),
    Case(
      claim: "a compression that is not read",
      members: [ZipMember(name: "a.npy", bytes: npy(good, data: [0]), method: 12)],
      message: """
        unsupported zip compression method 12
          at FILE, tensor a.npy
          Stored and deflated members are read; save it with numpy.savez or savez_compressed.
        """),
    Case(
      claim: "an encrypted member",
      members: [ZipMember(name: "a.npy", bytes: npy(good, data: [0]), flags: 1)],
      message: """
        the archive member is encrypted
          at FILE, tensor a.npy
          Save it without a password.
        """),
    Case(
      claim: "more than deflate can unpack",
      members: [ZipMember(name: "a.npy", bytes: [3, 0], method: 8, claimedSize: 1_000_000_000)],
      message: """
        2 stored bytes claim to unpack to 1000000000
          at FILE, tensor a.npy
          Deflate cannot do that: the file is damaged or a zip bomb.
        """),
    Case(
      claim: "less than it claims to unpack to",
      members: [ZipMember(name: "a.npy", bytes: [3, 0], method: 8, claimedSize: 100, checksum: 0)],
      message: """
        the zip archive is damaged: the member ends after 0 of 100 bytes
          at FILE, tensor a.npy
          \(SafetensorsHostileTests.damaged)
        """),
  ]

  @Test(arguments: cases) func isRefusedWithItsReason(_ hostile: Case) throws {
    let file = TemporaryFile(zip(hostile.members))
    let found = message(for: file.path) { try readAll(TensorArchive.open(file.path)) }
    #expect(found == hostile.message)
  }

  @Test func theArchivesMadeHereAreFineWithoutTheirDefect() throws {
    let file = TemporaryFile(zip([ZipMember(name: "a.npy", bytes: npy(Self.good, data: [7]))]))
    #expect(try TensorArchive.open(file.path).tensor("a").integers() == [7])
  }

  @Test func wrongNumbersAreFoundByTheirChecksum() throws {
    var bytes = zip([ZipMember(name: "a.npy", bytes: npy(Self.good, data: [7]))])
    let position = 30 + 5 + npy(Self.good).count
    #expect(bytes[position] == 7)
    bytes[position] = 8
    let file = TemporaryFile(bytes)
    #expect(
      message(for: file.path) { try readAll(TensorArchive.open(file.path)) } == """
        the zip archive is damaged: CRC error
          at FILE, tensor a.npy
          \(SafetensorsHostileTests.damaged)
        """)
  }

  /// What an array takes is known before anything is unpacked, in the other order of elements twice.
  @Test(arguments: [(false, 8), (true, 16)])
  func arraysStayWithinTheMemoryAllowed(_ isFortranOrder: Bool, _ needed: Int) throws {
    let header =
      "{'descr': '|u1', 'fortran_order': \(isFortranOrder ? "True" : "False"), 'shape': (2, 4)}"
    let file = TemporaryFile(
      zip([ZipMember(name: "a.npy", bytes: npy(header, data: [0, 1, 2, 3, 4, 5, 6, 7]))]))
    let tensor = try TensorArchive.open(file.path, files: InputFiles(memory: needed - 1)).tensor(
      "a")
    #expect(
      message(for: file.path) { _ = try tensor.integers() } == """
        its numbers take 8 bytes outside the file, and 7 of the memory allowed are left
          at FILE, tensor a.npy
          Allow more with memory, or save it as safetensors, which is read where it lies.
        """)
    let allowed = try TensorArchive.open(file.path, files: InputFiles(memory: needed)).tensor("a")
    #expect(try allowed.integers().reduce(0, +) == 28)
  }

  @Test func namesOfTheSameTextAreOneName() throws {
    let array = npy(Self.good, data: [7])
    let file = TemporaryFile(
      zip([
        ZipMember(name: "\u{E9}.npy", bytes: array), ZipMember(name: "e\u{301}.npy", bytes: array),
      ]))
    #expect(
      message(for: file.path) { try readAll(TensorArchive.open(file.path)) }
        .hasPrefix("two tensors have this name\n  at FILE, tensor e\u{301}.npy"))
  }

  @Test func anEmptyArchiveHasNoTensors() throws {
    let file = TemporaryFile(zip([]))
    #expect(try TensorArchive.open(file.path).tensors.isEmpty)
  }
}

/// Members that libzip cannot count in one read, which take too much memory for a test: the same in
/// smaller pieces.
@Suite struct MemberPieceTests {
  @Test(arguments: [1, 7, 64, 300]) func aMemberReadsTheSameInPieces(_ piece: Int) throws {
    for name in ["compressed", "plain"] {
      let file = try MappedFile(path: fixture("data/\(name).npz"))
      let (whole, pieces) = (try ZipArchive(file), try ZipArchive(file, piece: piece))
      #expect(whole.members.contains { $0.size > piece })
      for (member, same) in zip(whole.members, pieces.members) {
        #expect(try whole.prefix(.max, of: member) == pieces.prefix(.max, of: same))
      }
    }
  }

  @Test func noReadIsOfMoreThanAGibibyte() { #expect(ZipArchive.largestPiece == 1 << 30) }
}
