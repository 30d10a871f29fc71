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
  static let kinds: [([UInt8], String, String)] = [
    (
      [0x93] + Array("NUMPY".utf8) + [1, 0], "a single .npy array",
      "Save arrays by name: numpy.savez(path, inputs=x, labels=y)."
    ),
    (
      [0x89] + Array("HDF\r\n".utf8) + [0x1A, 0x0A], "an HDF5 file",
      "Read it with h5py and save the arrays with safetensors or numpy.savez."
    ),
    (
      Array("GGUF".utf8) + [3, 0, 0, 0], "a GGUF file", "Take the weights that it was made from."
    ),
    ([0x1F, 0x8B, 8, 0], "a gzip file", "Unpack it first: gunzip, or tar -xzf."),
    (
      Array("version https://git-lfs.github.com/spec/v1".utf8),
      "a Git LFS pointer in place of the file", "Fetch the file: git lfs pull."
    ),
    (
      Array("<!DOCTYPE html><html>".utf8), "an HTML page",
      "A server has sent a page in place of the file; download it again."
    ),
    (
      Array(#"{"model": 1}"#.utf8), "a JSON text",
      "A description alone has no weights; eval-cli init makes random ones for it."
    ),
    (
      [8, 7, 0x12, 7] + Array("pytorch".utf8), "an ONNX model",
      "Save the weights of the model that it was exported from, with its description."
    ),
    (
      Array("x,y,label\n0.1,0.2,1\n".utf8), "a table of text, such as CSV",
      "Read it with numpy or pandas and save the arrays: numpy.savez(path, inputs=x, labels=y)."
    ),
    (
      Array("läuft\tgut\n".utf8), "a table of text, such as CSV",
      "Read it with numpy or pandas and save the arrays: numpy.savez(path, inputs=x, labels=y)."
    ),
    (Array("layers: 3\n".utf8), "a text", "Name the file of tensors itself."),
  ]

  @Test func anotherFormatIsNamed() {
    for (bytes, name, advice) in Self.kinds {
      let file = TemporaryFile(bytes)
      #expect(
        message(for: file.path) { _ = try TensorArchive.open(file.path) } == """
          this is \(name), expected a safetensors, npz or PyTorch file
            at FILE
            \(advice)
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

  /// Escape sequences, line ends, and what turns the direction of writing or cannot be seen.
  @Test func everyUnprintableCharacterIsEscapedEverywhereInAnError() {
    let code: [UInt32] = [
      0, 7, 8, 9, 10, 11, 12, 13, 27, 31, 127, 0x85, 0x9B, 0xAD, 0x61C, 0x200B, 0x200E, 0x200F,
      0x2028, 0x2029, 0x202A, 0x202E, 0x2066, 0x2069, 0xFEFF, 0xE0001,
    ]
    for code in code {
      let name = "a" + String(Character(Unicode.Scalar(code)!)) + "b"
      let error = CheckpointError(
        .missingTensor(name, near: [name]),
        at: .init(file: name, place: name, tensor: name), hint: name)
      let shown = "a\\u{\(String(code, radix: 16))}b"
      #expect(
        "\(error)" == """
          there is no tensor \(shown)
            at \(shown), \(shown), tensor \(shown)
            Did you mean \(shown)?
            \(shown)
          """)
    }
  }

  @Test func whatCanBeReadStaysAsItIs() {
    let text = "größe 重み вес ∇θ 😀 e\u{301} \\ \"x\""
    #expect(printable(text) == text)
    #expect(printableLines(text + "\n\u{1B}") == text + "\n\\u{1b}")
  }

  @Test func aLongNameDoesNotHideTheRestOfAnError() {
    let error = CheckpointError(
      .unexpectedValue(String(repeating: "x", count: 100_000), found: "1", expected: "two"),
      at: .init(file: "f", tensor: String(repeating: "y", count: 100_000)))
    let text = "\(error)"
    #expect(text.count < 3000)
    #expect(text.contains("x is 1, expected two\n  at f, tensor yyy"))
  }

  @Test func nearMissesAreSlipsOfThePenAndPrefixes() {
    #expect(nearMisses("lable", among: ["labels", "inputs", "label"]) == ["label"])
    #expect(nearMisses("Labels", among: ["labels"]) == ["labels"])
    #expect(nearMisses("encoder.w", among: ["model.encoder.w", "x"]) == ["model.encoder.w"])
    #expect(nearMisses("pad", among: ["padding", "bias"]) == ["padding"])
    #expect(nearMisses("x", among: ["completely.different"]) == [])
    #expect(nearMisses("aaa", among: ["aab", "aac", "aad", "aae"]) == ["aab", "aac", "aad"])
  }

  /// Every edit of a word at every place, within the limit and one beyond.
  @Test func nearMissesAllowAsManyEditsAsTheLengthDoes() {
    let word = "abcdefghijklmno"  // 15 letters: 4 edits
    let letters = Array(word)
    for place in letters.indices {
      var (lost, changed, doubled) = (letters, letters, letters)
      lost.remove(at: place)
      changed[place] = "z"
      doubled.insert("z", at: place)
      for near in [lost, changed, doubled] {
        #expect(nearMisses(String(near), among: [word]) == [word])
      }
      if place > 0 {
        var swapped = letters
        swapped.swapAt(place, place - 1)
        #expect(nearMisses(String(swapped), among: [word]) == [word])
      }
    }
    #expect(nearMisses("zzzzefghijklmno", among: [word]) == [word])
    #expect(nearMisses("zzzzzfghijklmno", among: [word]) == [])
    #expect(nearMisses("abcdefghijklmnozzzz", among: [word]) == [word])
    #expect(nearMisses("badcfehgijklmno", among: [word]) == [word])
    #expect(nearMisses("badcfehgjiklmno", among: [word]) == [])
  }

  /// A table of all their letters would take minutes.
  @Test func longNamesAreNotCompared() {
    let name = String(repeating: "a", count: 100_000)
    #expect(nearMisses(name + "b", among: [name]) == [])
    #expect(nearMisses("aaaa", among: [name, "aaab"]) == ["aaab"])
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
