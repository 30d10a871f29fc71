import Foundation
import Testing

/// A Python that has torch, if there is one: the one that `TORCH_PYTHON` names, or `python3`.
private enum TorchPython {
  static let path: String? = {
    let names = [ProcessInfo.processInfo.environment["TORCH_PYTHON"], "python3"].compactMap { $0 }
    return names.first {
      (try? run($0, ["-c", "import torch.export, numpy, safetensors"], in: nil))?.status == 0
    }
  }()

  static func run(
    _ name: String, _ arguments: [String], in folder: TemporaryFolder?
  ) throws -> (status: Int32, error: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [name] + arguments
    process.currentDirectoryURL = folder?.url
    let outputs = try TemporaryFolder()
    let file = outputs.path("err")
    _ = FileManager.default.createFile(atPath: file, contents: nil)
    let handle = try #require(FileHandle(forWritingAtPath: file))
    process.standardError = handle
    process.standardOutput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    return (process.terminationStatus, try String(contentsOfFile: file, encoding: .utf8))
  }
}

extension CommandLineTests {
  /// The blocks of Documentation/pytorch.md do what they say, in their order, section by section.
  @Suite(.enabled(if: TorchPython.path != nil, "no Python with torch; TORCH_PYTHON names one"))
  struct PyTorchDocumentTests {
    private static let sections: [Substring] = {
      let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      let file = root.appendingPathComponent("Documentation/pytorch.md")
      let text = (try? String(contentsOf: file, encoding: .utf8)) ?? ""
      return text.split(separator: "\n## ").filter { $0.contains("```python") }
    }()

    @Test func documentHasSections() { #expect(Self.sections.count >= 4) }

    @Test(arguments: 0..<sections.count) func blocksRun(_ number: Int) throws {
      let folder = try TemporaryFolder()
      // Text and blocks take turns.
      for (place, block) in Self.sections[number].split(separator: "```").enumerated()
      where place % 2 == 1 {
        if block.hasPrefix("python\n") {
          try block.dropFirst("python\n".count).write(
            toFile: folder.path("script.py"), atomically: true, encoding: .utf8)
          let result = try TorchPython.run(TorchPython.path!, ["script.py"], in: folder)
          #expect(result.status == 0, "\(result.error)")
          continue
        }
        for line in block.split(separator: "\n") where line.hasPrefix("eval-cli ") {
          let command = line.dropFirst("eval-cli ".count)
          let result = try Command.start(
            [], shell: "cd '\(folder.url.path)' && \"$0\" \(command)"
          ).result()
          #expect(result.status == 0, "\(line): \(result.error)")
        }
      }
    }
  }
}
