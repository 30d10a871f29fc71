import Foundation
import Testing

@testable import Checkpoints

@Suite struct MappedFileTests {
  @Test func aMissingFileIsAMissingInput() {
    #expect(
      message(for: "/no/such") { _ = try TensorArchive.open("/no/such") } == """
        no such file
          at FILE
          Check the path; a relative one is taken from the current directory.
        """)
  }

  @Test func aDirectoryIsNoFile() throws {
    let folder = try TemporaryFolder()
    #expect(
      message(for: folder.path) { _ = try TensorArchive.open(folder.path) } == """
        this is a directory, expected a file
          at FILE
          Name a file inside it.
        """)
  }

  @Test func aDeviceIsNoFile() {
    #expect(
      message(for: "/dev/zero") { _ = try TensorArchive.open("/dev/zero") } == """
        this is a device, expected a file
          at FILE
        """)
  }

  /// A ring of links: even a superuser cannot open it.
  @Test func whatCannotBeOpenedSaysWhy() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/ring"
    try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path)
    #expect(
      message(for: path) { _ = try TensorArchive.open(path) } == """
        cannot open the file: Too many levels of symbolic links
          at FILE
        """)
  }

  @Test func aPipeReadsLikeAFile() async throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/pipe"
    #expect(mkfifo(path, 0o600) == 0)
    // Larger than the first buffer and than what a pipe holds.
    let count = 300_000
    let bytes = safetensors(
      #"{"a":{"dtype":"U8","shape":[300000],"data_offsets":[0,300000]}}"#,
      data: (0..<count).map { UInt8(truncatingIfNeeded: $0) })
    let writer = Thread {
      FileHandle(forWritingAtPath: path)?.write(Data(bytes))
    }
    writer.start()
    let numbers = try TensorArchive.open(path).tensor("a").integers()
    #expect(numbers.count == count)
    #expect(numbers.indices.allSatisfy { numbers[$0] == Int64($0 % 256) })
  }

  @Test func aTensorKeepsItsFileOpen() throws {
    let tensor = try TensorArchive.open(fixture("golden/mlp_tanh.bin")).tensor("batch.labels")
    #expect(try tensor.integers().count == 12)
  }
}

@Suite struct FormatTests {
  /// The first bytes of a file and what it is said to be.
  static let kinds: [([UInt8], String)] = [
    ([0x93] + Array("NUMPY".utf8) + [1, 0], "a single .npy array"),
    ([0x89] + Array("HDF\r\n".utf8) + [0x1A, 0x0A], "an HDF5 file"),
    (Array("GGUF".utf8) + [3, 0, 0, 0], "a GGUF file"),
    ([0x1F, 0x8B, 8, 0], "a gzip file"),
    (
      Array("version https://git-lfs.github.com/spec/v1".utf8),
      "a Git LFS pointer in place of the file"
    ),
    (Array("<!DOCTYPE html><html>".utf8), "an HTML page"),
    (Array(#"{"model": 1}"#.utf8), "a JSON text"),
    ([8, 7, 0x12, 7] + Array("pytorch".utf8), "an ONNX model"),
  ]

  @Test func anotherFormatIsNamed() {
    for (bytes, name) in Self.kinds {
      let file = TemporaryFile(bytes)
      #expect(
        message(for: file.path) { _ = try TensorArchive.open(file.path) } == """
          this is \(name), expected a safetensors, npz or PyTorch file
            at FILE
          """)
    }
  }

  @Test func theFormatIsToldFromContentNotFromTheName() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/x.safetensors"
    try FileManager.default.copyItem(atPath: fixture("data/samples.npz"), toPath: path)
    #expect(try TensorArchive.open(path).format == .npz)
  }

  /// A header of 0x00120708 bytes would begin like an ONNX model.
  @Test func aHeaderLengthThatLooksLikeSomethingElseIsNoMatter() throws {
    let file = TemporaryFile(
      safetensors("{}" + String(repeating: " ", count: 0x0012_0708 - 2)))
    #expect(try TensorArchive.open(file.path).tensors.isEmpty)
  }

  @Test func aMissingTensorOfAnArchiveNamesThoseThatComeNear() throws {
    let path = fixture("data/samples.npz")
    let archive = try TensorArchive.open(path)
    #expect(
      message(for: path) { _ = try archive.tensor("label") } == """
        there is no tensor label
          at FILE
          Did you mean labels?
        """)
  }
}

@Suite struct ErrorTests {
  @Test func everyErrorHasACategory() {
    let table: [(CheckpointError.Problem, CheckpointError.Category)] = [
      (.fileMissing, .missingInput), (.isDirectory, .missingInput), (.isDevice, .missingInput),
      (.cannotOpen(code: EACCES), .missingInput), (.cannotRead(code: EIO), .inputOutput),
      (.cannotWrite(code: ENOSPC), .cannotWrite), (.truncated(found: 1, needed: 2), .badData),
      (.wrongDType(found: .i8, expected: [.f32]), .badData),
      (.missingTensor("x", near: []), .badData),
    ]
    for (problem, category) in table {
      #expect(CheckpointError(problem, at: .init()).category == category, "\(problem)")
    }
  }

  @Test func theHintOfTheThrowerComesFirst() {
    let error = CheckpointError(
      .shapeMismatch(found: [768, 8], expected: [8, 768]),
      at: .init(file: "adapter_model.safetensors", tensor: "query.lora_A.weight"),
      hint: "LoRA A is stored rank x in; if the file was exported transposed, transpose it.")
    #expect(
      "\(error)" == """
        shape is [768, 8], expected [8, 768]
          at adapter_model.safetensors, tensor query.lora_A.weight
          LoRA A is stored rank x in; if the file was exported transposed, transpose it.
        """)
    #expect(error.localizedDescription == "\(error)")
  }

  @Test func systemErrorsSayWhatToDo() {
    #expect(
      "\(CheckpointError(.cannotOpen(code: EACCES), at: .init(file: "x")))" == """
        cannot open the file: Permission denied
          at x
          Ask for permission to read it.
        """)
    #expect(
      "\(CheckpointError(.cannotRead(code: EIO), at: .init(file: "x")))" == """
        cannot read the file: Input/output error
          at x
        """)
  }

  @Test func textOfAFileCannotMoveTheCursor() {
    #expect(quoted("a\u{1B}[2Jb") == #""a\u{1b}[2Jb""#)
    let sixty = String(repeating: "x", count: 60)
    #expect(quoted(sixty + "x") == "\"\(sixty)...\"")
  }

  @Test func nearMissesAreSlipsOfThePenAndPrefixes() {
    #expect(nearMisses("lable", among: ["labels", "inputs", "label"]) == ["label"])
    #expect(nearMisses("Labels", among: ["labels"]) == ["labels"])
    #expect(nearMisses("encoder.w", among: ["model.encoder.w", "x"]) == ["model.encoder.w"])
    #expect(nearMisses("pad", among: ["padding", "bias"]) == ["padding"])
    #expect(nearMisses("x", among: ["completely.different"]) == [])
    #expect(nearMisses("aaa", among: ["aab", "aac", "aad", "aae"]) == ["aab", "aac", "aad"])
  }
}

@Suite struct GlobTests {
  static let cases: [(String, String, Bool)] = [
    ("*", "encoder.layer.0.weight", true), ("*", "", true), ("*.bias", "fc.bias", true),
    ("*.bias", "fc.bias2", false), ("fc?.weight", "fc1.weight", true),
    ("fc?.weight", "fc12.weight", false), ("fc[12].*", "fc2.bias", true),
    ("fc[!12].*", "fc2.bias", false), ("head", "head.weight", false), ("a.b", "axb", false),
    (#"\*"#, "*", true), (#"\*"#, "x", false), (".*", ".hidden", true), ("*", ".hidden", true),
  ]

  @Test(arguments: cases) func patternsFitWholeNames(
    _ pattern: String, _ name: String, _ fits: Bool
  ) {
    #expect(Glob(pattern).matches(name) == fits)
  }

  @Test func anyOfSeveralPatternsSuffices() {
    #expect(Glob.anyMatches(["a*", "b*"], "bias"))
    #expect(!Glob.anyMatches(["a*", "b*"], "weight"))
    #expect(!Glob.anyMatches([], "weight"))
  }
}
