import Checkpoints
import Foundation
import Testing

/// All tests run the command one at a time: it uses every core itself.
@Suite(.serialized) enum CommandLineTests {}

/// The built command.
enum Command {
  struct Result {
    var status: Int32
    var output: String
    var error: String
  }

  /// Beside the test bundle, which SwiftPM builds into the same folder.
  static let path: String = {
    let root = URL(fileURLWithPath: #filePath)
      .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let folders =
      [URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()]
      + [URL(fileURLWithPath: CommandLine.arguments[0])]
      + Bundle.allBundles.map(\.bundleURL)
    let candidates =
      folders.map { $0.deletingLastPathComponent().appendingPathComponent("eval-cli").path }
      + [root.appendingPathComponent(".build/debug/eval-cli").path]
    return candidates.first(where: FileManager.default.isExecutableFile) ?? candidates.last!
  }()

  /// - Parameter environment: what differs from that of the tests.
  static func run(_ arguments: [String], environment: [String: String] = [:]) throws -> Result {
    try start(arguments, environment: environment).result()
  }

  /// - Parameters:
  ///   - shell: Runs the command as `$0 "$@"`, in a shell that has done something before.
  ///   - environment: What differs from that of the tests.
  static func start(
    _ arguments: [String], shell: String? = nil, environment: [String: String] = [:]
  ) throws -> Running {
    let folder = try TemporaryFolder()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: shell == nil ? path : "/bin/sh")
    process.arguments = (shell.map { ["-c", $0, path] } ?? []) + arguments
    // The width of help texts.
    process.environment = ProcessInfo.processInfo.environment.merging(["COLUMNS": "80"]) { $1 }
      .merging(environment) { $1 }
    // Files, which take any amount without anyone reading them.
    let (out, err) = (folder.path("out"), folder.path("err"))
    for file in [out, err] { _ = FileManager.default.createFile(atPath: file, contents: nil) }
    let (outHandle, errHandle) = (
      try #require(FileHandle(forWritingAtPath: out)),
      try #require(FileHandle(forWritingAtPath: err))
    )
    (process.standardOutput, process.standardError) = (outHandle, errHandle)
    process.standardInput = FileHandle.nullDevice
    try process.run()
    try outHandle.close()
    try errHandle.close()
    return Running(process: process, folder: folder)
  }

  /// A command that has been started.
  struct Running {
    let process: Process
    /// With its outputs, `out` and `err`.
    let folder: TemporaryFolder

    /// Waits for its end.
    func result() throws -> Result {
      process.waitUntilExit()
      return Result(
        status: process.terminationStatus,
        output: try String(contentsOfFile: folder.path("out"), encoding: .utf8),
        error: try String(contentsOfFile: folder.path("err"), encoding: .utf8))
    }
  }
}

/// A folder that lives as long as the value.
final class TemporaryFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent(
      "eval-cli-" + UUID().uuidString)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func path(_ name: String) -> String { url.appendingPathComponent(name).path }

  var content: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: url.path).sorted() }
  }
}

enum Fixture {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("fixtures")

  static func path(_ name: String) -> String { root.appendingPathComponent(name).path }

  static func json(_ name: String) throws -> [String: Any] {
    let data = try Data(contentsOf: root.appendingPathComponent(name))
    return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
  }
}

/// Texts beside the tests. `RECORD_SNAPSHOTS=1` rewrites them; a missing one fails.
func expectSnapshot(
  _ text: String, _ name: String, sourceLocation: SourceLocation = #_sourceLocation
) throws {
  let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Snapshots/\(name).txt")
  if ProcessInfo.processInfo.environment["RECORD_SNAPSHOTS"] == "1" {
    try text.write(to: url, atomically: true, encoding: .utf8)
    return
  }
  guard let expected = try? String(contentsOf: url, encoding: .utf8) else {
    Issue.record(
      "there is no snapshot \(name); record it with RECORD_SNAPSHOTS=1",
      sourceLocation: sourceLocation)
    return
  }
  #expect(text == expected, "snapshot \(name)", sourceLocation: sourceLocation)
}

/// The golden checkpoint mlp_tanh, to be changed and written under another name.
struct CheckpointDraft {
  var metadata: [String: String]
  var tensors: [String: (dtype: DType, shape: [Int], data: Data)] = [:]

  init(_ fixture: String = "golden/mlp_tanh.bin") throws {
    let archive = try TensorArchive.open(Fixture.path(fixture))
    metadata = archive.metadata
    for (name, tensor) in archive.tensors {
      tensors[name] = (tensor.dtype, tensor.shape, try tensor.withBytes { Data($0) })
    }
  }

  func write(to path: String) throws {
    var writer = SafetensorsWriter(metadata: metadata)
    for (name, tensor) in tensors {
      writer.add(name, dtype: tensor.dtype, shape: tensor.shape, data: tensor.data)
    }
    try writer.write(to: path)
  }

  /// Overwrites one element.
  mutating func set<T>(_ name: String, _ index: Int, _ value: T) {
    withUnsafeBytes(of: value) {
      let start = index * MemoryLayout<T>.size
      tensors[name]!.data.replaceSubrange(start..<start + $0.count, with: $0)
    }
  }
}

/// A CSV file without quoted cells: rows by column name.
func csvRows(_ path: String) throws -> [[String: String]] {
  let lines = try String(contentsOfFile: path, encoding: .utf8)
    .components(separatedBy: "\r\n").dropLast()
  let columns = try #require(lines.first).components(separatedBy: ",")
  return lines.dropFirst().map { line in
    Dictionary(uniqueKeysWithValues: zip(columns, line.components(separatedBy: ",")))
  }
}

/// The lines of a report without the column of seconds, where there is one.
func csvWithoutSeconds(_ path: String) throws -> [String] {
  let lines = try String(contentsOfFile: path, encoding: .utf8).components(separatedBy: "\r\n")
  guard let column = lines[0].components(separatedBy: ",").firstIndex(of: "seconds") else {
    return lines
  }
  return lines.map { line in
    var cells = line.components(separatedBy: ",")
    if cells.count > column { cells.remove(at: column) }
    return cells.joined(separator: ",")
  }
}
