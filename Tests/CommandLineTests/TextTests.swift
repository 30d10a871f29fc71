import Foundation
import Testing

extension CommandLineTests {
  /// What names in files and paths can do to a terminal: nothing.
  @Suite struct TextTests {
    /// Sets the title of the window, colours, forges a line, writes backwards.
    static let name =
      "\u{1B}]0;owned\u{7}\u{1B}[31mred\nall 9 checks passed\r\u{9B}2J\u{202E}\u{2028}\u{85}\u{200F}"

    /// A checkpoint with a layer and an update of that name, in a folder of that name.
    private func checkpoint() throws -> (folder: TemporaryFolder, path: String) {
      let folder = try TemporaryFolder()
      var draft = try CheckpointDraft()
      let text = String(decoding: try JSONEncoder().encode(Self.name), as: UTF8.self)
      draft.metadata["model"] = draft.metadata["model"]!
        .replacingOccurrences(of: "\"name\": \"2\"", with: "\"name\": \(text)")
      for (name, tensor) in draft.tensors {
        if name.hasPrefix("params.2.") {
          draft.tensors[name] = nil
          draft.tensors["params.\(Self.name)." + name.dropFirst(9)] = tensor
        }
        if name.hasPrefix("params.") {
          let parameter =
            name.hasPrefix("params.2.")
            ? "\(Self.name)." + name.dropFirst(9)
            : String(name.dropFirst(7))
          draft.tensors["updates.\(Self.name.replacing(".", with: "")).\(parameter)"] = tensor
        }
      }
      let path = folder.path(Self.name.replacingOccurrences(of: "/", with: "")) + ".bin"
      try draft.write(to: path)
      return (folder, path)
    }

    private func expectPlain(_ result: Command.Result, _ what: String) {
      for text in [result.output, result.error] {
        let unprintable = text.unicodeScalars.filter {
          switch $0.properties.generalCategory {
          case .control: $0 != "\n"
          case .format, .lineSeparator, .paragraphSeparator: true
          default: false
          }
        }
        #expect(unprintable.isEmpty, "\(what): \(unprintable.map { String($0.value, radix: 16) })")
        #expect(
          !text.split(separator: "\n").contains { $0.hasPrefix("all 9 checks") }, "\(what): \(text)"
        )
      }
      #expect((result.output + result.error).contains("\\u{1b}"), "\(what) shows the name")
    }

    @Test func everyCommandShowsNamesAsText() throws {
      let (folder, path) = try checkpoint()
      expectPlain(try Command.run(["inspect", path]), "inspect")
      expectPlain(try Command.run(["score", path, "--verbose", "--per-layer"]), "score")
      expectPlain(try Command.run(["pack", path, "-o", path + "\u{1B}2"]), "pack")
      let report = folder.path("r\u{1B}\n")
      expectPlain(try Command.run(["score", path, "--output", report]), "score --output")
      expectPlain(try Command.run(["plot", report]), "plot")
      expectPlain(try Command.run(["report", report]), "report")
      expectPlain(
        try Command.run(["reference", path, "-o", path + ".safetensors"]), "reference")
    }

    @Test func errorsShowNamesAsText() throws {
      let (folder, path) = try checkpoint()
      expectPlain(try Command.run(["inspect", path + "x"]), "no such file")
      expectPlain(try Command.run(["score", path, "--trainable", Self.name]), "no such parameter")
      expectPlain(try Command.run(["score", path, "--methods", Self.name]), "no such method")
      expectPlain(
        try Command.run(["score", path, "--methods", "update:x"]), "no such update")
      expectPlain(try Command.run(["score", path, Self.name, "--" + Self.name]), "no such option")
      expectPlain(try Command.run(["score", path, "--updates", path]), "update twice")
      expectPlain(try Command.run(["plot", folder.path(Self.name)]), "no such folder")
    }

    /// Documents for programs are exact: JSON by its own escapes, CSV as it is.
    @Test func documentsKeepTheName() throws {
      let (folder, path) = try checkpoint()
      let json = try Command.run(["inspect", path, "--json"])
      let object = try #require(
        try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
      #expect(object["path"] as? String == path)
      #expect(!json.output.contains("\u{202E}") && !json.output.contains("\u{1B}"))
      let csv = try Command.run(["score", path, "--format", "csv"])
      #expect(csv.output.contains(path))
      withExtendedLifetime(folder) {}
    }
  }
}
