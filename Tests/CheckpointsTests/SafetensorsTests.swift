import Foundation
import TensorModule
import Testing

@testable import Checkpoints

@Suite struct SafetensorsTests {
  @Test func whateverIsWrittenReadsBackTheSame() throws {
    for seed in UInt64(1)...40 {
      var generator = SeededGenerator(seed: seed)
      let metadata = Dictionary(
        uniqueKeysWithValues: (0..<Int.random(in: 0...3, using: &generator)).map {
          ("k\($0)", String(UnicodeScalar(UInt8.random(in: 0...127, using: &generator))) + "\"é\\𝄞")
        })
      var tensors: [String: (dtype: DType, shape: [Int], data: Data)] = [:]
      for index in 0..<Int.random(in: 0...8, using: &generator) {
        let dtype = DType.allCases.randomElement(using: &generator)!
        let shape = (0..<Int.random(in: 0...4, using: &generator)).map { _ in
          Int.random(in: 0...4, using: &generator)
        }
        let count = try #require(checkedByteCount(dtype, shape))
        let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
        tensors["t.\(index)\n\"ü"] = (dtype, shape, Data(bytes))
      }

      let file = TemporaryFile()
      var writer = SafetensorsWriter(metadata: metadata)
      for (name, tensor) in tensors {
        writer.add(name, dtype: tensor.dtype, shape: tensor.shape, data: tensor.data)
      }
      try writer.write(to: file.path)
      let archive = try TensorArchive.open(file.path)

      #expect(archive.metadata == metadata, "seed \(seed)")
      #expect(archive.tensors.keys.sorted() == tensors.keys.sorted(), "seed \(seed)")
      for (name, expected) in tensors {
        let tensor = try archive.tensor(name)
        #expect(tensor.dtype == expected.dtype, "seed \(seed), \(name)")
        #expect(tensor.shape == expected.shape, "seed \(seed), \(name)")
        #expect(try tensor.withBytes { Data($0) } == expected.data, "seed \(seed), \(name)")
      }
    }
  }

  @Test func equalContentGivesEqualBytesInWhateverOrderItWasAdded() throws {
    let (a, b) = (TemporaryFile(), TemporaryFile())
    let vector = Vector<Double>([1, 2, 3])
    var first = SafetensorsWriter(metadata: ["x": "1", "y": "2"])
    first.add("numbers", shape: [3], vector)
    first.add("labels", shape: [1], integers: [7])
    first.add("flag", dtype: .bool, shape: [1], data: Data([1]))
    try first.write(to: a.path)
    var second = SafetensorsWriter(metadata: ["y": "2", "x": "1"])
    second.add("flag", dtype: .bool, shape: [1], data: Data([1]))
    second.add("labels", shape: [1], integers: [7])
    second.add("numbers", shape: [3], vector)
    try second.write(to: b.path)
    #expect(a.contents == b.contents)

    let header = """
      {"__metadata__":{"x":"1","y":"2"},\
      "labels":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},\
      "numbers":{"dtype":"F64","shape":[3],"data_offsets":[8,32]},\
      "flag":{"dtype":"BOOL","shape":[1],"data_offsets":[32,33]}}
      """
    let padding = String(repeating: " ", count: (8 - header.utf8.count % 8) % 8)
    #expect(
      a.contents
        == safetensors(
          header + padding,
          data: littleEndian(Int64(7)) + [1.0, 2, 3].flatMap { littleEndian($0.bitPattern) } + [1]))
  }

  @Test func everyFloatingPointTypeReadsInBothPrecisions() throws {
    // 1.5, -2, the smallest subnormal of F16 (exact in the others too), infinity.
    let file = TemporaryFile()
    var writer = SafetensorsWriter()
    let smallest = 0x1p-24
    let values = [1.5, -2, smallest, .infinity]
    writer.add("F64", shape: [4], Vector<Double>(values))
    writer.add("F32", shape: [4], Vector<Float>(values.map(Float.init)))
    writer.add(
      "F16", dtype: .f16, shape: [4],
      data: Data([0x3E00, 0xC000, 0x0001, 0x7C00].flatMap { littleEndian(UInt16($0)) }))
    writer.add(
      "BF16", dtype: .bf16, shape: [4],
      data: Data(values.flatMap { littleEndian(UInt16(Float($0).bitPattern >> 16)) }))
    try writer.write(to: file.path)
    let archive = try TensorArchive.open(file.path)
    for name in ["F64", "F32", "F16", "BF16"] {
      let tensor = try archive.tensor(name)
      #expect(try tensor.vector(of: Double.self).array == values, "\(name)")
      #expect(try tensor.vector(of: Float.self).array == values.map(Float.init), "\(name)")
    }
  }

  @Test func everyIntegerTypeReadsWithItsSign() throws {
    let cases: [(DType, [UInt8], [Int64])] = [
      (.i64, littleEndian(Int64.min) + littleEndian(Int64(5)), [.min, 5]),
      (.i32, littleEndian(Int32(-100)) + littleEndian(Int32.max), [-100, 2_147_483_647]),
      (.i16, littleEndian(Int16(-2)) + littleEndian(Int16(300)), [-2, 300]),
      (.i8, [0xFF, 0x7F], [-1, 127]),
      (.u8, [0xFF, 0x7F], [255, 127]),
      (.bool, [0, 1], [0, 1]),
    ]
    for (dtype, bytes, expected) in cases {
      let tensor = StoredTensor(name: "t", dtype: dtype, shape: [2], data: Data(bytes))
      #expect(try tensor.integers() == expected, "\(dtype)")
      #expect(try tensor.integers(1..<2) == [expected[1]], "\(dtype)")
    }
  }

  @Test func aRangeOfElementsReadsWithoutTheOthers() throws {
    let file = TemporaryFile()
    var writer = SafetensorsWriter()
    writer.add("t", shape: [5, 2], Vector<Float>((0..<10).map(Float.init)))
    try writer.write(to: file.path)
    let tensor = try TensorArchive.open(file.path).tensor("t")
    let rows = Vector<Double>(count: 4)
    try tensor.read(2..<6, into: rows.pointer)
    #expect(rows.array == [2, 3, 4, 5])
  }

  /// Headers of length 0...7 modulo 8 put the data at every alignment.
  @Test(arguments: 0..<8) func alignmentOfTheDataDoesNotMatter(_ spaces: Int) throws {
    let header =
      #"{"a":{"dtype":"F64","shape":[1],"data_offsets":[1,9]},"#
      + #""b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
      + #""c":{"dtype":"I32","shape":[1],"data_offsets":[9,13]}}"#
      + String(repeating: " ", count: spaces)
    let file = TemporaryFile(
      safetensors(
        header, data: [9] + littleEndian((0.1).bitPattern) + littleEndian(Int32(-100))))
    let archive = try TensorArchive.open(file.path)
    #expect(try archive.tensor("a").vector(of: Double.self).array == [0.1])
    #expect(try archive.tensor("b").integers() == [9])
    #expect(try archive.tensor("c").integers() == [-100])
  }

  @Test func tensorsWithoutElementsAndScalarsAreFine() throws {
    let file = TemporaryFile(
      safetensors(
        #"{"e":{"dtype":"F32","shape":[3,0],"data_offsets":[4,4]},"#
          + #""f":{"dtype":"I64","shape":[0],"data_offsets":[0,0]},"#
          + #""s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}"#,
        data: littleEndian(Float(2).bitPattern)))
    let archive = try TensorArchive.open(file.path)
    #expect(try archive.tensor("e").vector(of: Float.self).array == [])
    #expect(try archive.tensor("f").integers() == [])
    #expect(try archive.tensor("s").vector(of: Float.self).array == [2])
    #expect(try archive.tensor("s").count == 1)
  }

  @Test func aFileWithoutTensorsIsFine() throws {
    let file = TemporaryFile(safetensors("{}"))
    #expect(try TensorArchive.open(file.path).tensors.isEmpty)
  }

  @Test func aTensorCopiedFromOneFileToAnotherKeepsItsBytes() throws {
    let source = try TensorArchive.open(fixture("golden/mlp_tanh.bin"))
    let file = TemporaryFile()
    var writer = SafetensorsWriter(metadata: source.metadata)
    for (name, tensor) in source.tensors { writer.add(name, tensor) }
    try writer.write(to: file.path)
    let copy = try TensorArchive.open(file.path)
    #expect(copy.metadata == source.metadata)
    for (name, tensor) in source.tensors {
      let expected = try tensor.withBytes { Data($0) }
      #expect(try copy.tensor(name).withBytes { Data($0) } == expected, "\(name)")
    }
  }
}

@Suite struct SafetensorsWriterFailureTests {
  @Test func aMissingFolderCannotBeWrittenTo() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/none/x.safetensors"
    #expect(
      message(for: path) { try SafetensorsWriter().write(to: path) } == """
        cannot write the file: No such file or directory
          at FILE
          Check that the folder exists, may be written and has room.
        """)
  }

  @Test func whatFailsHalfwayLeavesTheOldFileAndNoOther() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/x.safetensors"
    var good = SafetensorsWriter()
    good.add("a", shape: [1], integers: [1])
    try good.write(to: path)
    let before = try Data(contentsOf: URL(fileURLWithPath: path))

    // The owner holds fewer bytes than the shape says: reading it fails while writing.
    var bad = SafetensorsWriter()
    bad.add(
      "b",
      StoredTensor(
        name: "b", dtype: .u8, shape: [9], file: "memory", owner: OwnedBytes(Data([1]))))
    #expect(throws: CheckpointError.self) { try bad.write(to: path) }
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
    #expect(try folder.names == ["x.safetensors"])
  }

  @Test func aLinkIsReplacedAndAPipeWrittenTo() throws {
    let folder = try TemporaryFolder()
    try SafetensorsWriter().write(to: folder.path + "/x")
    try FileManager.default.createSymbolicLink(
      atPath: folder.path + "/link", withDestinationPath: folder.path + "/x")
    var writer = SafetensorsWriter()
    writer.add("a", shape: [1], integers: [1])
    try writer.write(to: folder.path + "/link")
    #expect(try TensorArchive.open(folder.path + "/x").tensors.isEmpty)
    #expect(try TensorArchive.open(folder.path + "/link").tensor("a").integers() == [1])

    let pipe = folder.path + "/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    let thread = Thread {
      var writer = SafetensorsWriter()
      writer.add("b", shape: [1], integers: [2])
      try? writer.write(to: pipe)
    }
    thread.start()
    #expect(try TensorArchive.open(pipe).tensor("b").integers() == [2])
    #expect(try folder.names == ["link", "pipe", "x"])
  }

  @Test func aFolderInTheWayIsNotReplaced() throws {
    let folder = try TemporaryFolder()
    #expect(throws: CheckpointError.self) { try SafetensorsWriter().write(to: folder.path) }
    #expect(try folder.names == [])
  }
}
