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
  /// The blocks of the README's first scores and of Documentation/pytorch.md do what they say, in their
  /// order. The page goes on with the README's first script; its other sections stand alone.
  @Suite(.enabled(if: TorchPython.path != nil, "no Python with torch; TORCH_PYTHON names one"))
  struct PyTorchDocumentTests {
    private static let sections: [String] = {
      let root = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
      func text(_ name: String) -> String {
        (try? String(contentsOf: root.appendingPathComponent(name), encoding: .utf8)) ?? ""
      }
      func parts(_ text: String, _ separator: String) -> [String] {
        text.split(separator: separator).filter { $0.contains("```python") }.map(String.init)
      }
      let readme = parts(text("README.md"), "\n## ").flatMap { parts($0, "\n**From ") }
      let page = parts(text("Documentation/pytorch.md"), "\n## ")
      return [readme.prefix(1).joined() + page.prefix(1).joined()] + readme.dropFirst()
        + page.dropFirst()
    }()

    @Test func documentHasSections() { #expect(Self.sections.count >= 5) }

    @Test(arguments: 0..<sections.count) func blocksRun(_ number: Int) throws {
      let folder = try TemporaryFolder()
      // A block may use what the ones before it have defined.
      var script = ""
      // Text and blocks take turns.
      for (place, block) in Self.sections[number].split(separator: "```").enumerated()
      where place % 2 == 1 {
        if block.hasPrefix("python\n") {
          script += block.dropFirst("python\n".count)
          try script.write(toFile: folder.path("script.py"), atomically: true, encoding: .utf8)
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
