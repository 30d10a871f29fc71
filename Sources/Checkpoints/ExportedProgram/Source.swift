extension ExportedProgram {
  /// Where in the user's Python a node comes from, as PyTorch has noted it.
  package struct Source: Equatable, Sendable {
    /// Calls from the outermost to the innermost, as Python prints them.
    package var stackTrace: String?
    /// Modules from the outermost to the innermost: `KEY,PATH,CLASS;KEY,PATH,CLASS`.
    package var moduleStack: String?

    /// A call in the stack.
    package struct Frame: Equatable, Sendable {
      package var file: String
      package var line: Int
      package var function: String
      /// The text of the line, empty where there is none.
      package var code: String
    }

    /// A module that was called.
    package struct Module: Equatable, Sendable {
      /// `encoder.layers.0`, empty for the whole network.
      package var path: String
      /// `torch.nn.modules.linear.Linear`
      package var className: String
    }
  }
}

extension ExportedProgram.Source {
  init(_ json: JSONValue) throws(CheckpointError) {
    stackTrace = json["stack_trace"].exists ? try json["stack_trace"].string() : nil
    moduleStack = json["nn_module_stack"].exists ? try json["nn_module_stack"].string() : nil
  }

  /// `File "net.py", line 95, in forward`, and below it the text of the line.
  package var frames: [Frame] {
    var frames: [Frame] = []
    for text in (stackTrace ?? "").split(separator: "\n") {
      let line = text.drop { $0 == " " }
      if let frame = Frame(line) {
        frames.append(frame)
      } else if let last = frames.indices.last, frames[last].code.isEmpty {
        frames[last].code = String(line)
      }
    }
    return frames
  }

  /// The innermost call in code of the user's: PyTorch's own modules call each other below it.
  package var userFrame: Frame? {
    let frames = frames
    let own = Set(
      modules.filter { $0.className.hasPrefix("torch.") }
        .compactMap { $0.className.split(separator: ".").dropLast().last.map { "\($0).py" } })
    return frames.last { !$0.isInsidePyTorch && !own.contains($0.file) } ?? frames.last
  }

  package var modules: [Module] {
    (moduleStack ?? "").split(separator: ";").compactMap { entry in
      let parts = entry.split(separator: ",", maxSplits: 2, omittingEmptySubsequences: false)
      return parts.count == 3 ? Module(path: String(parts[1]), className: String(parts[2])) : nil
    }
  }
}

extension ExportedProgram.Source.Frame {
  fileprivate init?(_ text: Substring) {
    let start = "File \""
    guard text.hasPrefix(start) else { return nil }
    let rest = text.dropFirst(start.count)
    guard let quote = rest.firstIndex(of: "\"") else { return nil }
    let parts = rest[rest.index(after: quote)...].split(separator: ",").map {
      $0.drop { $0 == " " }
    }
    guard parts.count >= 2, parts[0].hasPrefix("line "), parts[1].hasPrefix("in "),
      let line = Int(parts[0].dropFirst("line ".count))
    else { return nil }
    file = String(rest[..<quote])
    self.line = line
    function = String(parts[1].dropFirst("in ".count))
    code = ""
  }

  fileprivate var isInsidePyTorch: Bool {
    let parts = file.split(separator: "/")
    for (folder, below) in zip(parts, parts.dropFirst()) where folder == "torch" {
      if below.hasPrefix("_") || Self.ofPyTorch.contains(below) { return true }
    }
    return false
  }

  private static let ofPyTorch: Set<Substring> = ["nn", "functional.py", "fx", "utils"]
}
