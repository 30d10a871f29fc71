import Foundation

/// One way into the program for bytes that strangers wrote.
protocol Reader: Sendable {
  /// On the command line, and of its corpus; up to the first `-` that of its dictionary.
  var name: String { get }
  /// Whether inputs hold numbers as text, which mutations should know.
  var isText: Bool { get }

  /// Does with the input what a command would. A file that is refused is a typed error, anything
  /// else that goes wrong a trap.
  func read(_ input: ArraySlice<UInt8>) throws

  /// Inputs to begin with, by name, none longer than `Readers.mostSeedBytes`.
  func seeds(_ fixtures: Fixtures) throws -> [String: [UInt8]]
}

enum Readers {
  static let all: [any Reader] = [
    SafetensorsReading(), NPZReading(), TorchReading(), LegacyTorchReading(), OptimizerReading(),
    ModelReading(), HuggingFaceReading(), JournalReading(), TablesReading(),
    ExportedProgramReading(),
  ]

  /// What libFuzzer would cut off is no part of a seed (`-max_len` in scripts/fuzz.sh).
  static let mostSeedBytes = 8192

  static func named(_ name: String) -> (any Reader)? { all.first { $0.name == name } }

  static func writeSeeds(from fixtures: Fixtures, to folder: String) throws {
    for reader in all {
      let own = URL(fileURLWithPath: folder).appendingPathComponent(reader.name)
      try FileManager.default.createDirectory(at: own, withIntermediateDirectories: true)
      for (name, bytes) in try reader.seeds(fixtures) {
        precondition(
          bytes.count <= mostSeedBytes, "\(reader.name): \(name) has \(bytes.count) bytes")
        try Data(bytes).write(to: own.appendingPathComponent(name))
      }
    }
  }
}

/// The files of the tests.
struct Fixtures {
  let folder: String

  /// What is in a folder of them, by name.
  func files(in place: String, ending suffix: String) throws -> [String: [UInt8]] {
    let url = URL(fileURLWithPath: folder).appendingPathComponent(place)
    var files: [String: [UInt8]] = [:]
    for name in try FileManager.default.contentsOfDirectory(atPath: url.path).sorted()
    where name.hasSuffix(suffix) {
      files[name] = [UInt8](try Data(contentsOf: url.appendingPathComponent(name)))
    }
    return files
  }

  func path(_ place: String) -> String {
    URL(fileURLWithPath: folder).appendingPathComponent(place).path
  }
}

extension Fixtures {
  /// Those beside this source.
  static let ofThePackage = Fixtures(
    folder: URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("fixtures").path)
}
