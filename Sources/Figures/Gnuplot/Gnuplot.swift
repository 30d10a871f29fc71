import Checkpoints
import Foundation

/// The program that draws.
package struct Gnuplot: Sendable {
  private let path: String

  /// - Throws: `GnuplotError.missing` if it is not on the PATH.
  package init() throws(GnuplotError) {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    guard
      let path = folders.map({ $0 + "/gnuplot" })
        .first(where: FileManager.default.isExecutableFile(atPath:))
    else { throw .missing }
    self.path = path
  }

  /// Runs scripts in their folder, where they find their data and leave their pictures.
  ///
  /// - Returns: what gnuplot had to say; nothing, if all is well.
  /// - Throws: `.incomplete` for a picture that is not whole, of which gnuplot itself says nothing.
  package func draw(
    _ scripts: [GnuplotScript], in folder: String
  ) throws(GnuplotError) -> String {
    let said = try run(scripts.map { $0.name + ".gp" }, in: folder)
    for script in scripts {
      for format in script.formats {
        let picture = "\(folder)/\(script.name).\(format.rawValue)"
        if !format.isWhole(picture) { throw .incomplete(picture: picture, said: said) }
      }
    }
    return said
  }

  func run(_ scripts: [String], in folder: String) throws(GnuplotError) -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    // Without the settings of this machine and user: the same pictures everywhere.
    process.arguments = ["-d"] + scripts
    process.environment = ProcessInfo.processInfo.environment.merging(["LC_ALL": "C.UTF-8"]) { $1 }
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    let messages = Pipe()
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = messages
    process.standardError = messages
    let said: Data
    do {
      try process.run()
      said = messages.fileHandleForReading.readDataToEndOfFile()
    } catch {
      throw .cannotStart(path: path, reason: error.localizedDescription)
    }
    process.waitUntilExit()
    let text = String(decoding: said, as: UTF8.self)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    guard process.terminationReason == .exit && process.terminationStatus == 0 else {
      throw .failed(scripts: scripts, folder: folder, said: text)
    }
    return text
  }
}

extension GnuplotScript.Format {
  /// Whether the file ends as one of this format does.
  fileprivate func isWhole(_ path: String) -> Bool {
    guard let file = FileHandle(forReadingAtPath: path), let size = try? file.seekToEnd(),
      (try? file.seek(toOffset: size - min(size, 64))) != nil,
      let tail = try? file.readToEnd()
    else { return false }
    let mark = [.svg: "</svg>", .png: "IEND", .pdf: "%%EOF"][self]!
    return tail.range(of: Data(mark.utf8)) != nil
  }
}

package enum GnuplotError: Error, Equatable, Sendable {
  case missing
  case cannotStart(path: String, reason: String)
  /// A picture is missing or was cut short.
  case incomplete(picture: String, said: String)
  /// `said` is gnuplot's own text.
  case failed(scripts: [String], folder: String, said: String)
}

extension GnuplotError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .missing:
      errorText(
        "gnuplot is not installed: no picture was drawn", at: "PATH",
        ["Install it (Debian: apt-get install gnuplot-nox) and run the command again."])
    case .cannotStart(let path, let reason):
      errorText(
        "gnuplot does not start: \(reason)", at: path,
        ["Install it anew (Debian: apt-get install --reinstall gnuplot-nox)."])
    case .incomplete(let picture, let said):
      errorText(
        "the picture was not written to its end", at: picture,
        [
          "Check that the disk has room, and run the command again."
            + (said.isEmpty ? "" : " gnuplot said: " + said)
        ])
    case .failed(let scripts, let folder, let said):
      errorText(
        "gnuplot failed: no picture was drawn", at: "\(folder)/\(scripts.joined(separator: " "))",
        said.isEmpty ? ["It gave no reason."] : said.split(separator: "\n").map(String.init))
    }
  }
}
